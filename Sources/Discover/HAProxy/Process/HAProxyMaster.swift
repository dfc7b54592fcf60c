import FoundationEssentials
import Shared

/// The master process of the HAProxy that serves: a child of this process, or one of an earlier run.
struct HAProxyMaster: Sendable {
    private let status: ProcessStatus
    private let child: RunningProgram?

    /// Its process id.
    var pid: Int32 { status.pid }

    /// Whether it was started by this process.
    var isChild: Bool { child != nil }

    /// Takes a child; nil where it has ended already.
    init?(_ child: RunningProgram) {
        guard let status = ProcessStatus(child.pid) else { return nil }
        self.status = status
        self.child = child
    }

    /// Takes a process of an earlier run; nil where there is none of that id.
    init?(adopting pid: Int32) {
        guard let status = ProcessStatus(pid) else { return nil }
        self.status = status
        child = nil
    }

    /// Looks for a process that was started with these arguments for a folder; nil where /proc shows none.
    ///
    /// Its workers have the same arguments. The master is the oldest one. A process that executes a program, as a
    /// master does with each reload, shows no arguments for a moment: it is looked at again, for about a second. One of
    /// another container or unit may have the same path, and another folder there.
    init?(withArguments arguments: [String], for folder: String) async {
        let tail = Array((arguments.joined(separator: "\0") + "\0").utf8)
        var candidates = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { Int32($0) } ?? []
        var found: [Int32] = []
        // Tries are counted and not the time: a task that is kept waiting must not look less often.
        for _ in 0..<Self.maxLooks {
            let lines = candidates.map { pid in (pid, (try? FileContents("/proc/\(pid)/cmdline").bytes) ?? nil) }
            found += lines.filter { $0.1?.contains(tail) == true }.map(\.0)
            candidates = lines.filter { $0.1?.isEmpty == true && Self.hasProgram($0.0) }.map(\.0)
            guard !candidates.isEmpty, (try? await Task.sleep(for: .milliseconds(1))) != nil else { break }
        }
        found.removeAll { Folder.isSame(folder, for: $0) == false }
        guard let oldest = found.compactMap({ ProcessStatus($0) }).min(by: Self.isOlder) else { return nil }
        status = oldest
        child = nil
    }

    /// How often processes without arguments are looked at, a millisecond apart.
    private static let maxLooks = 1000

    /// Whether a process has a program, which neither the kernel's threads have nor what has ended.
    private static func hasProgram(_ pid: Int32) -> Bool {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")) != nil
    }

    private static func isOlder(_ left: ProcessStatus, _ right: ProcessStatus) -> Bool {
        (left.startTime, left.pid) < (right.startTime, right.pid)
    }

    /// Hands over each line that it prints, where an earlier run has started it; returns whether it can be read.
    func followOutput(onLine: @escaping @Sendable (String) -> Void) -> Bool { status.followOutput(onLine: onLine) }

    /// Whether it still runs; another process that got the same id later is not it.
    var isAlive: Bool {
        if let child { return child.ending == nil }
        return status.isAlive
    }

    /// How it ended, in a few words; nil while it runs, and for a process of an earlier run.
    var ending: String? { child?.ending?.explanation }

    /// Waits for its end; throws only when the waiting task is cancelled.
    func end(pollingEvery interval: Duration = .milliseconds(250)) async throws {
        if let child {
            _ = try await child.wait()
        } else {
            while isAlive { try await Task.sleep(for: interval) }
        }
    }

    /// Waits for its end, at most that long; returns whether it came.
    func ends(within limit: Duration) async -> Bool {
        _ = try? await withDeadline(limit) { try await self.end(pollingEvery: .milliseconds(20)) }
        return !isAlive
    }

    /// Sends it a signal, unless it has ended.
    func send(_ signal: Signal) {
        if let child { child.send(signal) } else { status.send(signal) }
    }
}

extension Program.Ending {
    /// A few words for the log.
    var explanation: String {
        switch self {
        case .exited(let status): "exit status \(status)"
        case .signalled(let signal): "signal \(signal)"
        }
    }
}

/// What HAProxy's master tells of its processes: the answer of `show proc`, from 2.4 to 3.x.
///
/// The columns differ among versions, so only the process id, the type, and the counts beside them are read.
struct MasterProcessList: Equatable, Sendable {
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
