import Shared

/// A listing of the registry, taken apart page by page; keys that did not change are not parsed again.
struct RegistryReading {
    private let keyspace: Keyspace
    /// The records that were there before and were not listed so far.
    private(set) var missing: [[UInt8]: RegistryRecord]
    /// The records that are as they were.
    private(set) var kept: [RegistryRecord] = []
    /// The others, each with the one that was there before.
    private(set) var news: [(record: RegistryRecord, old: RegistryRecord?)] = []
    /// What their metas have said.
    private(set) var pool = MetaPool()

    /// Begins one that is compared with an earlier state.
    init(after state: RegistryState) {
        keyspace = state.keyspace
        missing = state.records
    }

    /// Takes a page.
    mutating func take(_ keyValues: [Etcd.KeyValue]) {
        for keyValue in keyValues {
            let old = missing.removeValue(forKey: keyValue.key)
            if let old, old.keyValue == keyValue {
                kept.append(old)
            } else {
                news.append((RegistryRecord(keyValue, in: keyspace, sharing: &pool), old))
            }
        }
    }

    /// Takes the claims of ports for as they were: nobody knows newer ones.
    mutating func keepClaims() {
        for (key, record) in missing where record.isClaim(in: keyspace) {
            missing[key] = nil
            kept.append(record)
        }
    }
}

extension RegistryRecord {
    /// Whether it lies where claims of ports do.
    func isClaim(in keyspace: Keyspace) -> Bool { keyValue.key.starts(with: keyspace.claims.utf8) }
}
