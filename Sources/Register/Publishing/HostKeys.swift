import Shared

/// Keeps single keys in etcd under the agent's lease: what a host says of itself, beside the registry.
///
/// A key is the agent's while it goes with the agent's lease. It is put where it is missing, has another value or goes
/// with another lease, so an agent that was restarted takes its keys over. It is deleted when it is no longer wanted,
/// unless somebody has taken it in the meantime. What another agent's lease holds goes with that lease.
struct HostKeys {
    private let registry: EntryStore
    private let logger: Logger

    private var desired: [String: [UInt8]] = [:]
    /// What etcd has confirmed under ``lease``.
    private var published: [String: [UInt8]] = [:]
    /// What may be there besides, because no answer came.
    private var suspected: Set<String> = []
    private var lease: Int64?
    /// Whether what is there has to be read, and brought to what is desired.
    private var isUnknown = false
    private var isContested = false
    private var refusal = Outage<String>()

    /// Begins without keys.
    init(_ registry: EntryStore, logger: Logger) {
        self.registry = registry
        self.logger = logger
    }

    /// Brings the keys to what is desired, under the lease that the agent holds now.
    ///
    /// What etcd refuses for good (rights that are missing) is logged once, and tried again with the next rereading.
    ///
    /// - Parameter rereading: whether somebody else may have changed the keys.
    /// - Throws: what etcd or the connection to it failed with otherwise. What was done until then is done.
    mutating func apply(_ desired: [String: [UInt8]], under lease: Int64, rereading: Bool) async throws {
        if lease != self.lease {
            self.lease = lease
            published = [:]
            suspected = []
            isUnknown = true
        }
        if rereading || desired != self.desired { isUnknown = true }
        self.desired = desired
        guard isUnknown else { return }
        do {
            try await change(under: lease)
            if refusal.succeeded() { logger.info("etcd accepts the host keys again") }
        } catch  where Etcd.needsOperator(error) {
            let text = "\(error)"
            if refusal.failed(text, isCertain: true) { logger.error("etcd rejected the host keys", ["error": text]) }
        }
        isUnknown = false
    }

    private mutating func change(under lease: Int64) async throws {
        let keys = suspected.union(desired.keys).union(published.keys).sorted()
        let found = try await Self.read(keys, registry)
        let lost = keys.filter { key in
            guard let before = published[key], desired[key] == before else { return false }
            return found[key]?.value != before || found[key]?.lease != lease
        }
        warn(of: lost)
        // First, as it needs no room in etcd.
        try await delete(keys, found, lease)
        for start in stride(from: 0, to: keys.count, by: Etcd.Transaction.mostOperations) {
            try await put(keys[start..<min(start + Etcd.Transaction.mostOperations, keys.count)], found, lease)
        }
        isContested = !lost.isEmpty
    }

    /// What is there of some keys.
    static func read(_ keys: [String], _ registry: EntryStore) async throws -> [String: Etcd.KeyValue] {
        var found: [String: Etcd.KeyValue] = [:]
        for start in stride(from: 0, to: keys.count, by: Etcd.Transaction.mostOperations) {
            let chunk = keys[start..<min(start + Etcd.Transaction.mostOperations, keys.count)]
            let operations = chunk.map { Etcd.Transaction.Operation.read(key: $0) }
            let reads = try await registry.etcd.commit(Etcd.Transaction(operations), deadline: registry.deadline).reads
            guard reads.count == operations.count else {
                throw Etcd.Error.malformed(
                    server: "etcd", reason: "\(reads.count) of \(operations.count) reads answered")
            }
            for (key, read) in zip(chunk, reads) { found[key] = read }
        }
        return found
    }

    private mutating func put(
        _ keys: some Sequence<String>, _ found: [String: Etcd.KeyValue], _ lease: Int64
    ) async throws {
        var operations: [Etcd.Transaction.Operation] = []
        var changed: [String] = []
        for key in keys {
            guard let value = desired[key] else { continue }
            published[key] = value
            guard found[key]?.value != value || found[key]?.lease != lease else { continue }
            operations.append(.put(key: key, value: value, lease: lease))
            changed.append(key)
        }
        guard !operations.isEmpty else { return }
        for key in changed { published[key] = nil }
        suspected.formUnion(changed)
        _ = try await registry.etcd.commit(Etcd.Transaction(operations), deadline: registry.deadline)
        suspected.subtract(changed)
        for key in changed {
            published[key] = desired[key]
            logger.info("host key published", ["key": key])
        }
    }

    private mutating func delete(
        _ keys: some Sequence<String>, _ found: [String: Etcd.KeyValue], _ lease: Int64
    ) async throws {
        for key in keys where desired[key] == nil {
            if let there = found[key], there.lease == lease {
                let isOurs = Etcd.Transaction.Condition.unchanged(key: key, modRevision: there.modRevision)
                do {
                    let outcome = try await registry.etcd.commit(
                        Etcd.Transaction(if: [isOurs], [.delete(key: key)]), deadline: registry.deadline)
                    if outcome.succeeded { logger.info("host key removed", ["key": key]) }
                } catch let error as Etcd.Error where error.isNoRoom {
                    _ = try await registry.etcd.delete(key, deadline: registry.deadline)
                    logger.info("host key removed", ["key": key])
                }
            }
            published[key] = nil
            suspected.remove(key)
        }
    }

    /// Warns once when others change the keys, until a look finds them as they should be.
    private mutating func warn(of lost: [String]) {
        guard let first = lost.first, !isContested else { return }
        isContested = true
        logger.warning(
            "host keys were deleted or changed by another client; restoring them", ["keys": lost.count, "first": first])
    }
}
