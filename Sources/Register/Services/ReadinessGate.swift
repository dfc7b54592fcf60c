import Shared

/// What decides, besides that its container runs, whether an entry may be in the registry: health before traffic.
struct ReadinessGate: Equatable, Sendable {
    /// The container port that the entry is about.
    var port: Port
    /// When its container started.
    var started: String
    /// What the HEALTHCHECK says; nil where there is none, or where it does not decide.
    var health: Docker.Health?
    /// What the agent itself checks; nil for nothing.
    var check: CheckTarget?

    /// The gate of a container's port.
    ///
    /// - Parameter fields: what is said of the port.
    init(
        _ container: Docker.Container, _ port: Port, _ endpoint: Endpoint, _ fields: Labels.Fields,
        _ whole: Labels.ContainerFields
    ) {
        self.port = port
        started = container.started
        health = whole.health == .ignore ? nil : container.health
        check = CheckTarget(
            life: "\(container.id) \(container.started)", endpoint: endpoint, fields.registerCheck, fields.options)
    }

    /// The gate of an instance that is no container.
    init(_ service: StaticService, _ endpoint: Endpoint) {
        port = service.port
        started = ""
        check = CheckTarget(
            life: "static", endpoint: endpoint, service.fields.registerCheck, service.fields.options)
    }

    /// Why the entry may not be there now; nil where it may.
    ///
    /// - Parameters:
    ///   - standing: the entry as it was last; nil where it was not there.
    ///   - verdict: what the agent's own checks have come to; nil where there are none yet.
    func obstacle(_ standing: CurrentEntry?, _ verdict: CheckResult?) -> NotReadyReason? {
        switch health {
        case .unhealthy(let failures): return .unhealthy(failures: failures)
        // What was registered in this life was healthy already, or counted as such: only `unhealthy` says otherwise,
        // and not an engine or an agent that was restarted and begins anew.
        case .starting where standing?.started != started: return .starting
        case .starting, .healthy, nil: break
        }
        guard let check else { return nil }
        switch verdict ?? (passes(check, standing) ? .passing : .pending) {
        case .passing: return nil
        case .pending: return .unchecked(port)
        case .failing(let failure): return .checkFailed(port, failure)
        }
    }

    /// Whether the check counts as passing until it says otherwise: a restart of the agent takes nothing out.
    func passes(_ check: CheckTarget, _ standing: CurrentEntry?) -> Bool {
        standing == CurrentEntry(endpoint: check.endpoint, started: started)
    }
}

/// An entry that is in the registry, or was just to be put there.
struct CurrentEntry: Equatable, Sendable {
    /// Its value.
    var endpoint: Endpoint
    /// When its container started.
    var started: String
}

/// Why an entry may not be in the registry although its container runs.
enum NotReadyReason: Hashable, Sendable {
    /// Its HEALTHCHECK has not passed yet.
    case starting
    /// Its HEALTHCHECK has failed this often in a row.
    case unhealthy(failures: Int)
    /// The agent's own check of this port has not passed yet.
    case unchecked(Port)
    /// The agent's own check of this port fails.
    case checkFailed(Port, CheckFailure)

    /// What the withdrawn entry's meta and the log say.
    var reason: String {
        switch self {
        case .starting: "not healthy yet"
        case .unhealthy(1): "unhealthy: its HEALTHCHECK failed"
        case .unhealthy(let failures): "unhealthy: its HEALTHCHECK failed \(failures) times in a row"
        case .unchecked: "register check has not passed yet"
        case .checkFailed(_, let failure): "register check failed: \(failure)"
        }
    }

    /// What is said of the container.
    ///
    /// Without the number of failures, which grows: it is told once.
    var remark: ContainerDecision.Reason {
        switch self {
        case .starting:
            ContainerDecision.Reason(
                text: "not registered yet: its HEALTHCHECK has not passed; SERVICE_HEALTH=ignore does not wait for it",
                kind: .reason)
        case .unhealthy:
            ContainerDecision.Reason(
                text: "not registered: its HEALTHCHECK fails; SERVICE_HEALTH=ignore registers it all the same",
                kind: .obstacle)
        case .unchecked(let port):
            ContainerDecision.Reason(
                port: port, text: "port \(port) not registered yet: SERVICE_REGISTER_CHECK has not passed",
                kind: .reason)
        case .checkFailed(let port, let failure):
            ContainerDecision.Reason(
                port: port, text: "port \(port) not registered: SERVICE_REGISTER_CHECK failed: \(failure)",
                kind: .obstacle)
        }
    }
}

/// Which of the entries that should be there may be there now.
struct Admission: Equatable, Sendable {
    /// The entries that may.
    private(set) var registrations: [EntryID: DesiredEntry] = [:]
    /// Why the others may not.
    private(set) var obstacles: [EntryID: NotReadyReason] = [:]
    /// What the agent has to check, each with whether it counts as passing until its checks say otherwise.
    private(set) var targets: [CheckTarget: Bool] = [:]
    /// The entries that may be there, for the next decision.
    private(set) var standing: [EntryID: CurrentEntry] = [:]
    /// What becomes of each container, in the order of their ids.
    private(set) var verdicts: [ContainerDecision]

    /// Decides for all entries.
    ///
    /// - Parameters:
    ///   - standing: the entries as they were last: those of the last decision, or those that the registry held when
    ///     the agent started.
    ///   - unreadable: containers of which not all is known now; what stands of them stands, unless it is decided.
    ///   - checks: what the agent's own checks have come to.
    init(
        of services: DesiredEntries, standing: [EntryID: CurrentEntry], unreadable: Set<InstanceID> = [],
        checks: [CheckTarget: CheckResult]
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
                self.standing[slot] = CurrentEntry(endpoint: registration.endpoint, started: gate.started)
            }
        }
        for index in verdicts.indices { amend(&verdicts[index]) }
    }

    /// Takes out of a verdict what may not be there, and says why.
    private func amend(_ verdict: inout ContainerDecision) {
        for slot in verdict.entries.map(\.registration.slot) {
            guard let remark = obstacles[slot]?.remark else { continue }
            verdict.entries.removeAll { $0.registration.slot == slot }
            if !verdict.remarks.contains(remark) { verdict.remarks.append(remark) }
        }
    }
}
