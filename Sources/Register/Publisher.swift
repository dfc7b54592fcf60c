import Shared

/// Brings the registry to what it should hold, under one lease.
///
/// It knows what is published from its own successful transactions, and reads it anew when there is doubt.
struct Publisher {
    /// Who the agent is.
    private(set) var owner: Owner
    /// The values that are expected to stand in the registry, for the watcher.
    let expectation = RegistryWatcher.Expectation()

    /// What the agent's entries have said of who it is, since it has known its lease.
    var owners: Set<String>

    /// Where it publishes.
    let registry: EtcdRegistry
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
    private(set) var desired: [Slot: Registration]?
    /// Why containers that run have no entries.
    private(set) var reasons: [InstanceID: String] = [:]
    /// The containers of which what is published stays.
    private(set) var unreadable: Set<InstanceID> = []
    /// Whether it is known which containers there are.
    private(set) var knowsContainers = true
    /// Why single entries may not be there.
    private(set) var obstacles: [Slot: Obstacle] = [:]
    /// What the registry holds of ours, as far as it is known; nil before it was read once.
    var published: [Slot: Published]?
    /// Whether what is published has to be read anew.
    var isInDoubt = false
    /// The entries that another docker-register keeps instead.
    var yielded: Set<Slot> = []
    /// The agents of this host, this one included.
    private(set) var presence: Presence
    /// How often somebody else changed what is published.
    var contention = Contention()
    /// The containers of which the next withdrawal is to be confirmed by all consumers.
    var toConfirm: Set<InstanceID> = []
    /// At which revision entries of containers were withdrawn last, as long as their metas say so.
    var withdrawals: [InstanceID: Int64] = [:]
    /// The withdrawn entries whose metas still tell why, and until when they do.
    var graves: [(tombstone: EtcdRegistry.Tombstone, due: ContinuousClock.Instant)] = []

    /// Begins with nothing: no lease, nothing desired, and nothing known of what is published.
    ///
    /// - Parameter clock: the time by which its lease, other agents and withdrawn entries are judged.
    init(
        _ registry: EtcdRegistry, _ owner: Owner, ttl: Duration, logger: Logger,
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
        presence = Presence(registry, owner, instance: instance, logger: logger, clock: clock)
    }

    /// Says that the host has another address now; entries with the former one stay the agent's own.
    mutating func move(to address: IPAddress) {
        owner.address = address
        owners.insert(owner.text)
        presence.move(to: owner)
    }

    /// Sets what should be there from now on.
    ///
    /// - Parameters:
    ///   - reasons: why containers that run have no entries.
    ///   - unreadable: containers of which what is published stays.
    ///   - obstacles: why single entries may not be there.
    ///   - knowsContainers: whether it is known which containers there are; otherwise what is published of any stays.
    mutating func desire(
        _ registrations: [Slot: Registration], reasons: [InstanceID: String] = [:],
        unreadable: Set<InstanceID> = [], obstacles: [Slot: Obstacle] = [:], knowsContainers: Bool = true
    ) {
        self.obstacles = obstacles
        desired = registrations
        self.reasons = reasons
        self.unreadable = unreadable
        self.knowsContainers = knowsContainers
    }

    /// Has all consumers confirm the next withdrawal of these containers.
    mutating func confirmWithdrawal(of id: InstanceID) { toConfirm.insert(id) }

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

    /// The lease that everything goes with; nil while there is none, or an older agent of the same name has all.
    var leaseID: Int64? { presence.elder == nil ? lease?.id : nil }

    /// Says that the lease has to be renewed at the next occasion.
    mutating func renewalIsDue() { renewed = clock() - ttl }

    /// Does everything that is to be done now.
    ///
    /// - Throws: what etcd or the connection to it failed with. What was done until then is done.
    mutating func publish() async throws {
        do {
            try await keepLease()
            guard presence.elder == nil else {
                // Whatever the other one does meanwhile: when it is gone, everything is read anew.
                published = nil
                return
            }
            if !yielded.isEmpty, presence.elderOwners.isEmpty { isInDoubt = true }
            try await learn()
            try await carryOut()
            try await bury()
        } catch let error as Etcd.Error where error.isLeaseGone {
            lease = nil
            throw error
        }
    }

    /// Which docker-register keeps all entries instead of this one; nil where this one keeps them.
    var keeper: String? {
        presence.elder.map { "process \($0.record.pid) on \($0.record.host), since \($0.record.started)" }
    }

    // MARK: Ending

    /// Withdraws every entry, under a lease that outlives the agent: it is meant, and no loss.
    func withdrawEverything(because reason: String) async throws {
        guard presence.elder == nil else { return }
        if let published, !published.isEmpty { try await withdraw(published, because: reason) }
        // Plain keys go with it.
        guard let lease else { return }
        do {
            try await registry.etcd.revoke(lease: lease.id, deadline: registry.deadline)
        } catch let error as Etcd.Error where error.isLeaseGone {
            // Everything has gone with it already.
        }
    }

    private func withdraw(_ entries: [Slot: Published], because reason: String) async throws {
        let slots = entries.keys.sorted()
        let seconds = Int64(ttl.components.seconds) * Int64(Self.graveTTLs)
        let last = try await registry.etcd.grantLease(ttl: seconds, deadline: registry.deadline)
        for start in stride(from: 0, to: slots.count, by: EtcdRegistry.actionsAtOnce) {
            let chunk = slots[start..<min(start + EtcdRegistry.actionsAtOnce, slots.count)]
            let actions = chunk.map { Action.withdraw($0, reason: reason, container: entries[$0]?.container) }
            _ = try await registry.apply(actions, lease: last.id, at: Timestamp.text(Timestamp.now()))
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
