import Shared

/// An entry that went although nobody withdrew it: with its lease, or with the whole store.
///
/// One that went alone, while its meta stays under the same lease, was withdrawn: an etcd without room takes no reason.
struct LostEntry: Equatable, Sendable {
    /// How it went.
    enum Cause: String, Sendable {
        /// Its lease ran out or was revoked, or somebody deleted the keys of a living agent.
        case lease
        /// The store is another one, or went back to an earlier state.
        case store
    }

    /// What the entry is called.
    let name: EntryID
    /// Where it led.
    let endpoint: Endpoint
    /// How it went.
    let cause: Cause
    /// The entry, with its meta and with what was said of its service and went in the same step.
    let records: [RegistryRecord]
    /// The keys of the other entries that led to the same address before.
    var sharers: Set<[UInt8]> = []
    /// When that was seen.
    let seen: ContinuousClock.Instant

    /// The entry's key.
    var key: [UInt8] { records.first?.keyValue.key ?? [] }

    /// Describes the loss of an entry, which is the first of `records`; nil where that is none.
    init?(_ records: [RegistryRecord], cause: Cause, seen: ContinuousClock.Instant) {
        guard case .entry(let service, let id, let endpoint)? = records.first?.content else { return nil }
        name = EntryID(service: service, id: id)
        self.endpoint = endpoint
        self.cause = cause
        self.records = records
        self.seen = seen
    }
}

/// The hold of a lost entry, with all that is needed to go on with it after a restart.
struct PersistedHold: Equatable, Sendable {
    /// What was lost.
    let loss: LostEntry
    /// When, as time since the beginning of 1970.
    let since: Duration
    /// When it goes at the latest.
    let until: Duration
}

/// What happened to keys in one step from an earlier state of the registry to a later one.
struct DeletedKeys {
    /// The keys that the step changed, as they were before it; nil where they were not there.
    private var touched: [[UInt8]: RegistryRecord?] = [:]
    /// The keys that are gone, as they were last.
    private var gone: [[UInt8]: RegistryRecord] = [:]
    /// The entries whose withdrawal was told.
    private var withdrawn: Set<EntryID> = []

    /// Notes that a key got a value.
    mutating func put(_ record: RegistryRecord, over old: RegistryRecord?) {
        let key = record.keyValue.key
        touch(key, old)
        // An entry that is there, whatever its value, was not lost.
        gone[key] = nil
        switch record.content {
        case .entry(let service, let id, _): withdrawn.remove(EntryID(service: service, id: id))
        case .meta(let service, let id, let meta) where meta.isWithdrawn:
            withdrawn.insert(EntryID(service: service, id: id))
        case .meta, .endpointConfig, .config, .port, .claim, .route, .nothing: break
        }
    }

    /// Notes that a key went.
    mutating func delete(_ record: RegistryRecord) {
        touch(record.keyValue.key, record)
        gone[record.keyValue.key] = record
    }

    private mutating func touch(_ key: [UInt8], _ old: RegistryRecord?) {
        if touched[key] == nil { touched.updateValue(old, forKey: key) }
    }

    /// Which entries were lost.
    ///
    /// - Parameters:
    ///   - after: the state that the step led to.
    ///   - replaced: the last revision of the earlier store where the step led to another one. Nobody deleted anything
    ///     there, so entries without a lease are lost as well; what is lost is made older than all of the new store.
    func losses(after: RegistryState, replaced: Int64?, at now: ContinuousClock.Instant) -> [LostEntry] {
        var losses = gone.values.compactMap { loss(of: $0, after, replaced, now) }
        guard !losses.isEmpty else { return [] }
        let sharers = sharers(of: Set(losses.map(\.endpoint)), after)
        for index in losses.indices {
            losses[index].sharers = (sharers[losses[index].endpoint] ?? []).subtracting([losses[index].key])
        }
        return losses
    }

    private func loss(
        of entry: RegistryRecord, _ after: RegistryState, _ replaced: Int64?, _ now: ContinuousClock.Instant
    ) -> LostEntry? {
        guard case .entry(let service, let id, _) = entry.content, entry.keyValue.lease != 0 || replaced != nil
        else { return nil }
        let name = EntryID(service: service, id: id)
        guard !withdrawn.contains(name), !after.tellsWithdrawal(of: name) else { return nil }
        let meta = after[.meta(service, id)]
        guard replaced != nil || meta?.keyValue.lease != entry.keyValue.lease else { return nil }
        let keys = [
            Keyspace.Key.meta(service, id), .endpointConfig(service, id), .config(service), .port(service),
            .claim(service),
        ]
        let others = keys.compactMap { gone[Array(after.keyspace.text(of: $0).utf8)] }
        let records = ([entry] + others).map { $0.older(by: replaced ?? 0) }
        return LostEntry(records, cause: replaced == nil ? .lease : .store, seen: now)
    }

    /// The keys of the entries that led to these addresses before the step.
    private func sharers(of endpoints: Set<Endpoint>, _ after: RegistryState) -> [Endpoint: Set<[UInt8]>] {
        var sharers: [Endpoint: Set<[UInt8]>] = [:]
        func note(_ record: RegistryRecord) {
            guard case .entry(_, _, let endpoint) = record.content, endpoints.contains(endpoint) else { return }
            sharers[endpoint, default: []].insert(record.keyValue.key)
        }
        for record in touched.values.compactMap(\.self) { note(record) }
        for (endpoint, holders) in after.holders(of: endpoints) {
            sharers[endpoint, default: []].formUnion(holders.map(\.key).filter { touched[$0] == nil })
        }
        return sharers
    }
}

extension LostEntry.Cause: CustomStringConvertible {
    /// A few words for the log.
    var description: String {
        switch self {
        case .lease: "the lease is gone"
        case .store: "etcd's store was replaced"
        }
    }
}
