import Shared

/// What decides, besides that its container runs, whether an entry may be in the registry: health before traffic.
struct Gate: Equatable, Sendable {
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
    func obstacle(_ standing: Standing?, _ verdict: CheckVerdict?) -> Obstacle? {
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
    func passes(_ check: CheckTarget, _ standing: Standing?) -> Bool {
        standing == Standing(endpoint: check.endpoint, started: started)
    }
}

/// An entry that is in the registry, or was just to be put there.
struct Standing: Equatable, Sendable {
    /// Its value.
    var endpoint: Endpoint
    /// When its container started.
    var started: String

    /// Takes both.
    init(endpoint: Endpoint, started: String) {
        self.endpoint = endpoint
        self.started = started
    }

    /// Takes what the registry holds; nil where that is no whole entry.
    init?(_ published: Published) {
        guard let value = published.value, let endpoint = Endpoint(String(decoding: value, as: UTF8.self)),
            let meta = published.meta.flatMap({ Meta(json: $0) })
        else { return nil }
        // What is no container has no time of start.
        self.init(endpoint: endpoint, started: meta.created ?? "")
    }
}

/// Why an entry may not be in the registry although its container runs.
enum Obstacle: Hashable, Sendable {
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
    var remark: Verdict.Remark {
        switch self {
        case .starting:
            Verdict.Remark(
                text: "not registered yet: its HEALTHCHECK has not passed; SERVICE_HEALTH=ignore does not wait for it",
                kind: .reason)
        case .unhealthy:
            Verdict.Remark(
                text: "not registered: its HEALTHCHECK fails; SERVICE_HEALTH=ignore registers it all the same",
                kind: .obstacle)
        case .unchecked(let port):
            Verdict.Remark(
                port: port, text: "port \(port) not registered yet: SERVICE_REGISTER_CHECK has not passed",
                kind: .reason)
        case .checkFailed(let port, let failure):
            Verdict.Remark(
                port: port, text: "port \(port) not registered: SERVICE_REGISTER_CHECK failed: \(failure)",
                kind: .obstacle)
        }
    }
}
