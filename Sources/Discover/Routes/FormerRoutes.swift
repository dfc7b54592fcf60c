import Shared

/// The routes that labels asked for whose services have lost their last endpoints, for a day: as an operator's routes
/// they answer 503, which is worth another try, and not 404.
struct FormerRoutes: Sendable {
    /// How long a label's route outlives the last endpoint, as a claim of a port does.
    static let retention = Duration.seconds(24 * 3600)

    private var known: [ServiceName: LabelRoutes] = [:]
    private var since: [ServiceName: ContinuousClock.Instant] = [:]

    /// Knows none yet.
    init() {}

    /// The routes of services that have no endpoint now.
    var routes: [ServiceName: LabelRoutes] { known.filter { since[$0.key] != nil } }

    /// Learns what labels ask for now; a service that has endpoints and does not ask any more has given its routes up.
    mutating func update(
        _ labels: [ServiceName: LabelRoutes], of services: [Catalog.Service], at now: ContinuousClock.Instant
    ) {
        guard !labels.isEmpty || !known.isEmpty else { return }
        let present = Set(services.map(\.name))
        known = known.filter { !present.contains($0.key) }
        known.merge(labels) { $1 }
        since = known.keys.reduce(into: [:]) { kept, service in
            if !present.contains(service) { kept[service] = since[service] ?? now }
        }
    }

    /// Ends those that are too old; returns whether there were any.
    mutating func expire(at now: ContinuousClock.Instant) -> Bool {
        let old = since.filter { $1.duration(to: now) >= Self.retention }.keys
        for service in old { (known[service], since[service]) = (nil, nil) }
        return !old.isEmpty
    }
}
