import Shared

/// Everything below the registry's prefix, as it was at one revision of etcd.
///
/// It is the whole state and a value: whoever gets a newer one may forget every older one.
struct RegistryState: Sendable {
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

    /// The records of each service; under nil those of which the service is not known.
    private(set) var groups: [ServiceName?: ServiceRecords] = [:]

    /// The records of routes by name.
    private(set) var routes = PartitionedTable<RegistryRecord>()

    /// The routes that went with a store that was replaced, until they are there again.
    private(set) var lostRoutes: [String: RegistryRecord] = [:]

    /// Whether routes are followed: not where this user may not read them.
    var hasRoutes = true

    /// How many keys etcd counted besides those that are kept, of routes and endpoints, and of claims.
    private var strangers: (main: Int, claims: Int) = (0, 0)

    /// What metas have said.
    private var pool = MetaPool()

    /// The entries that were lost, by key, until they are there again, are withdrawn after all, or nobody cares.
    private(set) var losses: [[UInt8]: LostEntry] = [:]

    /// For how long a loss is remembered, longer than any receiver of states may be busy.
    private static let memory = Duration.seconds(300)

    /// Makes an empty one.
    init(keyspace: Keyspace) {
        self.keyspace = keyspace
    }

    /// Makes one of a listing.
    init(keyspace: Keyspace, listing: Etcd.RangeResult) {
        self.init(keyspace: keyspace)
        replace(with: listing)
    }

    /// Forgets everything and takes listings instead.
    ///
    /// - Parameter claims: the claims of ports, which have a prefix of their own; nil where nobody knows newer ones.
    mutating func replace(
        with listing: Etcd.RangeResult, claims: Etcd.RangeResult? = nil, at now: ContinuousClock.Instant = .now
    ) {
        var reading = ListingDiff(after: self)
        reading.take(listing.keyValues)
        replace(with: reading, of: listing, claims: claims, at: now)
    }

    /// Forgets everything and takes what was read instead.
    ///
    /// - Parameters:
    ///   - listing: what tells where etcd was.
    ///   - claims: the claims of ports, which have a prefix of their own; nil where nobody knows newer ones.
    mutating func replace(
        with reading: consuming ListingDiff, of listing: Etcd.RangeResult, claims: Etcd.RangeResult?,
        at now: ContinuousClock.Instant = .now
    ) {
        // Whatever this store had at our revision was known. An emptied one keeps its cluster's id.
        let isOther = listing.clusterID != clusterID || listing.revision < revision || reading.hasStrangers
        let replaced = revision != 0 && isOther ? revision : nil
        if let claims { reading.take(claims.keyValues) } else { reading.keepClaims() }
        var departures = DeletedKeys()
        if !reading.missing.isEmpty {
            for (record, old) in reading.news { departures.put(record, over: old) }
            for record in reading.missing.values { departures.delete(record) }
        }
        pool = reading.pool
        groups = regrouped(reading.groups)
        var news = reading.routes.filter { routes[$0.key] !== $0.value }.map { ($0.key, Optional($0.value)) }
        let gone = routes.keys.filter { reading.routes[$0] == nil }
        news += gone.map { ($0, nil) }
        // Nobody deleted them.
        if let replaced { for name in gone { lostRoutes[name] = routes[name]?.older(by: replaced) } }
        if !news.isEmpty { routes.apply(news) }
        if !lostRoutes.isEmpty { lostRoutes = lostRoutes.filter { routes[$0.key] == nil } }
        revisionToConfirm = reading.revisionToConfirm
        revision = listing.revision
        clusterID = listing.clusterID
        claimsRevision = claims?.revision
        strangers = (Int(listing.count) - keyCount, Int(claims?.count ?? 0) - claimCount)
        note(departures, replaced: replaced, at: now)
    }

