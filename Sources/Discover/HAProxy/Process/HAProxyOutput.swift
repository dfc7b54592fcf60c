import Shared
import Synchronization

/// Takes what HAProxy prints: passes it on to the log, and keeps the newest alerts for the message of a failure.
final class HAProxyOutput: Sendable {
    private let logger: Logger
    private let recent = Mutex<[String]>([])

    /// Makes one that has seen nothing.
    init(_ logger: Logger) {
        self.logger = logger
    }

    /// The alerts since ``forgetAlerts()``, at most ten.
    var alerts: [String] { recent.withLock { $0 } }

    /// Begins anew; called before HAProxy is asked for something.
    func forgetAlerts() {
        recent.withLock { $0 = [] }
    }

    /// Takes a line.
    func take(_ printed: String) {
        if let access = AccessLogLine(printed) { return tell(access) }
        let line = HAProxyLine(printed)
        switch line.level {
        case .notice: logger.debug("haproxy output", ["line": line.text])
        case .warning where line.isRoutine: logger.debug("haproxy output", ["line": line.text])
        case .warning where line.isGood: logger.info("haproxy output", ["line": line.text])
        case .warning: logger.warning("haproxy output", ["line": line.text])
        case .alert:
            if line.isRoutine {
                logger.debug("haproxy output", ["line": line.text])
            } else {
                logger.error("haproxy output", ["line": line.text])
            }
            recent.withLock { if $0.count < 10 { $0.append(line.text) } }
        }
    }

    private func tell(_ access: AccessLogLine) {
        let told = access.fields
        logger.info(
            access.mode == .tcp ? "connection" : "request",
            [
                "service": told["service"], "route": told["route"], "host": told["host"], "client": told["client"],
                "endpoint": told["endpoint"],
                "status": told["status"], "method": told["method"], "path": told["path"], "ms": told["ms"],
                "queue_ms": told["queue_ms"], "connect_ms": told["connect_ms"], "answer_ms": told["answer_ms"],
                "bytes": told["bytes"], "end": told["end"],
            ])
    }
}

/// One line that HAProxy printed: `[WARNING]  (4529) : Server whoami/1 is DOWN, reason: ...`.
struct HAProxyLine: Equatable, Sendable {
    /// How much it matters, as HAProxy sees it.
    enum Level: String, Sendable {
        case notice = "NOTICE"
        case warning = "WARNING"
        case alert = "ALERT"
    }

    /// Its level; notice for a line without.
    let level: Level

    /// The line without level and process id.
    let text: String

    /// Takes a line apart.
    init(_ line: String) {
        guard line.first == "[", let bracket = line.firstIndex(of: "]"),
            let level = Level(rawValue: String(line[..<bracket].dropFirst()))
        else {
            (self.level, text) = (Self.deaths.contains { line.contains($0) } ? .alert : .notice, line)
            return
        }
        var rest = line[bracket...].dropFirst().drop { $0 == " " }
        if rest.first == "(", let end = rest.firstIndex(of: ")") {
            rest = rest[end...].dropFirst().drop { $0 == " " || $0 == ":" }
        }
        // What follows from a command of the runtime API.
        if rest.hasPrefix("CLI : ") { rest = rest.dropFirst("CLI : ".count) }
        // What a new worker finds in the states of the old one's servers.
        if rest.hasPrefix("config : Server ") { rest = rest.dropFirst("config : ".count) }
        (self.level, text) = (level, String(rest))
    }

    /// The last words of a worker that HAProxy itself, its watchdog, or the C library ends.
    private static let deaths = [
        "FATAL: ", " is about to kill the process", "corrupted ", "double free ", "free(): ", "malloc(): ",
        "realloc(): ",
    ]

    /// Whether it only tells of what each reload, each stop and each change of servers brings: workers that stop
    /// listening, and go; servers that come, and go, or are what they were before a reload; and that it is root, where
    /// docker-discover is, of which 3.4 warns with two paragraphs each time.
    var isRoutine: Bool {
        if text.hasPrefix("Server ") { return Self.changes.contains { text.contains($0) } }
        return isOfWorkers || isOfRoot || isOfOpenFiles
    }

    /// Whether it tells of something good, which HAProxy warns of like of the bad.
    var isGood: Bool { text.hasPrefix("Server ") && text.contains(" is UP, reason: ") }

    /// What commands of the runtime API and reloads do to a server; checks have other words.
    private static let changes = [
        ", changed from server-state after a reload",
        "(leaving forced maintenance)", "(leaving forced drain)", " enters drain state", " forced drain mode",
        " going DOWN for maintenance", " forced maintenance",
    ]

    /// HAProxy reckons with more files than it needs, as ``OpenFileBudget`` says.
    private var isOfOpenFiles: Bool {
        text.hasPrefix("[haproxy.main()] ") && text.contains("FD limit") && !text.contains("exiting")
    }

    private var isOfRoot: Bool {
        text.contains("HAProxy was started as root without any 'chroot'")
            || text.contains("HAProxy was started as the root user and ")
    }

    /// How workers end by themselves, and when their master is told to end although connections are open.
    private static let ends = [" exited with code 0 ", " exited with code 143 (Terminated)"]

    private var isOfWorkers: Bool {
        text.hasPrefix("Proxy ") && text.contains(" stopped (")
            || text.contains(" worker (") && Self.ends.contains { text.contains($0) }
            || text.hasPrefix("Exiting Master process") || text.hasPrefix("All workers exited")
    }
}
