import Shared

// What the agent decides should be in the registry.

extension RegisterAgent {
    /// Takes what the watchers have handed over; whether there is something.
    mutating func takeNews() -> Bool {
        let (containers, host) = (newest.take(), whereabouts.take())
        if let containers { look = containers }
        if let address = host.address { move(to: address) }
        if let listeners = host.listeners { self.listeners = listeners }
        return containers != nil || !host.isEmpty
    }

    private mutating func move(to address: IPAddress) {
        publisher.move(to: address)
        drains.move(to: publisher.owner)
        snapshot.owner = publisher.owner
    }

    /// Reads what an earlier agent has left in the registry: a restart takes nothing of it out for being checked anew.
    mutating func recall() async throws {
        try await publisher.publish()
        standing = publisher.published?.compactMapValues(Standing.init)
        isDecided = false
    }

    /// Decides what should be there, from what the engine, the services file and the agent's checks said last.
    mutating func decide() {
        guard !isDecided, look != nil || statics != nil else { return }
        isDecided = true
        if let look { drains.keepOnly(look) }
        let owner = publisher.owner
        let services = Services(
            of: look?.containers ?? [], statics: statics?.file.services ?? [], owner: owner,
            rules: configuration.rules, drained: drains.ids, listeners: listeners,
            unreadable: look?.unreadable ?? [])
        whereabouts.want(services.awaited, at: owner.address)
        plainKeys.desire(statics?.file.plainKeys(of: owner) ?? [:])
        let idle = (look?.idle ?? []).map { Verdict(on: $0) }
        guard let before = standing else {
            // What may be there depends on what is there, which is not known yet.
            snapshot.verdicts = services.verdicts + idle
            snapshot.statics = services.statics
            return remarks.tell(services.verdicts, to: logger)
        }
        var unknown = (look?.unreadable ?? []).union(services.undecided)
        if look == nil { unknown.formUnion(before.keys.map(\.id).filter(\.isOfContainer)) }
        let admission = Admission(of: services, standing: before, unreadable: unknown, checks: checks.verdicts)
        snapshot.verdicts = admission.verdicts + idle
        snapshot.statics = services.statics
        snapshot.obstacles = admission.obstacles
        standing = admission.standing
        checks.want(admission.targets)
        remarks.tell(admission.verdicts, admission.obstacles, besides: before, to: logger)
        publisher.desire(
            admission.registrations, reasons: services.reasons, unreadable: unknown, obstacles: admission.obstacles,
            knowsContainers: look != nil)
    }
}
