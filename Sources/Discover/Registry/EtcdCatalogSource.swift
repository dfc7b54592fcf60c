import Shared

/// Follows the registry in etcd and hands over each newer whole state.
///
/// It never ends but by cancellation, and never hands anything over for a failed read: whoever receives goes on with
/// the last state that was true.
struct EtcdCatalogSource: Sendable {
    /// How it learns of changes.
    enum Mode: Equatable, Sendable {
        /// etcd tells them at once; besides, everything is read again from time to time.
        case watch
        /// Everything is read again after each interval.
        case poll(every: Duration)
    }

    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// For one page of a listing; longer than etcd takes to notice that it has no quorum.
        var deadline: Duration = .seconds(8)
        /// The longest between two listings in watch mode; up to a quarter less, so that consumers spread.
        var relistInterval: Duration = .seconds(60)
        /// The longest wait after a failure: short, so that all is right within a second of etcd's return.
        var retryLimit: Duration = .milliseconds(500)
    }

    /// The client.
    let client: Etcd.Client
    /// Where the registry lies.
    let keyspace: Keyspace
    /// How to follow it.
    let mode: Mode
    /// The limits.
    let timing: Timing
    /// Where losses and returns of etcd are told.
    let logger: Logger

    /// Hands states over to `publish` until it is cancelled.
    ///
    /// - Parameter known: the state that an earlier run reached, so that what was lost since is told; nil for none.
    func run(from known: RegistryState? = nil, publish: @escaping @Sendable (RegistryState) -> Void) async throws {
        let health = EtcdHealth(logger)
        var backoff = Backoff(first: .milliseconds(100), limit: timing.retryLimit)
        var state = known ?? RegistryState(keyspace: keyspace)
        while true {
            do {
                state.replace(with: try await client.range(prefix: keyspace.prefix, deadline: timing.deadline))
                health.answered()
                backoff.reset()
                publish(state)
                switch mode {
                case .poll(let interval): try await Task.sleep(for: interval)
                case .watch: state = try await follow(state, health, publish)
                }
            } catch {
                try Task.checkCancellation()
                health.failed(error)
                try await Task.sleep(for: backoff.next())
            }
        }
    }

    /// Watches until it is time to list again, and returns the state reached.
    private func follow(
        _ state: RegistryState, _ health: EtcdHealth, _ publish: @escaping @Sendable (RegistryState) -> Void
    ) async throws -> RegistryState {
        let limit = timing.relistInterval * Double.random(in: 0.75...1)
        return try await withThrowingTaskGroup(of: RegistryState?.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await self.watch(from: state, health, publish) }
            group.addTask {
                try? await Task.sleep(for: limit)
                return nil
            }
            while let reached = try await group.next() {
                if let reached { return reached }
                group.cancelAll()
            }
            throw CancellationError()
        }
    }

    /// Applies changes until it is cancelled, and returns the state reached.
    private func watch(
        from state: RegistryState, _ health: EtcdHealth, _ publish: @Sendable (RegistryState) -> Void
    ) async throws -> RegistryState {
        var state = state
        let watch = client.watch(
            prefix: keyspace.prefix, after: state.revision, of: state.clusterID, onInterruption: health.failed)
        do {
            for try await changes in watch {
                health.answered()
                guard !changes.events.isEmpty else { continue }
                state.apply(changes)
                publish(state)
            }
        } catch  where Task.isCancelled {}
        return state
    }
}

extension EtcdCatalogSource.Mode: CustomStringConvertible {
    /// A few words for the log.
    var description: String {
        switch self {
        case .watch: "watch"
        case .poll(let interval): "poll every \(DurationText.text(interval))"
        }
    }
}
