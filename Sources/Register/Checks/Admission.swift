import Shared

/// Which of the entries that should be there may be there now.
struct Admission: Equatable, Sendable {
    /// The entries that may.
    private(set) var registrations: [Slot: Registration] = [:]
    /// Why the others may not.
    private(set) var obstacles: [Slot: Obstacle] = [:]
    /// What the agent has to check, each with whether it counts as passing until its checks say otherwise.
    private(set) var targets: [CheckTarget: Bool] = [:]
    /// The entries that may be there, for the next decision.
    private(set) var standing: [Slot: Standing] = [:]
    /// What becomes of each container, in the order of their ids.
    private(set) var verdicts: [Verdict]

    /// Decides for all entries.
    ///
    /// - Parameters:
    ///   - standing: the entries as they were last: those of the last decision, or those that the registry held when
    ///     the agent started.
    ///   - unreadable: containers of which not all is known now; what stands of them stands, unless it is decided.
    ///   - checks: what the agent's own checks have come to.
    init(
        of services: Services, standing: [Slot: Standing], unreadable: Set<InstanceID> = [],
        checks: [CheckTarget: CheckVerdict]
    ) {
        verdicts = services.verdicts
        self.standing = standing.filter { unreadable.contains($0.key.id) }
        for (slot, registration) in services.registrations {
            guard let gate = services.gates[slot] else { continue }
            let before = standing[slot]
            if let check = gate.check {
                targets[check] = targets[check] == true || gate.passes(check, before)
            }
            if let obstacle = gate.obstacle(before, gate.check.flatMap { checks[$0] }) {
                obstacles[slot] = obstacle
                self.standing[slot] = nil
            } else {
                registrations[slot] = registration
                self.standing[slot] = Standing(endpoint: registration.endpoint, started: gate.started)
            }
        }
        for index in verdicts.indices { amend(&verdicts[index]) }
    }

    /// Takes out of a verdict what may not be there, and says why.
    private func amend(_ verdict: inout Verdict) {
        for slot in verdict.entries.map(\.registration.slot) {
            guard let remark = obstacles[slot]?.remark else { continue }
            verdict.entries.removeAll { $0.registration.slot == slot }
            if !verdict.remarks.contains(remark) { verdict.remarks.append(remark) }
        }
    }
}
