import Shared

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
            contention.restored(at: .now)
            let isAgain = contention.isHot
            logger.warning(
                isAgain
                    ? "entries of ours are changed again and again; putting them back more slowly"
                    : "entries of ours vanished or were changed; putting them back",
                ["entries": lost.count, "first": registry.key(first)])
        }
        yielded = yield(to: presence.elderOwners, found)
        published = found.filter { slot, state in
            guard state.value != nil || state.meta != nil else { return false }
            return desired?[slot] != nil && !yielded.contains(slot) || !isAnothers(state)
        }
        for slot in slots where published?[slot] == nil && desired?[slot] == nil { forget(slot) }
        // etcd keeps revisions, and no times.
        for (slot, before) in known where before.put?.revision == published?[slot]?.put?.revision {
            published?[slot]?.put = before.put
        }
    }

    /// Whether the meta names another agent, which has taken the entry over.
    private func isAnothers(_ state: Published) -> Bool {
        Self.owner(of: state).map { !owners.contains($0) } ?? false
    }

    private static func owner(of state: Published) -> String? {
        state.meta.flatMap { Meta(json: $0)?.owner }
    }

    /// The entries that are left to older agents of the same engine that run under another address.
    private func yield(to elders: Set<String>, _ found: [Slot: Published]) -> Set<Slot> {
        let held = found.filter { slot, state in
            desired?[slot] != nil && Self.owner(of: state).map(elders.contains) == true
        }
        if let first = held.keys.min(), held.count > yielded.count {
            logger.error(
                "another docker-register of this engine, with another HOST_IP, holds entries; stop one of them",
                ["entries": held.count, "first": registry.key(first), "others": elders.sorted().joined(separator: " ")])
        }
        for slot in held.keys { forget(slot) }
        return Set(held.keys)
    }

    /// No longer expects an entry to stand there.
    func forget(_ slot: Slot) {
        expectation.set(registry.key(slot), to: nil)
        expectation.set(registry.metaKey(slot), to: nil)
    }
}
