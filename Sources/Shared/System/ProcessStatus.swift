import CCurl
import Glibc

/// What /proc tells of a process: enough to know it again although process ids are used anew.
package struct ProcessStatus: Equatable, Sendable {
    /// Its id.
    package let pid: Int32
    /// Its command's name, at most 15 bytes.
    package let command: String
    /// When it started, in clock ticks since the machine did; it keeps that when it executes itself anew.
    package let startTime: UInt64

    /// Reads it; nil for a process that does not exist, or has ended and only waits to be reaped.
    package init?(_ pid: Int32) {
        guard let text = try? FileContents("/proc/\(pid)/stat").text else { return nil }
        self.init(pid, stat: text)
    }

    /// Parses the text of /proc/<pid>/stat.
    package init?(_ pid: Int32, stat: String) {
        // The command stands in parentheses and may itself contain some.
        guard let opening = stat.firstIndex(of: "("), let closing = stat.lastIndex(of: ")"), opening < closing
        else { return nil }
        // The third field of proc(5), the state, is the first one here; the 22nd is the start time.
        let fields = stat[closing...].dropFirst().split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X", let startTime = UInt64(fields[19])
        else { return nil }
        self.pid = pid
        self.startTime = startTime
        command = String(stat[opening..<closing].dropFirst())
    }
}

extension ProcessStatus {
    /// Whether the process still runs; another one that got the same id later is not it.
    package var isAlive: Bool { ProcessStatus(pid)?.startTime == startTime }

    /// Sends the process a signal, unless it has ended.
    package func send(_ signal: Signal) {
        if isAlive { kill(pid, signal.number) }
    }

    /// The id of this process.
    package static var ownID: Int32 { getpid() }

    /// The name of this host; nil where the system does not say.
    package static var hostName: String? {
        // The kernel's limit, and the byte that ends the text.
        var name = [UInt8](repeating: 0, count: 65)
        let isKnown = unsafe name.withUnsafeMutableBytes { room in
            let start = unsafe room.baseAddress?.assumingMemoryBound(to: CChar.self)
            return unsafe start.map { unsafe gethostname($0, room.count - 1) } == 0
        }
        return isKnown ? String(decoding: name.prefix { $0 != 0 }, as: UTF8.self) : nil
    }
}

/// The capabilities that a process has, and hands on to the programs that it starts.
package struct ProcessCapabilities: Equatable, Sendable {
    /// CAP_SYS_CHROOT of capabilities(7).
    private static let chroot = 18

    private let effective: UInt64

    /// Reads those of this process; nil where /proc does not tell.
    package static var own: ProcessCapabilities? {
        (try? FileContents("/proc/self/status").text).flatMap { ProcessCapabilities(status: $0) }
    }

    /// Parses the text of /proc/<pid>/status.
    package init?(status: String) {
        let name = "CapEff:"
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name) }),
            let digits = line.dropFirst(name.count).split(whereSeparator: \.isWhitespace).first,
            let effective = UInt64(digits, radix: 16)
        else { return nil }
        self.effective = effective
    }

    /// Whether it may change its root folder.
    package var mayChroot: Bool { effective & (1 << Self.chroot) != 0 }
}

/// The limit of open files that HAProxy inherits.
///
/// HAProxy makes room for as many connections as the limit allows before it serves the first one. In containers the
/// limit may be a thousand million, for which it would take gigabytes.
package enum FileDescriptorLimit {
    /// The most that HAProxy is given; half as many connections are possible.
    package static let most: UInt = 1 << 20

    /// Lowers the limit of this process, and so of what it starts, to ``most``; a lower one stays.
    package static func bound() {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard unsafe getrlimit(resource, &limit) == 0, var bounded = bounded(limit) else { return }
        // Where the system refuses, HAProxy gets what there is.
        _ = unsafe setrlimit(resource, &bounded)
    }

    /// How many files HAProxy may have open, which raises its own limit to the hard one; nil where the system does not say.
    package static var limit: Int? {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return Int(min(limit.rlim_max, most))
    }

    /// What becomes of a limit; nil where it stays.
    static func bounded(_ limit: rlimit) -> rlimit? {
        guard limit.rlim_max > most else { return nil }
        return rlimit(rlim_cur: min(limit.rlim_cur, most), rlim_max: most)
    }
}

/// How this process keeps memory that it no longer uses.
package enum MallocTuning {
    /// Has the C library give memory back to the system soon, and share it between threads.
    ///
    /// By its own choice it keeps a heap for each thread, and the more the larger the blocks that were freed once:
    /// a start with 10 000 endpoints would count for ever. Called before there are threads (mallopt(3)).
    package static func apply() {
        _ = mallopt(M_ARENA_MAX, 2)
        // With less, work that goes on for long would ask the system for the same memory again and again.
        _ = mallopt(M_TRIM_THRESHOLD, 1 << 20)
        _ = mallopt(M_MMAP_THRESHOLD, 1 << 20)
    }

    /// Gives back what is unused now; takes milliseconds where there is much of it (malloc_trim(3)).
    package static func trim() {
        _ = malloc_trim(0)
    }
}
