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
            /// Why something is not registered that somebody has named wrongly.
            case mistake
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

        /// The level at which the log has it.
        var level: Logger.Level {
            switch kind {
            case .reason: .info
            case .obstacle, .warning: .warning
            case .mistake: .error
            }
        }
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
        let withdrawn = Set(
            desired.notReady.filter { before[$0.key] != nil }.map { id, notReady in
                Withdrawn(id: id.id, reason: notReady.containerReason)
            })
        let new = all.subtracting(logged).filter { !withdrawn.contains(Withdrawn(id: $0.id, reason: $0.reason)) }
        let groups = Dictionary(grouping: new) { Group(id: $0.id, name: $0.name, level: $0.reason.level) }
        for (group, lines) in groups.sorted(by: { $0.key < $1.key }) {
            log(lines.map(\.reason.text).sorted(), group, to: logger)
        }
        logged = all
    }

    private struct Withdrawn: Hashable {
        var id: InstanceID
        var reason: ContainerDecision.Reason
    }

    private struct Group: Hashable, Comparable {
        var id: InstanceID
        var name: String
        var level: Logger.Level

        static func < (left: Group, right: Group) -> Bool {
            (left.name, left.id, left.level) < (right.name, right.id, right.level)
        }
    }

    /// One container may give thousands of reasons, by its labels or its ports: of many it is said how many.
    static let mostLines = 4

    private func log(_ reasons: [String], _ group: Group, to logger: Logger) {
        var lines = reasons.map { (reason: $0, count: Int?.none) }
        if reasons.count > Self.mostLines {
            let first = reasons.prefix(Self.mostLines).joined(separator: "; ")
            let rest = reasons.count - Self.mostLines
            lines = [("\(first); and \(rest) more, which docker-register why shows", reasons.count)]
        }
        for (reason, count) in lines {
            let fields: Logger.Fields = ["container": group.name, "reason": reason, "reasons": count]
            switch group.level {
            case .debug, .info: logger.info("container not registered", fields)
            case .warning: logger.warning("container not registered, action required", fields)
            case .error: logger.error("container not registered, action required", fields)
            }
        }
    }
}
