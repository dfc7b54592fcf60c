import Shared
import Synchronization

/// Notices at once when somebody else changes or deletes the agent's own keys, or when etcd was away.
///
/// It watches the registry's prefix and compares with what the agent expects to be there. It hands no data over: it
/// only says "look again". In a large fleet it does not watch, as each change would cost etcd something for each agent;
/// the audits of the agent then find it.
struct RegistryWatcher: Sendable {
    /// The values that the agent's keys should have, kept by the agent.
    ///
    /// Set before a change is sent, so that the echo of the agent's own change is not taken for somebody else's.
    final class ExpectedValues: Sendable {
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

    private let registry: EntryStore
    private let expectation: ExpectedValues
    private let fleet: SharedSnapshot<Int?>
    private let logger: Logger

    /// Prepares to watch.
    ///
    /// - Parameter fleet: how many docker-registers there are, as far as is known.
    init(
        _ registry: EntryStore, _ expectation: ExpectedValues, _ fleet: SharedSnapshot<Int?> = SharedSnapshot(1),
        logger: Logger
    ) {
        (self.registry, self.expectation, self.fleet, self.logger) = (registry, expectation, fleet, logger)
    }

    /// The most docker-registers that all watch.
    static let mostWatching = 100

    private var isFleetLarge: Bool { fleet.read().map { $0 > Self.mostWatching } ?? false }

    /// Watches until the task is cancelled; `lookAgain` is called after each (re)connection and each foreign change.
    func run(lookAgain: @escaping @Sendable () -> Void) async throws {
        var backoff = Backoff(first: .milliseconds(50), limit: .milliseconds(500))
        // Many that start at a time need not watch for a moment first.
        for _ in 0..<50 where fleet.read() == nil { try await Task.sleep(for: .milliseconds(100)) }
        while true {
            while isFleetLarge { try await Task.sleep(for: .seconds(10)) }
            do {
                let prefix = registry.keyspace.prefix
                let now = try await registry.etcd.position(readingAt: prefix, deadline: registry.deadline)
                let watch = registry.etcd.watch(prefix: prefix, after: now.revision, of: now.clusterID)
                for try await changes in watch {
                    guard !isFleetLarge else { break }
                    backoff.reset()
                    if changes.events.isEmpty || changes.events.contains(where: expectation.isContradicted) {
                        lookAgain()
                    }
                }
            } catch {
                try Task.checkCancellation()
                logger.debug("watching the registry again", ["error": "\(error)"])
            }
            try await Task.sleep(for: backoff.next())
        }
    }
}

/// Limits how often entries are put back that somebody destroys again and again.
///
/// The first times are at once; then each waits longer than the one before, until it has been quiet for a while.
struct RestoreBackoff: Equatable {
    private var count = 0
    private var last: ContinuousClock.Instant?
    private var pause = Duration.zero

    private static let free = 5
    private static let firstPause = Duration.milliseconds(100)
    private static let longestPause = Duration.seconds(5)
    private static let quiet = Duration.seconds(10)

    /// Whether waits have begun.
    var isHot: Bool { count > Self.free }

    /// Records that something had to be restored.
    mutating func restored(at now: ContinuousClock.Instant) {
        if let last, now - last > Self.quiet + pause { (count, pause) = (0, .zero) }
        count += 1
        last = now
        if isHot { pause = min(max(pause * 2, Self.firstPause), Self.longestPause) }
    }

    /// How long to wait until the next look; nil where there is no need to.
    func wait(at now: ContinuousClock.Instant) -> Duration? {
        guard let last, now < last + pause else { return nil }
        return now.duration(to: last + pause)
    }
}
