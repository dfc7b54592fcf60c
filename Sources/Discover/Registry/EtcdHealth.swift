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
        let fields: Logger.Fields = ["error": "\(error)"]
        guard set(lost: true) else { return logger.debug("etcd is still lost", fields) }
        if Etcd.needsPerson(error) {
            logger.error("etcd refuses; what is known stays in service", fields)
        } else {
            logger.warning("etcd is lost; what is known stays in service", fields)
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
