import Shared
import Synchronization

/// Whether etcd answers, told once when that changes.
final class EtcdHealth: Sendable {
    private let logger: Logger
    private let isLost = Mutex(false)

    /// Makes one that believes in etcd until it fails.
    init(_ logger: Logger) {
        self.logger = logger
    }

    /// Notes a success.
    func answered() {
        if set(lost: false) { logger.info("etcd is back") }
    }

    /// Notes a failure.
    func failed(_ error: any Error) {
        if set(lost: true) {
            logger.warning("etcd is lost; what is known stays in service", ["error": "\(error)"])
        } else {
            logger.debug("etcd is still lost", ["error": "\(error)"])
        }
    }

    /// Returns whether that is news.
    private func set(lost: Bool) -> Bool {
        isLost.withLock { isLost in
            defer { isLost = lost }
            return isLost != lost
        }
    }
}
