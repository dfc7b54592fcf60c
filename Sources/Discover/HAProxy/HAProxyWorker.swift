/// The worker that answers: what it tells of itself by `show info`.
struct HAProxyWorker: Equatable, Sendable {
    /// Its process id.
    let pid: Int32

    /// Which configuration it has loaded, ``HAProxyConfiguration/mark``; nil where it does not say.
    let mark: String?

    /// When it started, in seconds; nil where it does not say.
    ///
    /// In a container that is started anew, process ids begin anew as well.
    let start: Int64?

    /// Makes one.
    init(pid: Int32, mark: String?, start: Int64? = nil) {
        self.pid = pid
        self.mark = mark
        self.start = start
    }

    /// Parses an answer; nil where it is none.
    init?(_ answer: String) {
        func value(_ key: String) -> Substring? {
            answer.split(separator: "\n").first { $0.hasPrefix(key) }.map { Substring($0.dropFirst(key.count)) }
        }
        guard let pid = value("Pid: ").flatMap({ Int32($0) }) else { return nil }
        self.init(
            pid: pid, mark: value("description: ").map(String.init),
            start: value("Start_time_sec: ").flatMap { Int64($0) })
    }

    /// Whether a worker says that it was told to stop, and only finishes its connections.
    static func isStopping(_ answer: String) -> Bool {
        answer.split(separator: "\n").contains("Stopping: 1")
    }
}
