import Shared

/// Keeps routes that went with the whole store, as lost endpoints are kept: nobody deleted them.
struct RouteHold: Sendable {
    /// How long they are kept at most.
    let limit: Duration
    /// What they said.
    private(set) var records: [String: RegistryRecord] = [:]
    private var since = Duration.zero
    /// The routes whose hold is over.
    private var ended: Set<String> = []
    /// Those of an earlier run, of which this one's registry knows nothing.
    private var earlier: [String: RegistryRecord] = [:]

    /// Keeps nothing yet, or what an earlier run kept.
    init(limit: Duration, _ kept: PersistedRoutes? = nil) {
        self.limit = limit
        if let kept { (records, earlier, since) = (kept.records, kept.records, kept.since) }
    }

    /// What has to outlive the program; nil where nothing is kept.
    var persisted: PersistedRoutes? { records.isEmpty ? nil : PersistedRoutes(records: records, since: since) }

    /// Learns which routes are lost.
    mutating func accept(_ registry: RegistryState, at now: Duration) {
        let lost = registry.lostRoutes.filter { !ended.contains($0.key) }
        ended.formIntersection(registry.lostRoutes.keys)
        earlier = earlier.filter { registry.routes[$0.key] == nil }
        if records.isEmpty { since = now }
        records = lost.merging(earlier) { first, _ in first }
        _ = expire(at: now)
    }

    /// Ends the hold where its time has come; returns whether it has.
    mutating func expire(at now: Duration) -> Bool {
        guard !records.isEmpty, now >= since + limit else { return false }
        release()
        return true
    }

    /// Ends the hold.
    mutating func release() {
        ended.formUnion(records.keys)
        (records, earlier) = ([:], [:])
    }

    /// How long it goes on; nil where nothing is kept.
    func wait(at now: Duration) -> Duration? {
        records.isEmpty ? nil : max(since + limit - now, .zero)
    }

    /// Routes with those that are kept.
    func applied(to routes: PartitionedTable<RegistryRecord>) -> PartitionedTable<RegistryRecord> {
        guard !records.isEmpty else { return routes }
        var routes = routes
        routes.apply(records.filter { routes[$0.key] == nil }.map { ($0.key, $0.value) })
        return routes
    }

    /// What somebody should know.
    var problems: Set<Diagnostic> {
        records.isEmpty ? [] : [.route(.lost(count: records.count, until: Timestamp.text(since + limit)))]
    }
}
