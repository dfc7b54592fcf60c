import Shared

/// What becomes of one container of this host, and why.
struct ContainerDecision: Equatable, Sendable {
    /// One published port that is in the registry, or should be.
    struct Entry: Equatable, Sendable {
        /// The port inside of the container.
        var port: Port
        /// What should be in the registry for it.
        var registration: DesiredEntry
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
    var remarks: [Reason] = []

    /// The verdict on a container that runs, before anything is decided.
    init(on container: Docker.Container, _ labels: Labels) {
        subject = container.subject
        self.container = container
        self.labels = labels
    }

    /// The verdict on a container that has no entries, whatever its labels say.
    init(on idle: Docker.StoppedContainer) {
        subject = idle.subject
        remarks = [Reason(port: nil, text: "not registered: \(idle.reason)", kind: .reason)]
    }
}

/// What the log was told of containers and of the services file: each thing once, as long as it lasts.
struct ReasonLog {
    private struct Told: Hashable {
        var id: InstanceID
        var name: String
        var remark: ContainerDecision.Reason
    }

    private var told: Set<Told> = []

    /// Begins with nothing told.
    init() {}

    /// Tells what was not told before.
    ///
    /// - Parameters:
    ///   - obstacles: why entries may not be there.
    ///   - before: the entries that were there until now; why one of these goes is told with its withdrawal.
    mutating func tell(
        _ verdicts: [ContainerDecision], _ obstacles: [EntryID: NotReadyReason] = [:],
        besides before: [EntryID: CurrentEntry] = [:],
        to logger: Logger
    ) {
        let ofContainers = verdicts.flatMap { verdict in
            verdict.remarks.map { Told(id: verdict.subject.id, name: verdict.subject.name, remark: $0) }
        }
        let ofFile = obstacles.filter { !$0.key.id.isOfContainer }.map { slot, obstacle in
            Told(id: slot.id, name: "\(slot.service) of the services file", remark: obstacle.remark)
        }
        let all = Set(ofContainers + ofFile)
        let withdrawn = obstacles.filter { before[$0.key] != nil }
        for new in all.subtracting(told).sorted(by: { ($0.name, $0.remark.text) < ($1.name, $1.remark.text) })
        where !withdrawn.contains(where: { $0.key.id == new.id && $0.value.remark == new.remark }) {
            let fields: Logger.Fields = ["container": new.name, "reason": new.remark.text]
            if new.remark.isWarning {
                logger.warning("container needs attention", fields)
            } else {
                logger.info("container is left out", fields)
            }
        }
        told = all
    }
}
