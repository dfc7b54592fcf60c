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
                case .watch:
                    let end = await follow(state, health, publish)
                    // Also after a failure: what was lost since the last listing would be missed otherwise.
                    state = end.state
                    if let error = end.error { throw error }
                }
            } catch {
                try Task.checkCancellation()
                health.failed(error)
                try await Task.sleep(for: backoff.next())
            }
        }
    }

    /// How a watch ended: the state that it reached, and what ended it before its time.
    private struct End {
        let state: RegistryState
        var error: (any Error)?
    }

    /// Watches until it is time to list again.
    private func follow(
        _ state: RegistryState, _ health: EtcdHealth, _ publish: @escaping @Sendable (RegistryState) -> Void
    ) async -> End {
        let limit = timing.relistInterval * Double.random(in: 0.75...1)
        return await withTaskGroup(of: End?.self) { group in
            group.addTask { await self.watch(from: state, health, publish) }
            group.addTask {
                try? await Task.sleep(for: limit)
                return nil
            }
            var end = End(state: state)
            // Whichever is first ends the other; the state is the watch's.
            while let next = await group.next() {
                if let next { end = next }
                group.cancelAll()
            }
            return end
        }
    }

    /// Applies changes until it is cancelled, or only a new listing helps.
    private func watch(
        from state: RegistryState, _ health: EtcdHealth, _ publish: @Sendable (RegistryState) -> Void
    ) async -> End {
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
        } catch {
            return End(state: state, error: Task.isCancelled ? nil : error)
        }
        return End(state: state)
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
