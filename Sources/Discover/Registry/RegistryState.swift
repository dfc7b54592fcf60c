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
    mutating func replace(with listing: Etcd.Listing, claims: Etcd.Listing? = nil) {
        let prefix = Array(keyspace.claims.utf8)
        var next = claims == nil ? records.filter { $0.key.starts(with: prefix) } : [:]
        for keyValue in listing.keyValues + (claims?.keyValues ?? []) {
            let known = records[keyValue.key]
            next[keyValue.key] =
                known?.keyValue == keyValue ? known : RegistryRecord(keyValue, in: keyspace)
        }
        records = next
        revisionToConfirm = next.values.reduce(0) { max($0, $1.revisionToConfirm) }
        revision = listing.revision
        clusterID = listing.clusterID
        claimsRevision = claims?.revision
    }

    /// Applies what the watch of claims delivered, which says nothing of the revision of the others.
    mutating func applyToClaims(_ changes: Etcd.Changes) {
        let reached = revision
        apply(changes)
        revision = reached
        claimsRevision = changes.revision
    }

    /// Applies what a watch delivered.
    mutating func apply(_ changes: Etcd.Changes) {
        for event in changes.events {
            switch event {
            case .put(let keyValue):
                let record = RegistryRecord(keyValue, in: keyspace)
                revisionToConfirm = max(revisionToConfirm, record.revisionToConfirm)
                records[keyValue.key] = record
            case .delete(let key, _): records[key] = nil
            }
        }
        revision = changes.revision
    }
}
