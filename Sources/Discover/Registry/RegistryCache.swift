import FoundationEssentials
import Shared
import Synchronization

/// The registry as it was last seen, and what is held besides, kept on disk: it is served at the next start until etcd
/// answers.
struct RegistryCache: Sendable {
    /// What is kept.
    struct Copy: Equatable, Sendable {
        /// The registry.
        var registry: RegistryState
        /// The lost endpoints that are held.
        var holds: [PersistedHold] = []
        /// The shortest interval between two checks; nil where it is not known.
        var checkFloor: Duration?
        /// The ports that endpoints on this host have, or had a short while ago.
        var published: [PersistedPort] = []
        /// What routes that wait for their new target said before, by name.
        var waitingRoutes: [String: RegistryRecord] = [:]
        /// The lost routes that are kept; nil for none.
        var heldRoutes: PersistedRoutes?

        /// Whether it can be taken for the same without looking at each key.
        func isAsOld(as other: Copy?) -> Bool {
            registry.revision == other?.registry.revision && holds == other?.holds && checkFloor == other?.checkFloor
                && published == other?.published && waitingRoutes == other?.waitingRoutes
                && heldRoutes == other?.heldRoutes
        }

        /// Whether the file of one would be that of the other.
        static func == (left: Copy, right: Copy) -> Bool {
            left.registry.hasRecords(of: right.registry) && left.holds == right.holds
                && left.checkFloor == right.checkFloor && left.published == right.published
                && left.waitingRoutes == right.waitingRoutes && left.heldRoutes == right.heldRoutes
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
            bytes = try FileContents(file.path).bytes
        } catch {
            throw .system(error)
        }
        guard let bytes else { return nil }
        guard let stored = Stored(bytes) else {
            throw .malformed(path: file.path, reason: "not a whole copy of a catalog (\(bytes.count) bytes)")
        }
        guard stored.head.prefix == keyspace.prefix else {
            throw .otherPrefix(path: file.path, prefix: stored.head.prefix)
        }
        return Copy(
            registry: RegistryState(keyspace: keyspace, listing: stored.listing),
            holds: (stored.head.held ?? []).compactMap { $0.kept(in: keyspace) },
            checkFloor: stored.head.checkFloor.flatMap { (0...3600).contains($0) ? .seconds($0) : nil },
            published: (stored.head.published ?? []).compactMap(\.port),
            waitingRoutes: stored.head.waitingRoutes?.records(in: keyspace) ?? [:],
            heldRoutes: stored.head.heldRoutes.flatMap { routes in
                routes.since.map { PersistedRoutes(records: routes.records(in: keyspace), since: .seconds($0)) }
            })
    }

    /// Replaces the copy.
    func save(_ copy: Copy) throws {
        let encoder = JSONEncoder.oneLine
        func line(_ value: some Encodable) throws -> [UInt8] { try [UInt8](encoder.encode(value)) + Stored.newline }
        let groups = copy.registry.groups.sorted { ($0.key?.text ?? "") < ($1.key?.text ?? "") }
        // Piece by piece, as the whole may be large.
        try file.replace { write in
            try write(try line(Stored.Head(copy)))
            let routes = copy.registry.meaningfulRoutes.map { Stored.Key($0.keyValue) }.sorted { $0.key < $1.key }
            try write(try routes.flatMap(line))
            for (_, group) in groups {
                let keys = group.meaningful.map { Stored.Key($0.keyValue) }.sorted { $0.key < $1.key }
                try write(try keys.flatMap(line))
            }
        }
    }
}

extension ServiceRecords {
    /// Those that are kept on disk: keys that mean nothing may be large, and need not be text.
    fileprivate var meaningful: [RegistryRecord] { records.values.filter(\.hasMeaning) }
}

extension RegistryState {
    /// The routes that are kept on disk.
    fileprivate var meaningfulRoutes: [RegistryRecord] { routes.parts.flatMap(\.values.values).filter(\.hasMeaning) }
}

