import Shared

/// Brings the registry to what it should hold, under one lease.
///
/// It knows what is published from its own successful transactions, and reads it anew when there is doubt.
struct Publisher {
    /// Who the agent is.
    private(set) var owner: Owner
    /// The values that are expected to stand in the registry, for the watcher.
    let expectation = RegistryWatcher.ExpectedValues()

    /// What the agent's entries have said of who it is, since it has known its lease.
    var owners: Set<String>

    /// Where it publishes.
    let registry: EntryStore
    /// How long its entries outlive it.
    let ttl: Duration
    /// Where it tells what it did.
    let logger: Logger
    /// The time by which its lease, other agents and withdrawn entries are judged.
    let clock: @Sendable () -> ContinuousClock.Instant

    /// The lease that everything goes with.
    private(set) var lease: Etcd.Lease?
    private var renewed: ContinuousClock.Instant
    /// What should be there; nil before that was decided.
    private(set) var desired: Desired?
    /// What the registry holds of ours, as far as it is known; nil before it was read once.
    var published: [EntryID: RegisteredEntry]?
    /// Whether what is published has to be read anew.
    var isInDoubt = false
    /// The agents of this host, this one included.
    private(set) var presence: AgentRegistration
    /// How often somebody else changed what is published.
    var contention = RestoreBackoff()
    /// The withdrawals that ask for confirmation already, of those that are to be confirmed.
    var confirmed: Set<EntryID> = []
    /// At which revision entries of containers were withdrawn last, as long as their metas say so.
    var withdrawals: [InstanceID: Int64] = [:]
    /// The withdrawn entries whose metas still tell why, and until when they do.
    var tombstones: [(tombstone: EntryStore.Tombstone, due: ContinuousClock.Instant)] = []

    /// Begins with nothing: no lease, nothing desired, and nothing known of what is published.
    ///
    /// - Parameter clock: the time by which its lease, other agents and withdrawn entries are judged.
    init(
        _ registry: EntryStore, _ owner: Owner, ttl: Duration, logger: Logger,
        clock: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.registry = registry
        self.owner = owner
        self.clock = clock
        renewed = clock()
        owners = [owner.text]
        self.ttl = ttl
        self.logger = logger
        let instance = String(UInt64.random(in: 0...(.max)), radix: 16)
        presence = AgentRegistration(registry, owner, instance: instance, logger: logger, clock: clock)
    }

    /// Says that the host has another address now; entries with the former one stay the agent's own.
    mutating func move(to address: IPAddress) {
        owner.address = address
        owners.insert(owner.text)
        presence.move(to: owner)
    }

    /// Sets what should be there from now on.
    mutating func desire(_ desired: Desired) {
        self.desired = desired
        confirmed = confirmed.filter { desired.confirm.contains($0.id) }
    }

    /// Says that somebody else may have changed what is published, or taken the lease.
    ///
    /// - Returns: when to say it again, where entries were put back so often that it is time to wait.
    @discardableResult
    mutating func doubt() -> Duration? {
        if let wait = contention.wait(at: .now) { return wait }
        isInDoubt = true
        renewalIsDue()
        return nil
    }

    /// The lease that everything goes with; nil while there is none, or another agent of the engine leads.
    var leaseID: Int64? { presence.leader == nil ? lease?.id : nil }

    /// Says that the lease has to be renewed at the next occasion.
    mutating func renewalIsDue() { renewed = clock() - ttl }

    /// Does everything that is to be done now.
    ///
    /// - Throws: what etcd or the connection to it failed with. What was done until then is done.
    mutating func publish() async throws {
        do {
            try await keepLease()
            guard presence.leader == nil else {
                // Whatever the other one does meanwhile: when it is gone, everything is read anew.
                published = nil
                return
            }
            try await learn()
            try await carryOut()
            try await bury()
        } catch let error as Etcd.Error where error.isLeaseGone {
            lease = nil
            throw error
        }
    }

    /// The docker-register that registers instead of this one, which stands by; nil where this one registers.
    var leader: String? {
        presence.leader.map { "process \($0.record.pid) on \($0.record.host), since \($0.record.started)" }
    }

    // MARK: Ending

