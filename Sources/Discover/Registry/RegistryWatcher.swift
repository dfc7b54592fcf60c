import Shared
import Synchronization

/// Follows the registry in etcd and hands over each newer whole state.
///
/// It never ends but by cancellation, and never hands anything over for a failed read: whoever receives goes on with
/// the last state that was true.
struct RegistryWatcher: Sendable {
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
    /// Whether etcd answers.
    let health: EtcdHealth

    /// Hands states over to `publish` until it is cancelled.
    ///
    /// - Parameter known: the state that an earlier run reached, so that what was lost since is told; nil for none.
    func run(
        from known: consuming RegistryState? = nil, publish: @escaping @Sendable (RegistryState) -> Void
    ) async throws {
        var backoff = Backoff(first: .milliseconds(100), limit: timing.retryLimit)
        // Nobody else keeps a state here: an earlier one would hold thousands of records that are no more.
        let reached = ReachedState(known ?? RegistryState(keyspace: keyspace), publish)
        while true {
            do {
                reached.state = try await listed(after: reached.state)
                health.answered()
                backoff.reset()
                switch mode {
                case .poll(let interval): try await Task.sleep(for: interval)
                // Also after a failure: what was lost since the last listing would be missed otherwise.
                case .watch: try await follow(reached)
                }
            } catch {
                try Task.checkCancellation()
                health.failed(error)
                try await Task.sleep(for: backoff.next())
            }
        }
    }

    /// The registry as it is now, read once.
    func once() async throws -> RegistryState {
        try await listed(after: RegistryState(keyspace: keyspace))
    }

    /// Lists everything anew.
    private func listed(after known: RegistryState) async throws -> RegistryState {
        async let claims = claims()
        var reading = ListingDiff(after: known)
        var listing: Etcd.RangeResult
        var isWhole = true
        do {
            // One range, so that a route and the endpoints that it needs are of one revision.
            listing = try await client.range(
                prefix: keyspace.prefix, from: keyspace.routes, deadline: timing.deadline
            ) { reading.take($0) }
        } catch Etcd.Error.refused(.permissionDenied, let message) {
            logger.debug("cannot read routes", ["prefix": keyspace.routes, "error": message])
            (reading, isWhole) = (ListingDiff(after: known), false)
            listing = try await client.range(prefix: keyspace.prefix, deadline: timing.deadline) { reading.take($0) }
            reading.keepRoutes()
        }
        var state = known
        state.replace(with: reading, of: listing, claims: try await claims)
        state.hasRoutes = isWhole
        return state
    }

    /// The claims of ports; nil where this user may not read them, which costs only these.
    private func claims() async throws -> Etcd.RangeResult? {
        do {
            return try await client.range(prefix: keyspace.claims, deadline: timing.deadline)
        } catch Etcd.Error.refused(.permissionDenied, let message) {
            logger.debug("cannot read port claims", ["prefix": keyspace.claims, "error": message])
            return nil
        }
    }

    /// Watches until it is time to list again, or only that helps.
    private func follow(_ reached: ReachedState) async throws {
        let limit = timing.relistInterval * Double.random(in: 0.75...1)
        let (revision, claimsRevision, cluster) = reached.position
        let start = reached.state.hasRoutes ? keyspace.routes : nil
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await self.watch(keyspace.prefix, from: start, after: revision, of: cluster) { changes in
                    reached.change { $0.apply(changes) }
                }
            }
            if let claimsRevision {
                group.addTask {
                    try await self.watch(keyspace.claims, after: claimsRevision, of: cluster) { changes in
                        reached.change { $0.applyToClaims(changes) }
                    }
                }
            }
            group.addTask { try? await Task.sleep(for: limit) }
            // Whichever ends first: the time, or a watch by an error.
            try await group.next()
        }
    }

    /// Hands changes over until it is cancelled.
    private func watch(
        _ prefix: String, from start: String? = nil, after revision: Int64, of cluster: String,
        _ take: @Sendable (Etcd.Changes) -> Void
    ) async throws {
        let watch = client.watch(
            prefix: prefix, from: start, after: revision, of: cluster, onInterruption: health.failed)
        do {
            for try await changes in watch {
                health.answered()
                if !changes.events.isEmpty { take(changes) }
            }
        } catch  where Task.isCancelled {}
    }
}

/// The newest state; each one is handed over.
private final class ReachedState: Sendable {
    private let current: Mutex<RegistryState>
    private let publish: @Sendable (RegistryState) -> Void

    init(_ state: consuming RegistryState, _ publish: @escaping @Sendable (RegistryState) -> Void) {
        current = Mutex(state)
        self.publish = publish
    }

    var state: RegistryState {
        get { current.withLock { $0 } }
        set { change { $0 = newValue } }
    }

    var position: (revision: Int64, claimsRevision: Int64?, clusterID: String) {
        current.withLock { ($0.revision, $0.claimsRevision, $0.clusterID) }
    }

    /// States are handed over in the order in which they come to be.
    func change(_ change: (inout RegistryState) -> Void) {
        current.withLock { state in
            change(&state)
            publish(state)
        }
    }
}

extension RegistryWatcher.Mode: CustomStringConvertible {
    /// A few words for the log.
    var description: String {
        switch self {
        case .watch: "watch"
        case .poll(let interval): "poll every \(DurationText.text(interval))"
        }
    }
}

/// Whether etcd answers, logged when that has changed for more than a moment.
final class EtcdHealth: Sendable {
    /// What is known of it at one moment.
    struct State: Equatable, Sendable {
        /// Since when, and why, it does not answer; nil while it does.
        var trouble: ErrorRecord?
        /// What failed last, also if it is over.
        var lastTrouble: ErrorRecord?
        /// When it last answered, as time since the beginning of 1970; nil where it never did.
        var lastAnswer: Duration?
        /// The newest revision that was read; 0 where none was.
        var revision: Int64 = 0
    }

    private struct Known {
        var state = State()
        var outage = Outage<ErrorRecord>()
    }

    private let logger: Logger
    private let known = Mutex(Known())

    /// Makes one that believes in etcd until it fails.
    init(_ logger: Logger) {
        self.logger = logger
    }

    /// What is known now.
    var state: State { known.withLock { $0.state } }

    /// Notes a success.
    func answered() {
        let isNews = known.withLock { known in
            known.state.trouble = nil
            known.state.lastAnswer = Timestamp.now()
            return known.outage.succeeded()
        }
        if isNews { logger.info("etcd reachable again") }
    }

    /// Notes the revision of what was read.
    func reached(_ revision: Int64) {
        known.withLock { $0.state.revision = revision }
    }

    /// Notes a failure.
    func failed(_ error: any Error) {
        let fields: Logger.Fields = ["error": "\(error)"]
        let (isNews, hasAnswered) = known.withLock { known in
            let trouble = ErrorRecord(error)
            let isNews = known.outage.failed(trouble, isCertain: Etcd.isCertainLoss(error))
            known.state.trouble = known.outage.cause
            known.state.lastTrouble = trouble
            return (isNews, known.state.lastAnswer != nil)
        }
        if !isNews {
            logger.debug("etcd still unreachable", fields)
        } else if Etcd.needsOperator(error) {
            logger.error("etcd rejected the request; serving the last known state", fields)
        } else if hasAnswered {
            logger.warning("etcd unreachable; serving the last known state", fields)
        } else {
            logger.warning("etcd unreachable since startup; serving the saved state", fields)
        }
    }
}