/// The file: a line of JSON with what is to be said of the whole, and one for each key.
private struct Stored {
    struct Head: Codable {
        let prefix: String
        let revision: Int64
        let cluster: String
        /// How many keys follow.
        let keys: Int
        /// Not there where nothing is held.
        let held: [Held]?
        /// In seconds.
        let checkFloor: Double?
        /// Not there where this host has none.
        let published: [Published]?
        /// Not there where no route waits.
        let waitingRoutes: Routes?
        /// Not there where no lost route is kept.
        let heldRoutes: Routes?
    }

    /// Routes that are not in the registry, or say something else there.
    struct Routes: Codable {
        let keys: [Key]
        /// In seconds since the beginning of 1970.
        let since: Double?
    }

    /// A port of this host.
    struct Published: Codable {
        let endpoint: String
        let service: String
        let id: String
        let everywhere: Bool
    }

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

    static let newline = [UInt8(ascii: "\n")]

    let head: Head
    let keys: [Key]

    /// Reads a file; nil where it is not whole.
    init?(_ bytes: [UInt8]) {
        let decoder = JSONDecoder()
        let lines = bytes.split(separator: Self.newline[0])
        guard bytes.last == Self.newline[0], let first = lines.first,
            let head = try? decoder.decode(Head.self, from: Data(first)), head.keys == lines.count - 1,
            let keys = try? lines.dropFirst().map({ try decoder.decode(Key.self, from: Data($0)) })
        else { return nil }
        (self.head, self.keys) = (head, keys)
    }

    var listing: Etcd.RangeResult {
        Etcd.RangeResult(revision: head.revision, clusterID: head.cluster, keyValues: keys.map(\.keyValue))
    }
}

extension Stored.Head {
    fileprivate init(_ copy: RegistryCache.Copy) {
        let state = copy.registry
        prefix = state.keyspace.prefix
        revision = state.revision
        cluster = state.clusterID
        keys = state.groups.values.reduce(state.meaningfulRoutes.count) { $0 + $1.meaningful.count }
        let holds = copy.holds.sorted { $0.loss.name < $1.loss.name }
        checkFloor = copy.checkFloor.map { $0 / .seconds(1) }
        held = holds.isEmpty ? nil : holds.map(Stored.Held.init)
        published = copy.published.isEmpty ? nil : copy.published.map(Stored.Published.init)
        waitingRoutes = copy.waitingRoutes.isEmpty ? nil : Stored.Routes(copy.waitingRoutes)
        heldRoutes = copy.heldRoutes.map { Stored.Routes($0.records, since: $0.since / .seconds(1)) }
    }
}

extension Stored.Routes {
    fileprivate init(_ records: [String: RegistryRecord], since: Double? = nil) {
        keys = records.sorted { $0.key < $1.key }.map { Stored.Key($0.value.keyValue) }
        self.since = since
    }

    /// The records by the routes' names; what is no route is left out.
    fileprivate func records(in keyspace: Keyspace) -> [String: RegistryRecord] {
        var pool = MetaPool()
        return keys.reduce(into: [:]) { records, key in
            let record = RegistryRecord(key.keyValue, in: keyspace, sharing: &pool)
            if case .route(let name, _) = record.content { records[name.text] = record }
        }
    }
}

/// Lost routes that are kept.
struct PersistedRoutes: Equatable, Sendable {
    /// What they said, by name.
    var records: [String: RegistryRecord]
    /// Since when they are lost, as time since the beginning of 1970.
    var since: Duration
}

extension Stored.Published {
    fileprivate init(_ port: PersistedPort) {
        (endpoint, everywhere) = (port.endpoint.description, port.isEverywhere)
        (service, id) = (port.name.service.text, port.name.id.text)
    }

    /// The port; nil for what this program does not write.
    fileprivate var port: PersistedPort? {
        guard let endpoint = Endpoint(endpoint), let service = ServiceName(service), let id = InstanceID(id) else {
            return nil
        }
        return PersistedPort(
            endpoint: endpoint, name: EntryID(service: service, id: id), isEverywhere: everywhere)
    }
}

