import Shared

/// An entry that went although nobody withdrew it: with its lease, or with the whole store.
struct RegistryLoss: Equatable, Sendable {
    /// How it went.
    enum Cause: String, Sendable {
        /// Its lease ran out or was revoked, or somebody deleted the entry of a living agent.
        case lease
        /// The store is another one, or went back to an earlier state.
        case store
    }

    /// What the entry is called.
    let name: ServerName
    /// Where it led.
    let endpoint: Endpoint
    /// How it went.
    let cause: Cause
    /// The entry, with its meta and with what was said of its service and went in the same step.
    let records: [RegistryRecord]
    /// The keys of the other entries that led to the same address before.
    var neighbours: Set<[UInt8]> = []
    /// When that was seen.
    let seen: ContinuousClock.Instant

    /// The entry's key.
    var key: [UInt8] { records.first?.keyValue.key ?? [] }

    /// Describes the loss of an entry, which is the first of `records`; nil where that is none.
    init?(_ records: [RegistryRecord], cause: Cause, seen: ContinuousClock.Instant) {
        guard case .entry(let service, let id, let endpoint)? = records.first?.content else { return nil }
        name = ServerName(service: service, id: id)
        self.endpoint = endpoint
        self.cause = cause
        self.records = records
        self.seen = seen
    }
}
