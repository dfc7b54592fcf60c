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
        var slot: EntryID
        /// The revision of that meta; a newer one is not ours to delete.
        var revision: Int64
        /// The name of its container; nil where nobody knows.
        var container: String?
    }

    /// An entry and its meta.
    private static let operationsPerAction = 2

    /// How many actions one transaction holds.
    static let actionsAtOnce = Etcd.Transaction.mostOperations / operationsPerAction

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
    func read(_ slots: [EntryID], lease: Int64) async throws -> [EntryID: RegisteredEntry] {
        var found: [EntryID: RegisteredEntry] = [:]
        for start in stride(from: 0, to: slots.count, by: Self.actionsAtOnce) {
            let chunk = slots[start..<min(start + Self.actionsAtOnce, slots.count)]
            let operations = chunk.flatMap { slot in
                [Etcd.Transaction.Operation.read(key: key(slot)), .read(key: metaKey(slot))]
            }
            let reads = try await etcd.commit(Etcd.Transaction(operations), deadline: deadline).reads
            guard reads.count == operations.count else {
                throw Etcd.Error.malformed(
                    server: "etcd", reason: "\(reads.count) of \(operations.count) reads answered")
            }
            for (index, slot) in chunk.enumerated() {
                found[slot] = RegisteredEntry(value: reads[2 * index], meta: reads[2 * index + 1], lease: lease)
            }
        }
        return found
    }

    /// Carries out up to ``actionsAtOnce`` actions, all or none.
    ///
    /// - Returns: the store's revision afterwards.
    ///
    /// - Parameter confirm: the containers whose withdrawals all consumers are asked to confirm.
    func apply(
        _ actions: some Sequence<EntryChange>, lease: Int64, at time: String, confirm: Set<InstanceID> = []
    ) async throws -> Int64 {
        func tombstone(_ reason: String, _ slot: EntryID, _ container: String?) throws -> [UInt8] {
            var meta = Meta()
            meta.container = container
            meta.withdrawn = reason
            meta.at = time
            meta.confirm = confirm.contains(slot.id) ? true : nil
            return try meta.json()
        }
        let operations = try actions.flatMap { action -> [Etcd.Transaction.Operation] in
            switch action {
            case .put(let registration):
                [
                    .put(key: key(registration.slot), value: registration.value, lease: lease),
                    .put(key: metaKey(registration.slot), value: registration.meta, lease: lease),
                ]
            case .withdraw(let slot, let reason, let container):
                [
                    .delete(key: key(slot)),
                    .put(key: metaKey(slot), value: try tombstone(reason, slot, container), lease: lease),
                ]
            }
        }
        return try await etcd.commit(Etcd.Transaction(operations), deadline: deadline).revision
    }

    /// Deletes the metas of withdrawn entries, unless they have changed since.
    func bury(_ tombstone: Tombstone) async throws {
        let key = metaKey(tombstone.slot)
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
    func key(_ slot: EntryID) -> String { keyspace.text(of: .entry(slot.service, slot.id)) }

    /// The key of an entry's meta.
    func metaKey(_ slot: EntryID) -> String { keyspace.text(of: .meta(slot.service, slot.id)) }
}

extension RegisteredEntry {
    /// Takes what etcd holds.
    init(value: Etcd.KeyValue?, meta: Etcd.KeyValue?, lease: Int64) {
        self.init(
            value: value?.value, meta: meta?.value, isLeased: value?.lease == lease && meta?.lease == lease,
            put: value.map { Put(revision: $0.modRevision) })
    }
}
