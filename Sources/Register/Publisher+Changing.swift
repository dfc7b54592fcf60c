import Shared

// What a publisher changes in the registry.

extension Publisher {
    /// Carries out what differs between what should be and what is published.
    mutating func carryOut() async throws {
        guard let desired = desired?.filter({ !yielded.contains($0.key) }), let known = published else { return }
        let planned = Plan.actions(
            desired: desired, published: known, reasons: reasons, unreadable: unreadable, obstacles: obstacles,
            knowsContainers: knowsContainers)
        let actions = planned + repeated(besides: known)
        for start in stride(from: 0, to: actions.count, by: EtcdRegistry.actionsAtOnce) {
            try await keepLease()
            // What is published has to be known anew, and so what is to be done.
            guard !isInDoubt, let lease else { return try await publish() }
            try await carryOut(actions[start..<min(start + EtcdRegistry.actionsAtOnce, actions.count)], under: lease)
        }
    }

    private mutating func carryOut(_ actions: ArraySlice<Action>, under lease: Etcd.Lease) async throws {
        for action in actions { expect(action) }
        let time = Timestamp.text(Timestamp.now())
        do {
            let revision = try await registry.apply(actions, lease: lease.id, at: time, confirm: toConfirm)
            for action in actions { note(action, revision, time) }
        } catch {
            suspect(actions)
            throw error
        }
    }

    /// The withdrawals that consumers are asked to confirm, of entries that are withdrawn already.
    private func repeated(besides known: [Slot: Published]) -> [Action] {
        graves.map(\.tombstone).filter { toConfirm.contains($0.slot.id) && known[$0.slot] == nil }
            .map { .withdraw($0.slot, reason: reasons[$0.slot.id] ?? "container stopped", container: $0.container) }
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
        case .withdraw(let slot, _, _): forget(slot)
        }
    }

    /// Keeps in mind what etcd has confirmed.
    private mutating func note(_ action: Action, _ revision: Int64, _ time: String) {
        switch action {
        case .put(let registration):
            let slot = registration.slot
            published?[slot] = Published(
                value: registration.value, meta: registration.meta, isLeased: true,
                put: Published.Put(revision: revision, time: time))
            graves.removeAll { $0.tombstone.slot == slot }
            withdrawals[slot.id] = nil
            logger.info(
                "registered", ["service": slot.service, "id": slot.id, "endpoint": registration.endpoint])
        case .withdraw(let slot, let reason, let container):
            published?[slot] = nil
            withdrawals[slot.id] = revision
            toConfirm.remove(slot.id)
            graves.removeAll { $0.tombstone.slot == slot }
            let tombstone = EtcdRegistry.Tombstone(slot: slot, revision: revision, container: container)
            graves.append((tombstone, clock() + ttl * Self.graveTTLs))
            logger.info("withdrawn", ["service": slot.service, "id": slot.id, "reason": reason])
        }
    }

    /// For how many TTLs a withdrawn entry's meta tells why.
    static let graveTTLs = 3

    /// Deletes the metas of entries that were withdrawn long enough ago.
    mutating func bury() async throws {
        let now = clock()
        while let grave = graves.first, grave.due <= now {
            try await registry.bury(grave.tombstone)
            graves.removeFirst()
            withdrawals[grave.tombstone.slot.id] = nil
        }
    }
}