    /// Withdraws every entry, under a lease that outlives the agent: it is meant, and no loss.
    func withdrawEverything(because reason: String) async throws {
        guard presence.leader == nil else { return }
        if let published, !published.isEmpty { try await withdraw(published, because: reason) }
        // Plain keys go with it.
        guard let lease else { return }
        do {
            try await registry.etcd.revoke(lease: lease.id, deadline: registry.deadline)
        } catch let error as Etcd.Error where error.isLeaseGone {
            // Everything has gone with it already.
        }
    }

    private func withdraw(_ entries: [EntryID: RegisteredEntry], because reason: String) async throws {
        let slots = entries.keys.sorted()
        let seconds = Int64(ttl.components.seconds) * Int64(Self.graveTTLs)
        let last = try await registry.etcd.grantLease(ttl: seconds, deadline: registry.deadline)
        for start in stride(from: 0, to: slots.count, by: EntryStore.changesAtOnce) {
            let chunk = slots[start..<min(start + EntryStore.changesAtOnce, slots.count)]
            let actions = chunk.map { EntryChange.withdraw($0, reason: reason, container: entries[$0]?.container) }
            _ = try await registry.commit(actions, lease: last.id, at: Timestamp.text(Timestamp.now()))
        }
        logger.info("withdrew everything", ["entries": slots.count, "reason": reason])
    }

    /// Says that the agent runs no more; its entries stay until the lease ends.
    func leave() async throws {
        if lease != nil { try await presence.end() }
    }

    // MARK: Lease

    /// Renews the lease if that is due; takes a new one where there is none, or the old one is gone.
    ///
    /// It stays due until this agent has said under it that it runs.
    mutating func keepLease() async throws {
        let now = clock()
        if let lease {
            guard now - renewed >= ttl / 3 else { return }
            if try await registry.etcd.keepAlive(lease: lease.id, deadline: registry.deadline) {
                try await presence.renew(under: lease.id)
                renewed = now
                return
            }
            logger.warning("the lease is gone; registering everything under a new one", ["lease": Self.hex(lease)])
        }
        lease = nil
        let seconds = Int64(ttl.components.seconds)
        let granted = try await registry.etcd.grantLease(ttl: seconds, deadline: registry.deadline)
        lease = granted
        renewalIsDue()
        isInDoubt = true
        logger.info("took a lease", ["lease": Self.hex(granted), "ttl": "\(granted.ttl)s"])
        try await presence.renew(under: granted.id)
        renewed = now
    }

    /// Leases are written as `etcdctl lease list` writes them.
    static func hex(_ lease: Etcd.Lease) -> String {
        String(UInt64(bitPattern: lease.id), radix: 16)
    }
}

// What a publisher changes in the registry.

extension Publisher {
    /// Carries out what differs between what should be and what is published.
    mutating func carryOut() async throws {
        guard let desired, let known = published else { return }
        let actions = EntryDiff.changes(from: known, to: desired) + repeated(besides: known, desired)
        for start in stride(from: 0, to: actions.count, by: EntryStore.changesAtOnce) {
            try await keepLease()
            // What is published has to be known anew, and so what is to be done.
            guard !isInDoubt, let lease else { return try await publish() }
            try await carryOut(actions[start..<min(start + EntryStore.changesAtOnce, actions.count)], under: lease)
        }
    }

    private mutating func carryOut(_ actions: ArraySlice<EntryChange>, under lease: Etcd.Lease) async throws {
        for action in actions { expect(action) }
        let time = Timestamp.text(Timestamp.now())
        do {
            let revision = try await registry.commit(
                actions, lease: lease.id, at: time, confirm: desired?.confirm ?? [])
            for action in actions { note(action, revision, time) }
        } catch {
            suspect(actions)
            throw error
        }
    }

    /// The withdrawals that consumers are asked to confirm, of entries that are withdrawn already.
    private func repeated(besides known: [EntryID: RegisteredEntry], _ desired: Desired) -> [EntryChange] {
        tombstones.map(\.tombstone).filter { grave in
            desired.confirm.contains(grave.id.id) && known[grave.id] == nil && !confirmed.contains(grave.id)
        }
        .map {
            .withdraw($0.id, reason: desired.withdrawalReason(of: $0.id, .container), container: $0.container)
        }
    }

    /// Reads the entries of these actions next time: they may have been carried out, although no answer says so.
    private mutating func suspect(_ actions: some Sequence<EntryChange>) {
        isInDoubt = true
        for case .put(let entry) in actions where published?[entry.id] == nil {
            published?[entry.id] = RegisteredEntry(value: nil, meta: nil, isLeased: false, source: entry.source)
        }
    }

