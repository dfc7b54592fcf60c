import Shared

/// A listing of the registry, taken apart page by page; keys that did not change are not parsed again.
struct RegistryReading {
    private let keyspace: Keyspace
    private let revision: Int64
    private let isFirst: Bool
    /// The records that were there before and were not listed so far.
    private(set) var missing: [[UInt8]: RegistryRecord]
    /// The records of each service; under nil those of which the service is not known.
    private(set) var groups: [ServiceName?: [[UInt8]: RegistryRecord]] = [:]
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
        for keyValue in keyValues {
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

    private mutating func keep(_ record: RegistryRecord) {
        groups[record.service, default: [:]][record.keyValue.key] = record
        revisionToConfirm = max(revisionToConfirm, record.revisionToConfirm)
    }
}

extension RegistryRecord {
    /// Whether it lies where claims of ports do.
    func isClaim(in keyspace: Keyspace) -> Bool { keyValue.key.starts(with: keyspace.claims.utf8) }
}
