import FoundationEssentials
import Shared

/// The registry as it was last seen, and what is held besides, kept on disk: it is served at the next start until etcd
/// answers.
struct CatalogFile: Sendable {
    /// What is kept.
    struct Copy: Equatable, Sendable {
        /// The registry.
        var registry: RegistryState
        /// The lost endpoints that are held.
        var holds: [HoldLedger.Kept] = []
        /// The shortest interval between two checks; nil where it is not known.
        var checkFloor: Duration?

        /// Whether it can be taken for the same without looking at each key.
        func isAsOld(as other: Copy?) -> Bool {
            registry.revision == other?.registry.revision && holds == other?.holds && checkFloor == other?.checkFloor
        }

        /// Whether the file of one would be that of the other.
        static func == (left: Copy, right: Copy) -> Bool {
            left.registry.hasRecords(of: right.registry) && left.holds == right.holds
                && left.checkFloor == right.checkFloor
        }
    }

    /// Where it is.
    let file: AtomicFile

    /// The registry that it is a copy of.
    let keyspace: Keyspace

    /// Why a file is not used.
    enum Failure: Error, Equatable {
        /// The system refused.
        case system(FileError)
        /// It is not what this program writes.
        case malformed(path: String, reason: String)
        /// It is a copy of a registry below another prefix.
        case otherPrefix(path: String, prefix: String)
    }

    /// Reads the copy; nil where there is none.
    func load() throws(Failure) -> Copy? {
        let bytes: [UInt8]?
        do {
            bytes = try WholeFile(file.path).bytes
        } catch {
            throw .system(error)
        }
        guard let bytes else { return nil }
        guard let stored = try? JSONDecoder().decode(Stored.self, from: Data(bytes)) else {
            throw .malformed(path: file.path, reason: "not the JSON of a catalogue (\(bytes.count) bytes)")
        }
        guard stored.prefix == keyspace.prefix else {
            throw .otherPrefix(path: file.path, prefix: stored.prefix)
        }
        return Copy(
            registry: RegistryState(keyspace: keyspace, listing: stored.listing),
            holds: (stored.held ?? []).compactMap { $0.kept(in: keyspace) },
            checkFloor: stored.checkFloor.flatMap { (0...3600).contains($0) ? .seconds($0) : nil })
    }

    /// Replaces the copy.
    func save(_ copy: Copy) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try file.replace(with: [UInt8](try encoder.encode(Stored(copy))))
    }
}

/// The file's JSON.
///
/// Keys that mean nothing are left out: they may be large, and need not be text.
private struct Stored: Codable {
    let prefix: String
    let revision: Int64
    let cluster: String
    let keys: [Key]
    /// Not there where nothing is held.
    let held: [Held]?
    /// In seconds.
    let checkFloor: Double?

    struct Key: Codable {
        let key: String
        let value: String
        let create: Int64
        let modified: Int64
        let lease: Int64
    }

    /// An endpoint that is held: its entry and what went with it, and times in seconds since the beginning of 1970.
    struct Held: Codable {
        let keys: [Key]
        let cause: String
        let since: Double
        let until: Double
    }

    init(_ copy: CatalogFile.Copy) {
        let state = copy.registry
        prefix = state.keyspace.prefix
        revision = state.revision
        cluster = state.clusterID
        keys = state.records.values
            .filter { $0.content != .nothing }
            .map { Key($0.keyValue) }
            .sorted { $0.key < $1.key }
        let holds = copy.holds.sorted { $0.loss.name < $1.loss.name }
        checkFloor = copy.checkFloor.map { $0 / .seconds(1) }
        held = holds.isEmpty ? nil : holds.map(Held.init)
    }

    var listing: Etcd.Listing {
        Etcd.Listing(revision: revision, clusterID: cluster, keyValues: keys.map(\.keyValue))
    }
}

extension Stored.Key {
    fileprivate init(_ keyValue: Etcd.KeyValue) {
        key = String(decoding: keyValue.key, as: UTF8.self)
        value = String(decoding: keyValue.value, as: UTF8.self)
        create = keyValue.createRevision
        modified = keyValue.modRevision
        lease = keyValue.lease
    }

    fileprivate var keyValue: Etcd.KeyValue {
        Etcd.KeyValue(
            key: Array(key.utf8), value: Array(value.utf8), createRevision: create, modRevision: modified, lease: lease)
    }
}

extension Stored.Held {
    fileprivate init(_ kept: HoldLedger.Kept) {
        keys = kept.loss.records.map { Stored.Key($0.keyValue) }
        cause = kept.loss.cause.rawValue
        since = kept.since / .seconds(1)
        until = kept.until / .seconds(1)
    }

    /// The hold; nil where the first key is no entry.
    fileprivate func kept(in keyspace: Keyspace) -> HoldLedger.Kept? {
        var pool = MetaPool()
        let records = keys.map { RegistryRecord($0.keyValue, in: keyspace, sharing: &pool) }
        let cause = RegistryLoss.Cause(rawValue: cause) ?? .lease
        guard let loss = RegistryLoss(records, cause: cause, seen: .now), (0...1e11).contains(since),
            (0...1e11).contains(until)
        else { return nil }
        return HoldLedger.Kept(loss: loss, since: .seconds(since), until: .seconds(until))
    }
}

extension CatalogFile.Failure: CustomStringConvertible {
    /// One sentence for the log.
    var description: String {
        switch self {
        case .system(let error): error.description
        case .malformed(let path, let reason): "\(path) is \(reason)"
        case .otherPrefix(let path, let prefix): "\(path) is of the registry below \(prefix)"
        }
    }
}
