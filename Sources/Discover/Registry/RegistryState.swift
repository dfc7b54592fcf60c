import Shared

/// Everything below the registry's prefix, as it was at one revision of etcd.
///
/// It is the whole state and a value: whoever gets a newer one may forget every older one.
struct RegistryState: Equatable, Sendable {
    /// Where the registry lies.
    let keyspace: Keyspace

    /// The revision that it shows; 0 where no etcd has answered yet.
    private(set) var revision: Int64 = 0

    /// The revision of the claims of ports; nil where they are not followed.
    private(set) var claimsRevision: Int64?

    /// The cluster that answered.
    private(set) var clusterID = ""

    /// The newest revision at which somebody asked for a confirmation; 0 where nobody did.
    private(set) var revisionToConfirm: Int64 = 0

    /// The keys, by their bytes.
    private(set) var records: [[UInt8]: RegistryRecord] = [:]

    /// The entries that were lost, by key, until they are there again, are withdrawn after all, or nobody cares.
    private(set) var losses: [[UInt8]: RegistryLoss] = [:]

    /// For how long a loss is remembered, longer than any receiver of states may be busy.
    private static let memory = Duration.seconds(300)

    /// Makes an empty one.
    init(keyspace: Keyspace) {
        self.keyspace = keyspace
    }

    /// Makes one of a listing.
    init(keyspace: Keyspace, listing: Etcd.Listing) {
        self.init(keyspace: keyspace)
        replace(with: listing)
    }

    /// Forgets everything and takes listings instead; keys that did not change are not parsed again.
    ///
    /// - Parameter claims: the claims of ports, which have a prefix of their own; nil where nobody knows newer ones.
    mutating func replace(
        with listing: Etcd.Listing, claims: Etcd.Listing? = nil, at now: ContinuousClock.Instant = .now
    ) {
        let isOther = revision != 0 && (listing.clusterID != clusterID || listing.revision < revision)
        let replaced = isOther ? revision : nil
        var departures = Departures()
        let prefix = Array(keyspace.claims.utf8)
        var next = claims == nil ? records.filter { $0.key.starts(with: prefix) } : [:]
        for key in next.keys { records[key] = nil }
        for keyValue in listing.keyValues + (claims?.keyValues ?? []) {
            let known = records.removeValue(forKey: keyValue.key)
            if let known, known.keyValue == keyValue {
                next[keyValue.key] = known
            } else {
                let record = RegistryRecord(keyValue, in: keyspace)
                departures.put(record, over: known)
                next[keyValue.key] = record
            }
        }
        for record in records.values { departures.delete(record) }
        records = next
        revisionToConfirm = next.values.reduce(0) { max($0, $1.revisionToConfirm) }
        revision = listing.revision
        clusterID = listing.clusterID
        claimsRevision = claims?.revision
        note(departures, replaced: replaced, at: now)
    }

    /// Applies what the watch of claims delivered, which says nothing of the revision of the others.
    mutating func applyToClaims(_ changes: Etcd.Changes) {
        let reached = revision
        apply(changes)
        revision = reached
        claimsRevision = changes.revision
    }

    /// Applies what a watch delivered.
    mutating func apply(_ changes: Etcd.Changes, at now: ContinuousClock.Instant = .now) {
        var departures = Departures()
        for event in changes.events {
            switch event {
            case .put(let keyValue):
                let record = RegistryRecord(keyValue, in: keyspace)
                revisionToConfirm = max(revisionToConfirm, record.revisionToConfirm)
                departures.put(record, over: records.updateValue(record, forKey: keyValue.key))
            case .delete(let key, _):
                if let record = records.removeValue(forKey: key) { departures.delete(record) }
            }
        }
        revision = changes.revision
        note(departures, replaced: nil, at: now)
    }

    private mutating func note(_ departures: Departures, replaced: Int64?, at now: ContinuousClock.Instant) {
        for loss in departures.losses(after: self, replaced: replaced, at: now) { losses[loss.key] = loss }
        guard !losses.isEmpty else { return }
        let (records, oldest) = (records, now - Self.memory)
        losses = losses.filter { key, loss in
            records[key] == nil && !tellsWithdrawal(of: loss.name) && loss.seen >= oldest
        }
    }
}

extension RegistryState {
    /// Whether a meta stands there that tells why an entry was withdrawn.
    func tellsWithdrawal(of name: ServerName) -> Bool {
        let key = Array(keyspace.text(of: .meta(name.service, name.id)).utf8)
        guard case .meta(_, _, let meta)? = records[key]?.content else { return false }
        return meta.withdrawn != nil
    }

    /// The state with these records besides, as far as none of the same key is there.
    func holding(_ held: [RegistryRecord]) -> RegistryState {
        guard !held.isEmpty else { return self }
        var state = self
        for record in held where state.records[record.keyValue.key] == nil {
            state.records[record.keyValue.key] = record
        }
        return state
    }
}

extension RegistryState {
    /// How many entries each of these services has.
    func entryCounts(of services: Set<ServiceName>) -> [ServiceName: Int] {
        guard !services.isEmpty else { return [:] }
        return records.values.reduce(into: [:]) { counts, record in
            if case .entry(let service, _, _) = record.content, services.contains(service) {
                counts[service, default: 0] += 1
            }
        }
    }

    /// The entries that lead to these addresses, each with its key.
    func holders(of endpoints: Set<Endpoint>) -> [Endpoint: [(key: [UInt8], name: ServerName)]] {
        guard !endpoints.isEmpty else { return [:] }
        return records.reduce(into: [:]) { holders, record in
            if case .entry(let service, let id, let endpoint) = record.value.content, endpoints.contains(endpoint) {
                holders[endpoint, default: []].append((record.key, ServerName(service: service, id: id)))
            }
        }
    }
}
