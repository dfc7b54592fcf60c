/// The worker that answers: what it tells of itself by `show info`.
struct HAProxyWorker: Equatable, Sendable {
    /// Its process id.
    let pid: Int32

    /// Which configuration it has loaded, ``HAProxyConfiguration/mark``; nil where it does not say.
    let mark: String?

    /// Makes one.
    init(pid: Int32, mark: String?) {
        self.pid = pid
        self.mark = mark
    }

    /// Parses an answer; nil where it is none.
    init?(_ answer: String) {
        func value(_ key: String) -> Substring? {
            answer.split(separator: "\n").first { $0.hasPrefix(key) }.map { Substring($0.dropFirst(key.count)) }
        }
        guard let pid = value("Pid: ").flatMap({ Int32($0) }) else { return nil }
        self.init(pid: pid, mark: value("description: ").map(String.init))
    }
}
