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
        case .notice: logger.debug("haproxy", ["says": line.text])
        case .warning where line.isRoutine: logger.debug("haproxy", ["says": line.text])
        case .warning where line.isGood: logger.info("haproxy", ["says": line.text])
        case .warning: logger.warning("haproxy", ["says": line.text])
        case .alert:
            if line.isRoutine {
                logger.debug("haproxy", ["says": line.text])
            } else {
                logger.error("haproxy", ["says": line.text])
            }
            recent.withLock { if $0.count < 10 { $0.append(line.text) } }
        }
    }

    /// A command that reloads HAProxy failed, and a new worker serves nevertheless.
    func tellFailedReload(_ reason: String) {
        logger.warning("RELOAD_COMMAND failed, although HAProxy has reloaded", ["error": reason])
    }

    private func tell(_ access: AccessLogLine) {
        let told = access.fields
        logger.info(
            access.mode == .http ? "request" : "connection",
            [
                "service": told["service"], "client": told["client"], "endpoint": told["endpoint"],
                "status": told["status"], "method": told["method"], "path": told["path"], "ms": told["ms"],
                "queue_ms": told["queue_ms"], "connect_ms": told["connect_ms"], "answer_ms": told["answer_ms"],
                "bytes": told["bytes"], "end": told["end"],
            ])
    }
}
