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
    /// Whether somebody has drained it; a container that is drained has no gate.
    var isDrained = false

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
    init(_ service: StaticService, _ endpoint: Endpoint, isDrained: Bool = false) {
        self.isDrained = isDrained
        port = service.port
        started = ""
        check = CheckTarget(
            life: "static", endpoint: endpoint, service.fields.registerCheck, service.fields.options)
    }

    /// Why the entry may not be there now; nil where it may.
    ///
    /// - Parameters:
    ///   - current: the entry as it was last; nil where it was not there.
    ///   - result: that of the agent's own checks; nil where there is none yet.
    func notReadyReason(_ current: CurrentEntry?, _ result: CheckResult?) -> NotReadyReason? {
        guard !isDrained else { return .drained }
        switch health {
        case .unhealthy(let failures): return .unhealthy(failures: failures)
        // What was registered in this life was healthy already, or counted as such: only `unhealthy` says otherwise,
        // and not an engine or an agent that was restarted and begins anew.
        case .starting where current?.started != started: return .starting
        case .starting, .healthy, nil: break
        }
        guard let check else { return nil }
        switch result ?? (passes(check, current) ? .passing : .pending) {
        case .passing: return nil
        case .pending: return .unchecked(port)
        case .failing(let failure): return .checkFailed(port, failure)
        }
    }

    /// Whether the check counts as passing until it says otherwise: a restart of the agent withdraws nothing.
    func passes(_ check: CheckTarget, _ current: CurrentEntry?) -> Bool {
        current?.endpoint == check.endpoint && current?.started == started
    }
}

/// An entry that is in the registry, or was just to be put there.
struct CurrentEntry: Equatable, Sendable {
    /// Its value.
    var endpoint: Endpoint
    /// When its container started.
    var started: String
    /// What it is about.
    var source: EntrySource
}

/// Why an entry may not be in the registry although its container runs.
enum NotReadyReason: Hashable, Sendable {
    /// Somebody has drained the instance of the services file.
    case drained
    /// Its HEALTHCHECK has not passed yet.
    case starting
    /// Its HEALTHCHECK has failed this often in a row.
    case unhealthy(failures: Int)
    /// The agent's own check of this port has not passed yet.
    case unchecked(Port)
    /// The agent's own check of this port fails.
    case checkFailed(Port, CheckFailure)

    /// What the withdrawn entry's meta and the log say.
    var withdrawalReason: String {
        switch self {
        case .drained: "drained"
        case .starting: "not healthy yet"
        case .unhealthy(1): "unhealthy: its HEALTHCHECK failed"
        case .unhealthy(let failures): "unhealthy: its HEALTHCHECK failed \(failures) times in a row"
        case .unchecked: "register check has not passed yet"
        case .checkFailed(_, let failure): "register check failed: \(failure)"
        }
    }

    /// What is said of the container.
    ///
    /// Without the number of failures, which grows: it is logged once.
    var containerReason: ContainerDecision.Reason {
        switch self {
        case .drained:
            ContainerDecision.Reason(
                text: "not registered: it was drained; docker-register undrain takes that back", kind: .reason)
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
