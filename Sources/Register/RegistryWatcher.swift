import Shared
import Synchronization

/// Notices at once when somebody else changes or deletes the agent's own keys, or when etcd was away.
///
/// It watches the registry's prefix and compares with what the agent expects to be there. It hands no data over: it
/// only says "look again".
struct RegistryWatcher: Sendable {
    /// The values that the agent's keys should have, kept by the agent.
    ///
    /// Set before a change is sent, so that the echo of the agent's own change is not taken for somebody else's.
    final class Expectation: Sendable {
        private let values = Mutex<[[UInt8]: [UInt8]]>([:])

        /// The value of `key` is to be `value`; nil for a key that the agent does not care about.
        func set(_ key: String, to value: [UInt8]?) {
            values.withLock { $0[Array(key.utf8)] = value }
        }

        /// Whether an event contradicts what is expected.
        func isContradicted(by event: Etcd.Event) -> Bool {
            values.withLock { values in
                guard let expected = values[event.key] else { return false }
                switch event {
                case .put(let keyValue): return keyValue.value != expected
                case .delete: return true
                }
            }
        }
    }

    private let registry: EtcdRegistry
    private let expectation: Expectation
    private let logger: Logger

    /// Prepares to watch.
    init(_ registry: EtcdRegistry, _ expectation: Expectation, logger: Logger) {
        self.registry = registry
        self.expectation = expectation
        self.logger = logger
    }

    /// Watches until the task is cancelled; `lookAgain` is called after each (re)connection and each foreign change.
    func run(lookAgain: @escaping @Sendable () -> Void) async throws {
        var backoff = Backoff(first: .milliseconds(50), limit: .milliseconds(500))
        while true {
            do {
                let prefix = registry.keyspace.prefix
                let now = try await registry.etcd.position(readingAt: prefix, deadline: registry.deadline)
                let watch = registry.etcd.watch(prefix: prefix, after: now.revision, of: now.clusterID)
                for try await changes in watch {
                    backoff.reset()
                    if changes.events.isEmpty || changes.events.contains(where: expectation.isContradicted) {
                        lookAgain()
                    }
                }
            } catch {
                try Task.checkCancellation()
                logger.debug("watching the registry anew", ["error": "\(error)"])
            }
            try await Task.sleep(for: backoff.next())
        }
    }
}
