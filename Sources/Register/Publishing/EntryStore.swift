import Shared

/// The registry in etcd, as an agent that owns some of its entries reads and changes it.
struct EntryStore: Sendable {
    /// The client.
    let etcd: Etcd.Client
    /// Where the keys are.
    let keyspace: Keyspace
    /// The limit of each exchange.
    let deadline: Duration

    /// An entry that was withdrawn: its meta says so until it is deleted.
    struct Tombstone: Equatable, Sendable {
        /// Which entry.
        var id: EntryID
        /// The revision of that meta; a newer one is not ours to delete.
        var revision: Int64
        /// The name of its container; nil where nobody knows.
        var container: String?
    }

    /// A change of an entry and its meta.
    private static let operationsPerChange = 2

    /// How many changes one transaction holds.
    static let changesAtOnce = Etcd.Transaction.mostOperations / operationsPerChange

    /// The entries that an agent with this owner text has put, under whatever lease.
    func entries(ownedBy owner: String, lease: Int64) async throws -> [EntryID: RegisteredEntry] {
        let listing = try await etcd.range(prefix: keyspace.prefix, deadline: deadline)
        var values: [EntryID: Etcd.KeyValue] = [:]
        var owned: [EntryID: Etcd.KeyValue] = [:]
        for keyValue in listing.keyValues {
            switch try? keyspace.parse(keyValue.key) {
            case .entry(let service, let id): values[EntryID(service: service, id: id)] = keyValue
            case .meta(let service, let id):
                if Meta(json: keyValue.value)?.owner == owner { owned[EntryID(service: service, id: id)] = keyValue }
            default: break
            }
        }
        return Dictionary(
            uniqueKeysWithValues: owned.map { ($0, RegisteredEntry(value: values[$0], meta: $1, lease: lease)) })
    }

    /// What is there now of some entries.
    func read(_ ids: [EntryID], lease: Int64) async throws -> [EntryID: RegisteredEntry] {
        var found: [EntryID: RegisteredEntry] = [:]
        for start in stride(from: 0, to: ids.count, by: Self.changesAtOnce) {
            let chunk = ids[start..<min(start + Self.changesAtOnce, ids.count)]
            let operations = chunk.flatMap { id in
                [Etcd.Transaction.Operation.read(key: key(id)), .read(key: metaKey(id))]
            }
            let reads = try await etcd.commit(Etcd.Transaction(operations), deadline: deadline).reads
            guard reads.count == operations.count else {
                throw Etcd.Error.malformed(
                    server: "etcd", reason: "\(reads.count) of \(operations.count) reads answered")
            }
            for (index, id) in chunk.enumerated() {
                found[id] = RegisteredEntry(value: reads[2 * index], meta: reads[2 * index + 1], lease: lease)
            }
        }
        return found
    }

    /// Carries out up to ``changesAtOnce`` changes, all or none.
    ///
    /// - Returns: the store's revision afterwards.
    ///
    /// - Parameter confirm: the containers whose withdrawals all consumers are asked to confirm.
    func commit(
        _ changes: some Sequence<EntryChange>, lease: Int64, at time: String, confirm: Set<InstanceID> = []
    ) async throws -> Int64 {
        func tombstone(_ reason: String, _ id: EntryID, _ container: String?) throws -> [UInt8] {
            var meta = Meta()
            meta.container = container
            meta.withdrawn = reason
            meta.at = time
            meta.confirm = confirm.contains(id.id) ? true : nil
            return try meta.json()
        }
        let operations = try changes.flatMap { change -> [Etcd.Transaction.Operation] in
            switch change {
            case .put(let entry):
                [
                    .put(key: key(entry.id), value: entry.value, lease: lease),
                    .put(key: metaKey(entry.id), value: entry.meta, lease: lease),
                ]
            case .withdraw(let id, let reason, let container):
                [
                    .delete(key: key(id)),
                    .put(key: metaKey(id), value: try tombstone(reason, id, container), lease: lease),
                ]
            }
        }
        return try await etcd.commit(Etcd.Transaction(operations), deadline: deadline).revision
    }

    /// Deletes entries, and says nothing of why: that needs no room in etcd.
    ///
    /// Their metas stay as they are, which shows that the entries were not lost with their lease.
    ///
    /// - Returns: the store's revision afterwards.
    func delete(_ ids: [EntryID]) async throws -> Int64 {
        var revision: Int64 = 0
        for id in ids { revision = try await etcd.delete(key(id), deadline: deadline) }
        return revision
    }

    /// Deletes the metas of withdrawn entries, unless they have changed since.
    func delete(_ tombstone: Tombstone) async throws {
        let key = metaKey(tombstone.id)
        _ = try await etcd.commit(
            Etcd.Transaction(if: [.unchanged(key: key, modRevision: tombstone.revision)], [.delete(key: key)]),
            deadline: deadline)
    }

    /// What docker-discovers say of themselves, by instance.
    func consumers() async throws -> [String: ConsumerRecord] {
        let folder = keyspace.consumers
        let listing = try await etcd.range(prefix: folder, deadline: deadline)
        let found = listing.keyValues.compactMap { keyValue in
            ConsumerRecord(json: keyValue.value).map {
                (String(decoding: keyValue.key.dropFirst(folder.utf8.count), as: UTF8.self), $0)
            }
        }
        return Dictionary(found) { first, _ in first }
    }

    /// The key of an entry.
    func key(_ id: EntryID) -> String { keyspace.text(of: .entry(id.service, id.id)) }

    /// The key of an entry's meta.
    func metaKey(_ id: EntryID) -> String { keyspace.text(of: .meta(id.service, id.id)) }
}

extension RegisteredEntry {
    /// What etcd holds of an entry.
    init(value: Etcd.KeyValue?, meta: Etcd.KeyValue?, lease: Int64) {
        self.init(
            value: value?.value, meta: meta?.value, isLeased: value?.lease == lease && meta?.lease == lease,
            source: EntrySource(of: meta.flatMap { Meta(json: $0.value) } ?? Meta()),
            put: value.map { Put(revision: $0.modRevision) })
    }
}
