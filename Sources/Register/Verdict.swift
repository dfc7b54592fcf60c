import Shared

/// What becomes of one container of this host, and why.
struct Verdict: Equatable, Sendable {
    /// One published port that is in the registry, or should be.
    struct Entry: Equatable, Sendable {
        /// The port inside of the container.
        var port: Port
        /// What should be in the registry for it.
        var registration: Registration
    }

    /// Something about the container that is worth one log line.
    struct Remark: Hashable, Sendable {
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
    var subject: Docker.Subject
    /// The container as it was decided about; nil where it was not, because it does not run.
    var container: Docker.Container?
    /// What its labels say; nil where they were not read.
    var labels: Labels?
    /// What should be in the registry, by container port.
    var entries: [Entry] = []
    /// Why something is not there, and what somebody should change.
    var remarks: [Remark] = []

    /// The verdict on a container that runs, before anything is decided.
    init(on container: Docker.Container, _ labels: Labels) {
        subject = container.subject
        self.container = container
        self.labels = labels
    }

    /// The verdict on a container that has no entries, whatever its labels say.
    init(on idle: Docker.Idle) {
        subject = idle.subject
        remarks = [Remark(port: nil, text: "not registered: \(idle.reason)", kind: .reason)]
    }
}
