import Shared

/// Which services have claims of ports and no instance, and since when this process has seen it so.
///
/// Services that go and come within a day find their ports again; names that are never used again, such as those of
/// branches that somebody tested, leave nothing behind.
struct AbsentClaims {
    /// How long a claim outlives the last instance.
    static let retention = Duration.seconds(24 * 3600)

    private var since: [ServiceName: ContinuousClock.Instant] = [:]

    /// Looks at a catalogue, and gives the claims that have been of no use for too long.
    mutating func expired(in catalog: Catalog, at now: ContinuousClock.Instant) -> [ClaimChange] {
        let present = Set(catalog.services.map(\.name))
        let absent = catalog.claims.filter { !present.contains($0.key) }
        since = absent.keys.reduce(into: [:]) { $0[$1] = since[$1] ?? now }
        return absent.keys.sorted().compactMap { service in
            guard let claim = absent[service], let begin = since[service], begin.duration(to: now) >= Self.retention
            else { return nil }
            return .delete(service, revision: claim.revision)
        }
    }
}
