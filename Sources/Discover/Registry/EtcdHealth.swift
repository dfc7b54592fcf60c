import Shared
import Synchronization

/// Whether etcd answers, told once when that changes.
final class EtcdHealth: Sendable {
    /// What is known of it at one moment.
    struct State: Equatable, Sendable {
        /// Since when, and why, it does not answer; nil while it does.
        var trouble: Trouble?
        /// What failed last, also if it is over.
        var lastTrouble: Trouble?
        /// When it last answered, as time since the beginning of 1970; nil where it never did.
        var lastAnswer: Duration?
        /// The newest revision that was read; 0 where none was.
        var revision: Int64 = 0
    }

    private let logger: Logger
    private let current = Mutex(State())

    /// Makes one that believes in etcd until it fails.
    init(_ logger: Logger) {
        self.logger = logger
    }

    /// What is known now.
    var state: State { current.withLock { $0 } }

    /// Notes a success.
    func answered() {
        let isBack = current.withLock { state in
            defer { state.trouble = nil }
            state.lastAnswer = Timestamp.now()
            return state.trouble != nil
        }
        if isBack { logger.info("etcd is back") }
    }

    /// Notes the revision of what was read.
    func reached(_ revision: Int64) {
        current.withLock { $0.revision = revision }
    }

    /// Notes a failure.
    func failed(_ error: any Error) {
        let fields: Logger.Fields = ["error": "\(error)"]
        guard note(Trouble(error)) else { return logger.debug("etcd is still lost", fields) }
        if Etcd.needsPerson(error) {
            logger.error("etcd refuses; what is known stays in service", fields)
        } else {
            logger.warning("etcd is lost; what is known stays in service", fields)
        }
    }

    /// Returns whether that is news.
    private func note(_ trouble: Trouble) -> Bool {
        current.withLock { state in
            defer { state.trouble = state.trouble ?? trouble }
            state.lastTrouble = trouble
            return state.trouble == nil
        }
    }
}