    private func expect(_ action: EntryChange) {
        switch action {
        case .put(let registration):
            expectation.set(registry.key(registration.id), to: registration.value)
            expectation.set(registry.metaKey(registration.id), to: registration.meta)
        case .withdraw(let slot, _, _): forget(slot)
        }
    }

    /// Keeps in mind what etcd has confirmed.
    private mutating func note(_ action: EntryChange, _ revision: Int64, _ time: String) {
        switch action {
        case .put(let registration):
            let slot = registration.id
            published?[slot] = RegisteredEntry(
                value: registration.value, meta: registration.meta, isLeased: true, source: registration.source,
                put: RegisteredEntry.Put(revision: revision, time: time))
            tombstones.removeAll { $0.tombstone.id == slot }
            withdrawals[slot.id] = nil
            logger.info(
                "registered", ["service": slot.service, "id": slot.id, "endpoint": registration.endpoint])
        case .withdraw(let slot, let reason, let container):
            published?[slot] = nil
            withdrawals[slot.id] = revision
            if desired?.confirm.contains(slot.id) == true { confirmed.insert(slot) }
            tombstones.removeAll { $0.tombstone.id == slot }
            let tombstone = EntryStore.Tombstone(id: slot, revision: revision, container: container)
            tombstones.append((tombstone, clock() + ttl * Self.graveTTLs))
            logger.info("withdrawn", ["service": slot.service, "id": slot.id, "reason": reason])
        }
    }

    /// For how many TTLs a withdrawn entry's meta tells why.
    static let graveTTLs = 3

    /// Deletes the metas of entries that were withdrawn long enough ago.
    mutating func bury() async throws {
        let now = clock()
        while let grave = tombstones.first, grave.due <= now {
            try await registry.delete(grave.tombstone)
            tombstones.removeFirst()
            withdrawals[grave.tombstone.id.id] = nil
        }
    }
}

// What a publisher knows of the registry.

extension Publisher {
    /// Reads what is published: at first everything of ours, later what is in doubt.
    mutating func learn() async throws {
        guard let lease else { return }
        guard let known = published else {
            published = try await registry.entries(ownedBy: owner.text, lease: lease.id)
            isInDoubt = false
            return
        }
        guard isInDoubt else { return }
        let slots = Set(known.keys).union((desired?.entries ?? [:]).keys).sorted()
        let found = try await registry.read(slots, lease: lease.id)
        isInDoubt = false
        let lost = slots.filter { slot in
            guard let wanted = desired?.entries[slot], let before = known[slot], before.value != nil else {
                return false
            }
            let now = found[slot]
            let isChanged = before.value != now?.value || before.meta != now?.meta
            // A change of ours that was done, but whose answer was lost, looks changed too.
            return isChanged && (now?.value != wanted.value || now?.meta != wanted.meta)
        }
        if let first = lost.first {
            contention.restored(at: .now)
            let isAgain = contention.isHot
            logger.warning(
                isAgain
                    ? "entries of ours are changed again and again; putting them back more slowly"
                    : "entries of ours vanished or were changed; putting them back",
                ["entries": lost.count, "first": registry.key(first)])
        }
        published = found.filter { slot, state in
            guard state.value != nil || state.meta != nil else { return false }
            return desired?.entries[slot] != nil || !isAnothers(state)
        }
        for slot in slots where published?[slot] == nil && desired?.entries[slot] == nil { forget(slot) }
        // A meta that somebody has changed says nothing of where the entry is from.
        for slot in slots {
            guard let source = known[slot]?.source ?? desired?.entries[slot]?.source else { continue }
            published?[slot]?.source = source
        }
        // etcd keeps revisions, and no times.
        for (slot, before) in known where before.put?.revision == published?[slot]?.put?.revision {
            published?[slot]?.put = before.put
        }
    }

    /// Whether the meta names another agent, which has taken the entry over.
    private func isAnothers(_ state: RegisteredEntry) -> Bool {
        guard let owner = state.meta.flatMap({ Meta(json: $0)?.owner }) else { return false }
        return !owners.contains(owner)
    }

    /// No longer expects an entry to stand there.
    func forget(_ slot: EntryID) {
        expectation.set(registry.key(slot), to: nil)
        expectation.set(registry.metaKey(slot), to: nil)
    }
}
