import Shared
import Synchronization

/// Follows the registry in etcd and hands over each newer whole state.
///
/// It never ends but by cancellation, and never hands anything over for a failed read: whoever receives goes on with
/// the last state that was true.
struct RegistryWatcher: Sendable {
    /// How it learns of changes.
    enum Mode: Equatable, Sendable {
        /// etcd tells them at once; besides, it is asked from time to time whether something was missed.
        case watch
        /// What is new is read after each interval.
        case poll(every: Duration)
    }

    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// For one page of a listing; longer than etcd takes to notice that it has no quorum.
        var deadline: Duration = .seconds(8)
        /// The shortest time between two audits in watch mode; up to a quarter less, so that consumers spread.
        var auditInterval: Duration = .seconds(60)
        /// For what etcd has counted to come by the watch as well.
        var auditPatience: Duration = .seconds(8)
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
    /// How many docker-discovers there are.
    var consumers = SharedSnapshot(1)

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
                case .poll(let interval): try await poll(reached, every: interval)
                // Also after a failure: what was lost since the last listing would be missed otherwise.
                case .watch: try await follow(reached)
                }
            } catch {
                try Task.checkCancellation()
                health.failed(error)
                let spread = Self.spread(of: consumers.read()) * Double.random(in: 0...1)
                try await Task.sleep(for: max(backoff.next(), spread))
            }
        }
    }

    /// Over how long docker-discovers come back to an etcd that was away; at once where they are few.
    ///
    /// Leases are renewed before, as they have no time.
    static func spread(of consumers: Int) -> Duration {
        consumers > 100 ? min(.milliseconds(10) * consumers, .seconds(10)) : .zero
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

    /// For claims a minute is soon enough to find a member dead: each probe takes the agreement of etcd's members, and
    /// services keep their ports meanwhile.
    private static let claimsProbeInterval = Duration.seconds(60)

    /// Watches until only listing helps.
    private func follow(_ reached: ReachedState) async throws {
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
                    try await self.watch(
                        keyspace.claims, after: claimsRevision, of: cluster, probe: Self.claimsProbeInterval
                    ) { changes in
                        reached.change { $0.applyToClaims(changes) }
                    }
                }
            }
            group.addTask { try await self.audit(reached) }
            // Whichever ends first: the audits with a difference, or a watch by an error.
            try await group.next()
        }
    }

    /// Reads what is new after each interval until only listing helps.
    private func poll(_ reached: ReachedState, every interval: Duration) async throws {
        while true {
            try await Task.sleep(for: interval)
            let (revision, claimsRevision, cluster) = reached.position
            let news = try await self.news(after: revision, reached.state.hasRoutes, keysOnly: false)
            guard news.clusterID == cluster, news.revision >= revision else { return }
            if !news.keyValues.isEmpty {
                let changes = Etcd.Changes(revision: news.revision, events: news.keyValues.map { .put($0) })
                reached.change { $0.apply(changes) }
            }
            guard reached.state.expectedCount == news.count else { return }
            if let claimsRevision {
                let claims = try await self.claims(after: claimsRevision)
                guard claims.keyValues.isEmpty, reached.state.expectedClaimCount == claims.count else { return }
            }
            health.answered()
        }
    }

    private func news(after revision: Int64, _ hasRoutes: Bool, keysOnly: Bool) async throws -> Etcd.RangeResult {
        try await client.news(
            prefix: keyspace.prefix, from: hasRoutes ? keyspace.routes : nil, after: revision, keysOnly: keysOnly,
            deadline: timing.deadline)
    }

    private func claims(after revision: Int64) async throws -> Etcd.RangeResult {
        try await client.news(prefix: keyspace.claims, after: revision, keysOnly: true, deadline: timing.deadline)
    }

    /// Asks from time to time whether the watch has missed something, until it has.
    ///
    /// What etcd cannot answer now, it is asked later.
    private func audit(_ reached: ReachedState) async throws {
        var since = reached.position
        while true {
            let pause = max(
                timing.auditInterval,
                RegistryAudit.interval(keys: reached.state.expectedCount, agents: consumers.read()))
            try await Task.sleep(for: pause * Double.random(in: 0.75...1))
            do {
                let next = try await audit(reached, since: since)
                guard let next else {
                    return logger.warning(
                        "the watch has missed changes; listing the registry", ["revision": since.revision])
                }
                since = next
            } catch {
                try Task.checkCancellation()
                logger.debug("cannot ask whether changes were missed", ["error": "\(error)"])
            }
        }
    }

    /// Asks once; returns where everything is known up to, and nil where something is missing.
    private func audit(_ reached: ReachedState, since: ReachedState.Position) async throws -> ReachedState.Position? {
        reached.beginAudit()
        defer { reached.endAudit() }
        let news = try await self.news(after: since.revision, reached.state.hasRoutes, keysOnly: true)
        var claims: Etcd.RangeResult?
        if let revision = since.claimsRevision { claims = try await self.claims(after: revision) }
        let end = ContinuousClock.now + timing.auditPatience
        // What etcd has said already may still be on its way.
        while !reached.agrees(with: news, claims) {
            guard ContinuousClock.now < end else { return nil }
            try await Task.sleep(for: .milliseconds(50))
        }
        return (news.revision, claims?.revision, news.clusterID)
    }

    /// Hands changes over until it is cancelled.
    private func watch(
        _ prefix: String, from start: String? = nil, after revision: Int64, of cluster: String,
        probe interval: Duration = .seconds(10), _ take: @Sendable (Etcd.Changes) -> Void
    ) async throws {
        let timing = Etcd.Watch.Timing(probeInterval: interval) { [consumers] in Self.spread(of: consumers.read()) }
        let watch = client.watch(
            prefix: prefix, from: start, after: revision, of: cluster, timing: timing, onInterruption: health.failed)
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
    private struct Current {
        var state: RegistryState
        /// The audit that goes on.
        var audit: RegistryAudit?
    }

    private let current: Mutex<Current>
    private let publish: @Sendable (RegistryState) -> Void

    init(_ state: consuming RegistryState, _ publish: @escaping @Sendable (RegistryState) -> Void) {
        current = Mutex(Current(state: state))
        self.publish = publish
    }

    var state: RegistryState {
        get { current.withLock { $0.state } }
        set { change { $0 = newValue } }
    }

    /// Up to where everything is known.
    typealias Position = (revision: Int64, claimsRevision: Int64?, clusterID: String)

    var position: Position {
        current.withLock { ($0.state.revision, $0.state.claimsRevision, $0.state.clusterID) }
    }

    /// States are handed over in the order in which they come to be.
    func change(_ change: (inout RegistryState) -> Void) {
        current.withLock { current in
            change(&current.state)
            current.audit?.note(current.state)
            publish(current.state)
        }
    }

    func beginAudit() { current.withLock { $0.audit = RegistryAudit($0.state) } }
    func endAudit() { current.withLock { $0.audit = nil } }

    /// Whether everything is here that etcd has told.
    func agrees(with news: Etcd.RangeResult, _ claims: Etcd.RangeResult?) -> Bool {
        current.withLock { $0.audit?.agrees($0.state, news, claims) == true }
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
