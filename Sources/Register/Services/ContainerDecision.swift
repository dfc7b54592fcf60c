import Shared

/// What becomes of one container of this host, and why.
struct ContainerDecision: Equatable, Sendable {
    /// One published port that is in the registry, or should be.
    struct Entry: Equatable, Sendable {
        /// The port inside of the container.
        var port: Port
        /// What should be in the registry for it.
        var entry: DesiredEntry
    }

    /// Something about the container that is worth one log line.
    struct Reason: Hashable, Sendable {
        /// What it says of what is registered.
        enum Kind: Hashable, Sendable {
            /// Why something is not registered, as it is meant.
            case reason
            /// Why something is not registered that somebody may have wanted to be.
            case obstacle
            /// What somebody should change, although everything is registered.
            case warning
        }

        /// The container's port that it is about; nil for the container as a whole.
        var port: Port?
        /// What is so, with the label or setting that decides.
        var text: String
        /// What it says of what is registered.
        var kind: Kind

        /// Whether somebody has to change something.
        var isWarning: Bool { kind != .reason }
    }

    /// Which container, and in which state.
    var subject: Docker.ContainerRef
    /// The container as it was decided about; nil where it was not, because it does not run.
    var container: Docker.Container?
    /// What its labels say; nil where they were not read.
    var labels: Labels?
    /// What should be in the registry, by container port.
    var entries: [Entry] = []
    /// Why something is not there, and what somebody should change.
    var reasons: [Reason] = []

    /// The decision about a container that runs, before anything is decided.
    init(on container: Docker.Container, _ labels: Labels) {
        subject = container.subject
        self.container = container
        self.labels = labels
    }

    /// The decision about a container that has no entries, whatever its labels say.
    init(on idle: Docker.StoppedContainer) {
        subject = idle.subject
        reasons = [Reason(port: nil, text: "not registered: \(idle.reason)", kind: .reason)]
    }
}

/// Which reasons the log has of containers and of the services file: each once, as long as it lasts.
struct ReasonLog {
    private struct Line: Hashable {
        var id: InstanceID
        var name: String
        var reason: ContainerDecision.Reason
    }

    private var logged: Set<Line> = []

    /// Begins with nothing logged.
    init() {}

    /// Logs what was not logged before.
    ///
    /// - Parameter before: the entries that were there until now; why one of these goes is logged with its withdrawal.
    mutating func update(_ desired: Desired, besides before: [EntryID: CurrentEntry], to logger: Logger) {
        let ofContainers = desired.decisions.filter { $0.container != nil }.flatMap { decision in
            decision.reasons.map { Line(id: decision.subject.id, name: decision.subject.name, reason: $0) }
        }
        let ofFile = desired.notReady.filter { desired.services[$0.key] != nil }.map { id, notReady in
            Line(id: id.id, name: "\(id.service) of the services file", reason: notReady.containerReason)
        }
        let all = Set(ofContainers + ofFile)
        let withdrawn = desired.notReady.filter { before[$0.key] != nil }
        for new in all.subtracting(logged).sorted(by: { ($0.name, $0.reason.text) < ($1.name, $1.reason.text) })
        where !withdrawn.contains(where: { $0.key.id == new.id && $0.value.containerReason == new.reason }) {
            let fields: Logger.Fields = ["container": new.name, "reason": new.reason.text]
            if new.reason.isWarning {
                logger.warning("container not registered, action required", fields)
            } else {
                logger.info("container not registered", fields)
            }
        }
        logged = all
    }
}
