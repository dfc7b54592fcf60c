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
        let line = HAProxyLine(printed)
        switch line.level {
        case .notice: logger.debug("haproxy", ["says": line.text])
        case .warning where line.isRoutine: logger.debug("haproxy", ["says": line.text])
        case .warning: logger.warning("haproxy", ["says": line.text])
        case .alert:
            logger.error("haproxy", ["says": line.text])
            recent.withLock { if $0.count < 10 { $0.append(line.text) } }
        }
    }
}