    /// The groups of these records; those that have none but the records of now stay what they are.
    private func regrouped(_ next: [ServiceName?: [[UInt8]: RegistryRecord]]) -> [ServiceName?: ServiceRecords] {
        next.reduce(into: [:]) { groups, group in
            let (service, records) = group
            let known = self.groups[service]
            let isSame = known?.records.count == records.count && records.allSatisfy { known?.records[$0] === $1 }
            groups[service] = isSame ? known : ServiceRecords(records, of: service)
        }
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
        var departures = DeletedKeys()
        var touched: [ServiceName?: [[UInt8]: RegistryRecord]] = [:]
        var routes: [(String, RegistryRecord?)] = []
        for event in changes.events where keyspace.hasPart(for: event.key) {
            switch event {
            case .put(let keyValue):
                let record = RegistryRecord(keyValue, in: keyspace, sharing: &pool)
                revisionToConfirm = max(revisionToConfirm, record.revisionToConfirm)
                if let name = record.routeName {
                    routes.append((name.text, record))
                    continue
                }
                let old = touched[record.service, default: groups[record.service]?.records ?? [:]]
                    .updateValue(record, forKey: keyValue.key)
                departures.put(record, over: old)
            case .delete(let key, _):
                let parsed = try? keyspace.parse(key)
                if case .route(let name) = parsed {
                    routes.append((name.text, nil))
                    continue
                }
                let service = parsed?.service
                let old = touched[service, default: groups[service]?.records ?? [:]].removeValue(forKey: key)
                if let old { departures.delete(old) }
            }
        }
        for (service, records) in touched {
            groups[service] = records.isEmpty ? nil : ServiceRecords(records, of: service)
        }
        if !routes.isEmpty { self.routes.apply(routes) }
        // Also one that was put and deleted since is no longer lost.
        for (name, _) in routes { lostRoutes[name] = nil }
        revision = changes.revision
        note(departures, replaced: nil, at: now)
    }

    private mutating func note(_ departures: DeletedKeys, replaced: Int64?, at now: ContinuousClock.Instant) {
        for loss in departures.losses(after: self, replaced: replaced, at: now) { losses[loss.key] = loss }
        guard !losses.isEmpty else { return }
        let oldest = now - Self.memory
        losses = losses.filter { _, loss in
            !holds(loss) && !tellsWithdrawal(of: loss.name) && loss.seen >= oldest
        }
    }
}

extension RegistryState: Equatable {
    /// Whether both show the same.
    static func == (left: RegistryState, right: RegistryState) -> Bool {
        left.keyspace == right.keyspace && left.revision == right.revision
            && left.claimsRevision == right.claimsRevision
            && left.clusterID == right.clusterID && left.losses == right.losses && left.hasRecords(of: right)
    }

    /// Whether both have the same records.
    func hasRecords(of other: RegistryState) -> Bool {
        routes == other.routes && groups.count == other.groups.count
            && groups.allSatisfy { service, group in
                other.groups[service].map { $0 === group || $0.records == group.records } ?? false
            }
    }
}

extension RegistryState {
    /// The records by the bytes of their keys: all of them, put together anew.
    var records: [[UInt8]: RegistryRecord] {
        var records: [[UInt8]: RegistryRecord] = [:]
        for group in groups.values { records.merge(group.records) { first, _ in first } }
        for part in routes.parts { for record in part.values.values { records[record.keyValue.key] = record } }
        return records
    }

    /// The record of a key; nil where there is none.
    subscript(_ key: Keyspace.Key) -> RegistryRecord? {
        if case .route(let name) = key { return routes[name.text] }
        return groups[key.service]?.records[Array(keyspace.text(of: key).utf8)]
    }

    /// Whether a lost entry is there again, whatever its value.
    func holds(_ loss: LostEntry) -> Bool { groups[loss.name.service]?.records[loss.key] != nil }
}

extension RegistryState {
    /// Whether a meta stands there that tells why an entry was withdrawn.
    func tellsWithdrawal(of name: EntryID) -> Bool {
        guard case .meta(_, _, let meta)? = self[.meta(name.service, name.id)]?.content else { return false }
        return meta.isWithdrawn
    }

    /// The state with these records besides, as far as none of the same key is there.
    func holding(_ held: [RegistryRecord]) -> RegistryState {
        guard !held.isEmpty else { return self }
        var state = self
        for (service, held) in Dictionary(grouping: held, by: \.service) {
            let own = groups[service]?.records ?? [:]
            let others = held.map { ($0.keyValue.key, $0) }
            state.groups[service] = ServiceRecords(
                own.merging(others) { own, _ in own }, of: service)
        }
        return state
    }
}

extension RegistryState {
    private var claimCount: Int { groups.values.count { $0.claim != nil } }
    private var keyCount: Int { groups.values.reduce(routes.count) { $0 + $1.records.count } - claimCount }

    /// How many entries there are.
    var entryCount: Int { groups.values.reduce(0) { $0 + ($1.service?.instances.count ?? 0) } }

    /// How many keys etcd should count where routes and endpoints are.
    var expectedCount: Int { keyCount + strangers.main }

