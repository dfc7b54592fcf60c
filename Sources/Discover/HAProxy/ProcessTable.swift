/// What HAProxy's master tells of its processes: the answer of `show proc`, from 2.4 to 3.x.
///
/// The columns differ among versions, so only the process id, the type, and the counts beside them are read.
struct ProcessTable: Equatable, Sendable {
    /// The master's process id.
    let master: Int32

    /// Whether its last reload failed; versions before 2.5 do not tell.
    let lastReloadFailed: Bool

    /// The workers that serve.
    let workers: [Int32]

    /// The workers of earlier configurations that finish their connections.
    let oldWorkers: [Int32]

    /// Parses an answer; nil where it is none.
    init?(_ answer: String) {
        var master: Int32?
        var failed = false
        var workers: [Int32] = []
        var oldWorkers: [Int32] = []
        var isOld = false
        for line in answer.split(separator: "\n") {
            if line.first == "#" {
                // "# workers", "# old workers", "# programs", and the titles, which begin with "#<PID>".
                isOld = line.hasPrefix("# old")
                continue
            }
            let words = line.split { $0 == " " || $0 == "\t" }
            guard words.count >= 2, let pid = Int32(words[0]), pid > 0 else { continue }
            switch words[1] {
            case "master":
                master = pid
                failed = Self.failures(line) > 0
            case "worker" where isOld: oldWorkers.append(pid)
            case "worker": workers.append(pid)
            default: continue
            }
        }
        guard let master else { return nil }
        self.master = master
        lastReloadFailed = failed
        self.workers = workers
        self.oldWorkers = oldWorkers
    }

    /// The number in `[failed: 1]`.
    private static func failures(_ line: Substring) -> Int {
        guard let bracket = line.firstIndex(of: "[") else { return 0 }
        let words = line[bracket...].dropFirst().prefix { $0 != "]" }.split(separator: " ")
        return words.first == "failed:" ? words.last.flatMap { Int($0) } ?? 0 : 0
    }
}
