import Shared

/// Brings the registry to what it should hold, under one lease.
///
/// It knows what is published from its own successful transactions, and reads it anew when there is doubt.
struct Publisher {
    /// Who the agent is.
    let owner: Owner
    /// The values that are expected to stand in the registry, for the watcher.
    let expectation = RegistryWatcher.Expectation()

    private let registry: EtcdRegistry
    private let ttl: Duration
    private let logger: Logger

    private var lease: Etcd.Lease?
    private var renewed = ContinuousClock.now
    private var desired: [Slot: Registration]?
    private var running: Set<InstanceID> = []
    private var unreadable: Set<InstanceID> = []
    private var obstacles: [Slot: Obstacle] = [:]
    /// What the registry holds of ours; nil until it was read.
    private(set) var published: [Slot: Published]?
    private var isInDoubt = false
    private var graves: [(tombstone: EtcdRegistry.Tombstone, due: ContinuousClock.Instant)] = []

    /// Begins with nothing: no lease, nothing desired, and nothing known of what is published.
    init(_ registry: EtcdRegistry, _ owner: Owner, ttl: Duration, logger: Logger) {
        self.registry = registry
        self.owner = owner
        self.ttl = ttl
        self.logger = logger
    }

    /// Sets what should be there from now on.
    ///
    /// What is published of `unreadable` containers stays; `obstacles` say why others are withdrawn.
    mutating func desire(
        _ registrations: [Slot: Registration], running: Set<InstanceID>, unreadable: Set<InstanceID> = [],
        obstacles: [Slot: Obstacle] = [:]
    ) {
        self.obstacles = obstacles
        desired = registrations
        self.running = running
        self.unreadable = unreadable
    }

    /// Says that somebody else may have changed what is published, or taken the lease.
    mutating func doubt() {
        isInDoubt = true
        renewalIsDue()
    }

    /// Says that the lease has to be renewed at the next occasion.
    mutating func renewalIsDue() { renewed = .now - ttl }

    /// Does everything that is to be done now.
    ///
    /// - Throws: what etcd or the connection to it failed with. What was done until then is done.
    mutating func publish() async throws {
        do {
            try await keepLease()
            try await learn()
            try await carryOut()
            try await bury()
        } catch let error as Etcd.Error where error.isLeaseGone {
            lease = nil
            throw error
        }
    }

    // MARK: Lease

    /// Renews the lease if that is due; takes a new one where there is none, or the old one is gone.
    private mutating func keepLease() async throws {
        let now = ContinuousClock.now
        if let lease {
            guard now - renewed >= ttl / 3 else { return }
            if try await registry.etcd.keepAlive(lease: lease.id, deadline: registry.deadline) {
                renewed = now
                return
            }
            logger.warning("the lease is gone; registering everything under a new one", ["lease": Self.hex(lease)])
        }
        lease = nil
        let seconds = Int64(ttl.components.seconds)
        let granted = try await registry.etcd.grantLease(ttl: seconds, deadline: registry.deadline)
        lease = granted
        renewed = now
        isInDoubt = true
        logger.info("took a lease", ["lease": Self.hex(granted), "ttl": "\(granted.ttl)s"])
    }

    /// Leases are written as `etcdctl lease list` writes them.
    private static func hex(_ lease: Etcd.Lease) -> String {
        String(UInt64(bitPattern: lease.id), radix: 16)
    }

    // MARK: Knowing

    /// Reads what is published: at first everything of ours, later what is in doubt.
    private mutating func learn() async throws {
        guard let lease else { return }
        guard let known = published else {
            published = try await registry.entries(ownedBy: owner.text, lease: lease.id)
            isInDoubt = false
            return
        }
        guard isInDoubt else { return }
        let slots = Set(known.keys).union((desired ?? [:]).keys).sorted()
        let found = try await registry.read(slots, lease: lease.id)
        isInDoubt = false
        let lost = slots.filter { slot in
            guard let wanted = desired?[slot], let before = known[slot], before.value != nil else { return false }
            let now = found[slot]
            let isChanged = before.value != now?.value || before.meta != now?.meta
            // A change of ours that was done, but whose answer was lost, looks changed too.
            return isChanged && (now?.value != wanted.value || now?.meta != wanted.meta)
        }
        if let first = lost.first {
            logger.warning(
                "entries of ours vanished or were changed; putting them back",
                ["entries": lost.count, "first": registry.key(first)])
        }
        published = found.filter { slot, state in
            guard state.value != nil || state.meta != nil else { return false }
            return desired?[slot] != nil || !isAnothers(state)
        }
    }

    /// Whether the meta names another agent, which has taken the entry over.
    private func isAnothers(_ state: Published) -> Bool {
        guard let owner = state.meta.flatMap({ Meta(json: $0)?.owner }) else { return false }
        return owner != self.owner.text
    }

    // MARK: Changing

    private mutating func carryOut() async throws {
        guard let desired else { return }
        while true {
            try await keepLease()
            guard !isInDoubt else { return try await publish() }
            guard let lease, let known = published else { return }
            let actions = Plan.actions(
                desired: desired, published: known, running: running, unreadable: unreadable,
                obstacles: obstacles
            ).prefix(EtcdRegistry.actionsAtOnce)
            guard !actions.isEmpty else { return }
            for action in actions { expect(action) }
            let time = Timestamp.text(Timestamp.now())
            do {
                let revision = try await registry.apply(actions, lease: lease.id, at: time)
                for action in actions { note(action, revision) }
            } catch {
                suspect(actions)
                throw error
            }
        }
    }

    /// Reads the entries of these actions next time: they may have been carried out, although no answer says so.
    private mutating func suspect(_ actions: some Sequence<Action>) {
        isInDoubt = true
        for case .put(let registration) in actions where published?[registration.slot] == nil {
            published?[registration.slot] = Published(value: nil, meta: nil, isLeased: false)
        }
    }

    private func expect(_ action: Action) {
        switch action {
        case .put(let registration):
            expectation.set(registry.key(registration.slot), to: registration.value)
            expectation.set(registry.metaKey(registration.slot), to: registration.meta)
        case .withdraw(let slot, _):
            expectation.set(registry.key(slot), to: nil)
            expectation.set(registry.metaKey(slot), to: nil)
        }
    }

    /// Keeps in mind what etcd has confirmed.
    private mutating func note(_ action: Action, _ revision: Int64) {
        switch action {
        case .put(let registration):
            let slot = registration.slot
            published?[slot] = Published(value: registration.value, meta: registration.meta, isLeased: true)
            graves.removeAll { $0.tombstone.slot == slot }
            logger.info(
                "registered", ["service": slot.service, "id": slot.id, "endpoint": registration.endpoint])
        case .withdraw(let slot, let reason):
            published?[slot] = nil
            graves.append((EtcdRegistry.Tombstone(slot: slot, revision: revision), .now + ttl * Self.graveTTLs))
            logger.info("withdrawn", ["service": slot.service, "id": slot.id, "reason": reason])
        }
    }

    /// For how many TTLs a withdrawn entry's meta tells why.
    private static let graveTTLs = 3

    /// Deletes the metas of entries that were withdrawn long enough ago.
    private mutating func bury() async throws {
        let now = ContinuousClock.now
        while let grave = graves.first, grave.due <= now {
            try await registry.bury(grave.tombstone)
            graves.removeFirst()
        }
    }
}
