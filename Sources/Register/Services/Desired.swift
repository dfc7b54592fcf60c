import Shared

/// What decides about this host's entries, as the watchers, the settings and the services file say it now.
struct Inputs: Sendable {
    /// Who the agent is; its address is `HOST_IP`.
    var owner: Owner
    /// What is registered, and under which names.
    let policy: RegistrationPolicy
    /// The engine's containers, none on a host without an engine; nil until the engine has listed them.
    var containers: Docker.ContainerList?
    /// The services file; nil for none.
    var services: ServicesFileState?
    /// On which ports of the host programs listen.
    var listeningPorts = ListeningPorts()
}

/// What should be registered for this host, and all that follows from that decision.
///
/// The loop, `status` and `plan` get it from one function, so that they cannot differ.
struct Desired: Equatable, Sendable {
    /// The entries that should be registered now.
    var entries: [EntryID: DesiredEntry] = [:]
    /// Whose registered entries stay as they are.
    var undecided = Undecided.containers([])
    /// Why containers that run have no entries, or fewer than before.
    var withdrawalReasons: [InstanceID: String] = [:]
    /// Why single entries are not ready.
    var notReady: [EntryID: NotReadyReason] = [:]
    /// The containers whose withdrawal every docker-discover is asked to confirm.
    var confirm: Set<InstanceID> = []
    /// The plain keys of the services file.
    var hostKeys: [String: [UInt8]] = [:]
    /// What counts as registered when the next decision is made.
    var current: [EntryID: CurrentEntry] = [:]
    /// The ports of the host of which it matters whether a program listens on them.
    var listeningPorts: Set<Port> = []
    /// What the agent checks, each with whether it counts as passing until its checks say otherwise.
    var checks: [CheckTarget: Bool] = [:]
    /// What was decided about each container, first those that run, in the order of their ids.
    var decisions: [ContainerDecision] = []
    /// The entries of the services file, ready or not.
    var services: [EntryID: DesiredEntry] = [:]
}

extension Desired {
    /// Decides about all entries.
    ///
    /// - Parameters:
    ///   - drains: the containers that somebody has drained.
    ///   - confirm: those whose withdrawal every docker-discover is asked to confirm.
    ///   - checks: the results of the agent's own checks.
    ///   - current: the entries of the decision before, or those that the registry held at the start; nil while that
    ///     is not known: every entry then counts as ready.
    init(
        _ inputs: Inputs, drains: Set<InstanceID> = [], confirm: Set<InstanceID> = [],
        checks: [CheckTarget: CheckResult] = [:], current: [EntryID: CurrentEntry]?
    ) {
        let list = inputs.containers ?? Docker.ContainerList(containers: [])
        let candidates = DesiredEntries(
            of: list.containers, services: inputs.services?.file.services ?? [], owner: inputs.owner,
            rules: inputs.policy, drained: drains, listeners: inputs.listeningPorts, unreadable: list.unreadable)
        undecided =
            inputs.containers == nil ? .allContainers : .containers(list.unreadable.union(candidates.undecided))
        withdrawalReasons = candidates.withdrawalReasons
        self.confirm = confirm
        hostKeys = inputs.services?.file.plainKeys(of: inputs.owner) ?? [:]
        listeningPorts = candidates.listeningPorts
        decisions = candidates.decisions
        services = candidates.services
        if let current {
            admit(candidates, current, checks)
        } else {
            entries = candidates.entries
        }
        decisions += list.idle.map { ContainerDecision(on: $0) }
    }

    /// Admits those candidates that are ready; of what is undecided, what is registered stays.
    private mutating func admit(
        _ candidates: DesiredEntries, _ before: [EntryID: CurrentEntry], _ results: [CheckTarget: CheckResult]
    ) {
        current = before.filter { undecided.contains($0.key.id, $0.value.source) }
        for (id, entry) in candidates.entries {
            guard let gate = candidates.gates[id] else { continue }
            if let check = gate.check { checks[check] = checks[check] == true || gate.passes(check, before[id]) }
            if let reason = gate.notReadyReason(before[id], gate.check.flatMap { results[$0] }) {
                notReady[id] = reason
                current[id] = nil
            } else {
                entries[id] = entry
                current[id] = CurrentEntry(endpoint: entry.endpoint, started: gate.started, source: entry.source)
            }
        }
        for index in decisions.indices { explain(&decisions[index]) }
    }

    /// Removes from a decision what is not ready, and adds why.
    private func explain(_ decision: inout ContainerDecision) {
        for id in decision.entries.map(\.entry.id) {
            guard let reason = notReady[id]?.containerReason else { continue }
            decision.entries.removeAll { $0.entry.id == id }
            if !decision.reasons.contains(reason) { decision.reasons.append(reason) }
        }
    }

    /// Why a registered entry that should not be there is withdrawn.
    func withdrawalReason(of id: EntryID, _ source: EntrySource) -> String {
        notReady[id]?.withdrawalReason ?? withdrawalReasons[id.id] ?? source.endReason
    }
}

/// Whose registered entries stay, because it is not known whether they should.
enum Undecided: Equatable, Sendable {
    /// Those of some containers: the engine, or what listens on the host, has not said enough of them.
    case containers(Set<InstanceID>)
    /// Those of all containers: the engine has not listed them yet.
    case allContainers

    /// Whether an entry stays.
    func contains(_ id: InstanceID, _ source: EntrySource) -> Bool {
        switch self {
        case .containers(let ids): ids.contains(id)
        case .allContainers: source == .container
        }
    }
}
