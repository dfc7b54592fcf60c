import Shared

/// Brings the registry to what should be registered, under one lease.
///
/// It knows what is registered from its own transactions. It reads it again when somebody else may have changed it, when
/// a transaction of its own has failed, and under a new lease.
struct Publisher {
    /// That the lease is gone, and with it all that was registered: the next turn begins anew.
    struct LeaseLost: Error {}

    /// Who the agent is.
    private(set) var owner: Owner
    /// The values that the agent's keys should have, for the watcher.
    let expected = RegistryWatcher.ExpectedValues()
    /// What the registry holds of ours; nil while it is not known.
    private(set) var registered: [EntryID: RegisteredEntry]?
    /// At which revision entries of containers were withdrawn last, as long as their metas say so.
    private(set) var withdrawals: [InstanceID: Int64] = [:]

    private let store: EntryStore
    private let ttl: Duration
    private let logger: Logger
    private let clock: @Sendable () -> ContinuousClock.Instant

    private var keptLease: Etcd.KeptLease
    private var registration: AgentRegistration
    private var hostKeys: HostKeys
    /// Whether what is registered has to be read again.
    private var isUnknown = false
    /// The owners that the agent's entries have named.
    private var owners: Set<String>
    private var restoring = RestoreBackoff()
    /// While etcd has no room for the reasons of withdrawals.
    private var noRoom = Outage<String>()
    /// The withdrawals that ask for confirmation already, of those that are to be confirmed.
    private var confirmed: Set<EntryID> = []
    /// The withdrawn entries whose metas still tell why, and until when they do.
    private var tombstones: [(tombstone: EntryStore.Tombstone, due: ContinuousClock.Instant)] = []

    /// Begins without a lease, and without knowing what is registered.
    ///
    /// - Parameter clock: the time by which the lease, other agents and withdrawn entries are judged.
    init(
        _ store: EntryStore, _ owner: Owner, ttl: Duration, logger: Logger,
        clock: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.store = store
        self.owner = owner
        self.clock = clock
        self.ttl = ttl
        self.logger = logger
        owners = [owner.text]
        keptLease = Etcd.KeptLease(store.etcd, ttl: ttl, deadline: store.deadline, clock: clock)
        hostKeys = HostKeys(store, logger: logger)
        let instance = String(UInt64.random(in: 0...(.max)), radix: 16)
        registration = AgentRegistration(store, owner, instance: instance, logger: logger, clock: clock)
    }

    /// The lease that everything goes with; nil while there is none.
    var lease: Etcd.Lease? { keptLease.lease }

    /// The docker-register that registers instead of this one, which stands by; nil where this one registers.
    var leader: String? {
        registration.leader.map { "process \($0.record.pid) on \($0.record.host), since \($0.record.started)" }
    }

    /// Gives the host another address; entries with the former one stay the agent's own.
    mutating func move(to address: IPAddress) {
        owner.address = address
        owners.insert(owner.text)
        registration.move(to: owner)
    }

    // MARK: Applying

    /// Gets a lease, and reads what is registered: the first decision depends on it.
    mutating func load() async throws -> [EntryID: RegisteredEntry] {
        try await withLease { publisher, lease in
            let found = try await publisher.store.entries(ownedBy: publisher.owner.text, lease: lease.id)
            publisher.registered = found
            publisher.isUnknown = false
            return found
        }
    }

    /// Brings the registry to what is desired.
    ///
    /// - Parameters:
    ///   - rereading: whether somebody else may have changed what is registered, or revoked the lease.
    ///   - auditing: whether to ask if somebody has, and to read again then.
    ///   - renewing: whether it is time to renew the lease.
    /// - Returns: when to reread, where that is put off because others change entries again and again.
    /// - Throws: ``LeaseLost``, or what etcd or the connection to it failed with. What was done until then is done.
    @discardableResult
    mutating func apply(
        _ desired: Desired, rereading: Bool = false, auditing: Bool = false, renewing: Bool = false
    ) async throws -> Duration? {
        let wait = rereading ? restoring.wait(at: .now) : nil
        let rereadsEntries = rereading && wait == nil
        if rereadsEntries || auditing || renewing { keptLease.makeDue() }
        try await withLease { publisher, lease in
            guard publisher.registration.leader == nil else {
                // Whatever that one does meanwhile: when it is gone, everything is read again.
                publisher.registered = nil
                return
            }
            let isIncomplete = auditing && wait == nil ? try await !publisher.isComplete(lease) : false
            try await publisher.read(desired, again: rereadsEntries || isIncomplete, under: lease)
            try await publisher.change(desired)
            try await publisher.deleteTombstones()
            try await publisher.hostKeys.apply(
                desired.hostKeys, under: lease.id, rereading: rereading || auditing || renewing)
        }
        return wait
    }