    /// How many keys etcd should count where claims of ports are.
    var expectedClaimCount: Int { claimCount + strangers.claims }

    /// The revision of a key's newest change; nil where there is no such key.
    func modRevision(of key: [UInt8]) -> Int64? {
        let parsed = try? keyspace.parse(key)
        if case .route(let name) = parsed { return routes[name.text]?.keyValue.modRevision }
        return groups[parsed?.service]?.records[key]?.keyValue.modRevision
    }
}

extension RegistryState {
    /// How many entries each of these services has.
    func entryCounts(of services: Set<ServiceName>) -> [ServiceName: Int] {
        services.reduce(into: [:]) { counts, name in
            if let service = groups[name]?.service { counts[name] = service.instances.count }
        }
    }

    /// The entries that lead to these addresses, each with its key.
    func holders(of endpoints: Set<Endpoint>) -> [Endpoint: [(key: [UInt8], name: EntryID)]] {
        guard !endpoints.isEmpty else { return [:] }
        return groups.values.compactMap(\.service).reduce(into: [:]) { holders, service in
            for instance in service.instances where endpoints.contains(instance.endpoint) {
                let name = EntryID(service: service.name, id: instance.id)
                holders[instance.endpoint, default: []].append((instance.entry.keyValue.key, name))
            }
        }
    }
}

/// A listing of the registry, taken apart page by page; keys that did not change are not parsed again.
struct ListingDiff {
    private let keyspace: Keyspace
    private let revision: Int64
    private let isFirst: Bool
    /// The records that were there before and were not listed so far.
    private(set) var missing: [[UInt8]: RegistryRecord]
    /// The records of each service; under nil those of which the service is not known.
    private(set) var groups: [ServiceName?: [[UInt8]: RegistryRecord]] = [:]
    /// The records of routes by name.
    private(set) var routes: [String: RegistryRecord] = [:]
    /// The records that are not as they were, each with the one that was there before; none where nothing was there.
    private(set) var news: [(record: RegistryRecord, old: RegistryRecord?)] = []
    /// Whether one of them cannot have been new in the store that was known.
    private(set) var hasStrangers = false
    /// The newest revision at which somebody asked for a confirmation; 0 where nobody did.
    private(set) var revisionToConfirm: Int64 = 0
    /// What their metas have said.
    private(set) var pool = MetaPool()

    /// Begins one that is compared with an earlier state.
    init(after state: RegistryState) {
        (keyspace, revision, missing) = (state.keyspace, state.revision, state.records)
        isFirst = missing.isEmpty
    }

    /// Takes a page.
    mutating func take(_ keyValues: [Etcd.KeyValue]) {
        for keyValue in keyValues where keyspace.hasPart(for: keyValue.key) {
            let old = missing.removeValue(forKey: keyValue.key)
            if let old, old.keyValue == keyValue {
                keep(old)
            } else {
                let record = RegistryRecord(keyValue, in: keyspace, sharing: &pool)
                keep(record)
                if !isFirst { news.append((record, old)) }
                hasStrangers = hasStrangers || keyValue.modRevision <= revision && record.hasMeaning
            }
        }
    }

    /// Takes the claims of ports for as they were: nobody knows newer ones.
    mutating func keepClaims() {
        for (key, record) in missing where record.isClaim(in: keyspace) {
            missing[key] = nil
            keep(record)
        }
    }

    /// Takes the routes for as they were: this user may not read them.
    mutating func keepRoutes() {
        for (key, record) in missing where record.routeName != nil {
            missing[key] = nil
            keep(record)
        }
    }

    private mutating func keep(_ record: RegistryRecord) {
        if let name = record.routeName {
            routes[name.text] = record
        } else {
            groups[record.service, default: [:]][record.keyValue.key] = record
        }
        revisionToConfirm = max(revisionToConfirm, record.revisionToConfirm)
    }
}

extension RegistryRecord {
    /// Whether it lies where claims of ports do.
    func isClaim(in keyspace: Keyspace) -> Bool { keyValue.key.starts(with: keyspace.claims.utf8) }
}

extension Keyspace {
    /// Whether a key is of the contract: the range of keys that has the routes and the endpoints has others as well.
    func hasPart(for key: [UInt8]) -> Bool {
        [prefix, routes, claims].contains { key.starts(with: $0.utf8) }
    }
}

extension Etcd.Event {
    /// The key that changed.
    fileprivate var key: [UInt8] {
        switch self {
        case .put(let keyValue): keyValue.key
        case .delete(let key, _): key
        }
    }
}