/// A port that an endpoint on this host has, or had a short while ago.
struct PersistedPort: Equatable, Sendable {
    /// Where it is reached.
    let endpoint: Endpoint
    /// Its entry.
    let name: EntryID
    /// Whether the port is published on all of the host's addresses.
    let isEverywhere: Bool
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
    fileprivate init(_ kept: PersistedHold) {
        keys = kept.loss.records.map { Stored.Key($0.keyValue) }
        cause = kept.loss.cause.rawValue
        since = kept.since / .seconds(1)
        until = kept.until / .seconds(1)
    }

    /// The hold; nil where the first key is no entry.
    fileprivate func kept(in keyspace: Keyspace) -> PersistedHold? {
        var pool = MetaPool()
        let records = keys.map { RegistryRecord($0.keyValue, in: keyspace, sharing: &pool) }
        let cause = LostEntry.Cause(rawValue: cause) ?? .lease
        guard let loss = LostEntry(records, cause: cause, seen: .now), (0...1e11).contains(since),
            (0...1e11).contains(until)
        else { return nil }
        return PersistedHold(loss: loss, since: .seconds(since), until: .seconds(until))
    }
}

extension RegistryCache.Failure: CustomStringConvertible {
    /// One sentence for the log.
    var description: String {
        switch self {
        case .system(let error): error.description
        case .malformed(let path, let reason): "\(path) is \(reason)"
        case .otherPrefix(let path, let prefix): "\(path) is of the registry below \(prefix)"
        }
    }
}

/// Keeps the copy of the catalog on disk, beside the loop: with many keys that takes long.
final class RegistryCacheWriter: Sendable {
    private struct State {
        var saved: RegistryCache.Copy?
        /// How long the last one took.
        var took: Duration = .zero
        var task: Task<Void, Never>?
        var isBehind = false
    }

    private let file: RegistryCache
    private let logger: Logger
    private let state = Mutex(State())

    /// Makes one that has written nothing.
    init(_ file: RegistryCache, logger: Logger) {
        self.file = file
        self.logger = logger
    }

    /// The copy that is on the disk; nil where none is, as far as is known.
    var saved: RegistryCache.Copy? { state.withLock { $0.saved } }

    /// How long to wait between two copies, so that they take a twentieth of a processor's time at most.
    var pause: Duration { state.withLock { $0.took } * 20 }

    /// Reads the copy of an earlier run; one that cannot be used is told and left aside.
    func load() {
        do {
            let copy = try file.load()
            state.withLock { $0.saved = copy }
        } catch {
            logger.warning("ignoring the saved registry cache", ["error": "\(error)"])
        }
    }

    /// Begins to write a copy.
    ///
    /// - Returns: false where an earlier one is still being written: then nothing is begun.
    func begin(_ copy: RegistryCache.Copy) -> Bool {
        state.withLock { state in
            guard state.task == nil else { return false }
            state.task = Task.detached {
                self.write(copy)
                // After many changes, and not while the loop waits.
                MallocTuning.trim()
            }
            return true
        }
    }

    /// Writes a copy, after the one that is being written, and waits for its end.
    func finish(_ copy: RegistryCache.Copy) async {
        while let task = state.withLock({ $0.task }) { await task.value }
        write(copy)
    }

    private func write(_ copy: RegistryCache.Copy) {
        let begin = ContinuousClock.now
        var failure: (any Error)?
        if copy != saved {
            do { try file.save(copy) } catch { failure = error }
        }
        let wasBehind = state.withLock { state in
            defer { state.isBehind = failure != nil }
            if failure == nil { state.saved = copy }
            (state.took, state.task) = (begin.duration(to: .now), nil)
            return state.isBehind
        }
        if let failure, !wasBehind {
            logger.warning("cannot save the registry cache", ["error": "\(failure)"])
        }
    }
}