    /// Does something under the lease, which is renewed or taken before where that is due.
    private mutating func withLease<Result>(
        _ work: (inout Publisher, Etcd.Lease) async throws -> Result
    ) async throws -> Result {
        do {
            return try await work(&self, try await keepLease())
        } catch let error as Etcd.Error where error.isLeaseGone {
            keptLease.forget()
            throw LeaseLost()
        }
    }

    /// Renews the lease where that is due, or takes one; it stays due until this agent is registered under it.
    private mutating func keepLease() async throws -> Etcd.Lease {
        if let renewal = try await keptLease.keep() {
            if renewal.isGranted {
                isUnknown = true
                if let former = renewal.former {
                    logger.warning(
                        "lease lost; registering everything under a new one", ["lease": former.text])
                }
                logger.info("lease granted", ["lease": renewal.lease.text, "ttl": "\(renewal.lease.ttl)s"])
            }
            try await registration.renew(under: renewal.lease.id)
            keptLease.complete(renewal)
        }
        guard let lease else { throw LeaseLost() }
        return lease
    }

    /// Makes the changes that lead from what is registered to what is desired.
    private mutating func change(_ desired: Desired) async throws {
        let changes = EntryDiff.changes(from: registered ?? [:], to: desired) + unconfirmed(desired)
        for start in stride(from: 0, to: changes.count, by: EntryStore.changesAtOnce) {
            let lease = try await keepLease()
            // Under a new lease the changes are others.
            guard !isUnknown else { throw LeaseLost() }
            let chunk = changes[start..<min(start + EntryStore.changesAtOnce, changes.count)]
            do {
                try await commit(chunk, under: lease, confirm: desired.confirm)
            } catch let error as Etcd.Error where error.isNoRoom {
                try await withdrawWithoutReason(changes[start...], error)
                // With room, the next turn says why; what was to be put fails as a whole.
                guard changes[start...].allSatisfy(\.isWithdrawal) else { throw error }
                return
            }
        }
        if changes.contains(where: \.isWithdrawal), noRoom.succeeded() {
            logger.info("etcd has room again; reasons of withdrawals are kept")
        }
    }

    /// Deletes the entries that are to go, and nothing else: a deletion needs no room in etcd.
    private mutating func withdrawWithoutReason(_ changes: ArraySlice<EntryChange>, _ error: Etcd.Error) async throws {
        var reasons: [EntryID: String] = [:]
        for case .withdraw(let id, let reason, _) in changes where registered?[id]?.value != nil {
            reasons[id] = reason
        }
        guard !reasons.isEmpty else { return }
        if noRoom.failed("\(error)", isCertain: true) {
            logger.error("etcd has no room; withdrawing without keeping the reasons", ["error": "\(error)"])
        }
        let ids = reasons.keys.sorted()
        let revision = try await store.delete(ids)
        for id in ids {
            registered?[id]?.value = nil
            withdrawals[id.id] = revision
            logger.info("withdrawn", ["service": id.service, "id": id.id, "reason": reasons[id]])
        }
    }

    /// The withdrawals that are to be confirmed, of entries that were withdrawn before without that.
    private mutating func unconfirmed(_ desired: Desired) -> [EntryChange] {
        confirmed = confirmed.filter { desired.confirm.contains($0.id) }
        return tombstones.map(\.tombstone).filter { tombstone in
            desired.confirm.contains(tombstone.id.id) && registered?[tombstone.id] == nil
                && !confirmed.contains(tombstone.id)
        }
        .map {
            .withdraw($0.id, reason: desired.withdrawalReason(of: $0.id, .container), container: $0.container)
        }
    }

    private mutating func commit(
        _ changes: ArraySlice<EntryChange>, under lease: Etcd.Lease, confirm: Set<InstanceID>
    ) async throws {
        for change in changes { expect(change) }
        let time = Timestamp.text(Timestamp.now())
        do {
            let revision = try await store.commit(changes, lease: lease.id, at: time, confirm: confirm)
            for change in changes { record(change, revision, time, confirm) }
        } catch {
            markUnknown(changes)
            throw error
        }
    }

    /// Records what etcd has confirmed.
    private mutating func record(
        _ change: EntryChange, _ revision: Int64, _ time: String, _ confirm: Set<InstanceID>
    ) {
        switch change {
        case .put(let entry):
            registered?[entry.id] = RegisteredEntry(
                value: entry.value, meta: entry.meta, isLeased: true, source: entry.source,
                put: RegisteredEntry.Put(revision: revision, time: time))
            tombstones.removeAll { $0.tombstone.id == entry.id }
            withdrawals[entry.id.id] = nil
            logger.info(
                "registered", ["service": entry.id.service, "id": entry.id.id, "endpoint": entry.endpoint])
        case .withdraw(let id, let reason, let container):
            registered?[id] = nil
            withdrawals[id.id] = revision
            if confirm.contains(id.id) { confirmed.insert(id) }
            tombstones.removeAll { $0.tombstone.id == id }
            let tombstone = EntryStore.Tombstone(id: id, revision: revision, container: container)
            tombstones.append((tombstone, clock() + ttl * Self.tombstoneTTLs))
            logger.info("withdrawn", ["service": id.service, "id": id.id, "reason": reason])
        }
    }

    /// Has the entries of these changes read next time: they may have been made, although no answer says so.
    private mutating func markUnknown(_ changes: some Sequence<EntryChange>) {
        isUnknown = true
        for case .put(let entry) in changes where registered?[entry.id] == nil {
            registered?[entry.id] = RegisteredEntry(value: nil, meta: nil, isLeased: false, source: entry.source)
        }
    }

    /// For how many TTLs a withdrawn entry's meta tells why.
    private static let tombstoneTTLs = 3

    /// Deletes the metas of entries that were withdrawn long enough ago.
    private mutating func deleteTombstones() async throws {
        let now = clock()
        while let first = tombstones.first, first.due <= now {
            try await store.delete(first.tombstone)
            tombstones.removeFirst()
            withdrawals[first.tombstone.id.id] = nil
        }
    }

    // MARK: Reading

    /// Whether the lease still has all entries that were put under it.
    ///
    /// One that somebody else has deleted, or put anew, has left it. That is a single question, whatever the number of
    /// entries.
    private func isComplete(_ lease: Etcd.Lease) async throws -> Bool {
        let keys = Set(try await store.etcd.timeToLive(lease: lease.id, deadline: store.deadline).keys)
        return (registered ?? [:]).allSatisfy { id, entry in
            entry.value == nil || !entry.isLeased
                || keys.contains(Array(store.key(id).utf8)) && keys.contains(Array(store.metaKey(id).utf8))
        }
    }

    /// Reads what is registered where that is not known: everything of ours, or what was registered or is desired.
    private mutating func read(_ desired: Desired, again: Bool, under lease: Etcd.Lease) async throws {
        if let known = registered {
            guard again || isUnknown else { return }
            try await reread(known, desired, under: lease)
        } else {
            registered = try await store.entries(ownedBy: owner.text, lease: lease.id)
        }
        isUnknown = false
    }

    private mutating func reread(
        _ known: [EntryID: RegisteredEntry], _ desired: Desired, under lease: Etcd.Lease
    ) async throws {
        let ids = Set(known.keys).union(desired.entries.keys).sorted()
        var found: [EntryID: RegisteredEntry] = [:]
        for start in stride(from: 0, to: ids.count, by: Self.readAtOnce) {
            let chunk = Array(ids[start..<min(start + Self.readAtOnce, ids.count)])
            found.merge(try await store.read(chunk, lease: lease.id)) { _, new in new }
            // Many entries may take longer than the lease lives.
            guard try await keepLease() == lease else { throw LeaseLost() }
        }
        warn(of: ids.filter { isChanged(known[$0], found[$0], desired.entries[$0]) })
        var registered = found.filter { id, state in
            (state.value != nil || state.meta != nil) && (desired.entries[id] != nil || !isAnothers(state))
        }
        for id in ids {
            if registered[id] == nil && desired.entries[id] == nil { expectNothing(of: id) }
            // A meta that somebody has changed does not say what the entry is about.
            if let source = known[id]?.source ?? desired.entries[id]?.source { registered[id]?.source = source }
            // etcd keeps revisions, and no times.
            if let put = known[id]?.put, put.revision == registered[id]?.put?.revision { registered[id]?.put = put }
        }
        self.registered = registered
    }

    /// How many entries are read between two looks at the lease.
    private static let readAtOnce = 1024

    /// Whether somebody else has changed an entry that is still desired.
    private func isChanged(
        _ before: RegisteredEntry?, _ now: RegisteredEntry?, _ desired: DesiredEntry?
    ) -> Bool {
        guard let desired, let before, before.value != nil else { return false }
        let isChanged = before.value != now?.value || before.meta != now?.meta
        // A change of ours that was made, but whose answer was lost, looks changed too.
        return isChanged && (now?.value != desired.value || now?.meta != desired.meta)
    }

    private mutating func warn(of changed: [EntryID]) {
        guard let first = changed.first else { return }
        restoring.restored(at: .now)
        logger.warning(
            restoring.isHot
                ? "entries keep being changed by another client; restoring them with back-off"
                : "entries were deleted or changed by another client; restoring them",
            ["entries": changed.count, "first": store.key(first)])
    }

    /// Whether the meta names another agent, which has taken the entry over.
    private func isAnothers(_ state: RegisteredEntry) -> Bool {
        guard let owner = state.meta.flatMap({ Meta(json: $0)?.owner }) else { return false }
        return !owners.contains(owner)
    }

    private func expect(_ change: EntryChange) {
        switch change {
        case .put(let entry):
            expected.set(store.key(entry.id), to: entry.value)
            expected.set(store.metaKey(entry.id), to: entry.meta)
        case .withdraw(let id, _, _): expectNothing(of: id)
        }
    }

    private func expectNothing(of id: EntryID) {
        expected.set(store.key(id), to: nil)
        expected.set(store.metaKey(id), to: nil)
    }

    // MARK: Ending

    /// Withdraws every entry, under a lease that outlives the agent: it is meant, and no loss.
    func withdrawEverything(because reason: String) async throws {
        guard registration.leader == nil else { return }
        if let registered, !registered.isEmpty { try await withdraw(registered, because: reason) }
        // Plain keys go with it.
        guard let lease else { return }
        do {
            try await store.etcd.revoke(lease: lease.id, deadline: store.deadline)
        } catch let error as Etcd.Error where error.isLeaseGone {
            // Everything has gone with it already.
        }
    }

    private func withdraw(_ entries: [EntryID: RegisteredEntry], because reason: String) async throws {
        let ids = entries.keys.sorted()
        let seconds = Int64(ttl.components.seconds) * Int64(Self.tombstoneTTLs)
        let last: Etcd.Lease
        do {
            last = try await store.etcd.grantLease(ttl: seconds, deadline: store.deadline)
        } catch let error as Etcd.Error where error.isNoRoom {
            _ = try await store.delete(ids)
            logger.info("withdrew all entries", ["entries": ids.count, "reason": reason])
            return
        }
        for start in stride(from: 0, to: ids.count, by: EntryStore.changesAtOnce) {
            let chunk = ids[start..<min(start + EntryStore.changesAtOnce, ids.count)]
            let changes = chunk.map { EntryChange.withdraw($0, reason: reason, container: entries[$0]?.container) }
            _ = try await store.commit(changes, lease: last.id, at: Timestamp.text(Timestamp.now()))
        }
        logger.info("withdrew all entries", ["entries": ids.count, "reason": reason])
    }

    // MARK: Waiting

    /// The entries that are to be withdrawn and still are registered.
    func waitingWithdrawals(_ desired: Desired) -> Set<EntryID> {
        guard let registered, registration.leader == nil else { return [] }
        return Set(
            EntryDiff.changes(from: registered, to: desired).compactMap { change -> EntryID? in
                guard case .withdraw(let id, _, _) = change, registered[id]?.value != nil else { return nil }
                return id
            })
    }

    /// Deletes this agent's record; its entries stay until the lease ends.
    func leave() async throws {
        if lease != nil { try await registration.end() }
    }
}
