import Shared

/// What the registry holds of one entry of ours.
struct RegisteredEntry: Hashable, Sendable {
    /// The entry's value; nil where the key is missing.
    var value: [UInt8]?
    /// The meta's value; nil where the key is missing.
    var meta: [UInt8]?
    /// Whether both keys go with the lease that the agent holds now.
    var isLeased: Bool
    /// When the entry was put last; nil where it is missing.
    var put: Put?

    /// The name of its container; nil where the meta names none.
    var container: String? { meta.flatMap { Meta(json: $0)?.container } }

    /// A put of an entry.
    struct Put: Hashable, Sendable {
        /// The revision that it made.
        var revision: Int64
        /// The time, RFC 3339; nil where another process did it.
        var time: String?
    }
}

extension CurrentEntry {
    /// Takes what the registry holds; nil where that is no whole entry.
    init?(_ published: RegisteredEntry) {
        guard let value = published.value, let endpoint = Endpoint(String(decoding: value, as: UTF8.self)),
            let meta = published.meta.flatMap({ Meta(json: $0) })
        else { return nil }
        // What is no container has no time of start.
        self.init(endpoint: endpoint, started: meta.created ?? "")
    }
}

/// One change to the registry.
enum EntryChange: Equatable, Sendable {
    /// Puts the entry and its meta under the lease.
    case put(DesiredEntry)
    /// Deletes the entry, and says in its meta why and of which container it was, where that is known.
    case withdraw(EntryID, reason: String, container: String? = nil)
}

/// From what should be and what is to what has to be done.
enum EntryDiff {
    /// The changes that lead from `published` to `desired`, sorted: what should be there first, then what should go.
    ///
    /// - Parameters:
    ///   - reasons: why containers have no entries although they run; of those that do not run it is known why.
    ///   - unreadable: running containers of which nothing is known; what is published of them stays.
    ///   - obstacles: why single entries may not be there, which is then the reason.
    ///   - knowsContainers: whether it is known which containers there are; otherwise all are like unreadable ones.
    static func actions(
        desired: [EntryID: DesiredEntry], published: [EntryID: RegisteredEntry], reasons: [InstanceID: String],
        unreadable: Set<InstanceID> = [], obstacles: [EntryID: NotReadyReason] = [:], knowsContainers: Bool = true
    ) -> [EntryChange] {
        var actions: [EntryChange] = []
        let missing = desired.filter { !isThere($0.value, published[$0.key]) }
        for registration in missing.values.sorted(by: { $0.slot < $1.slot }) { actions.append(.put(registration)) }
        let surplus = published.filter { desired[$0.key] == nil }
        for (slot, state) in surplus.sorted(by: { $0.key < $1.key }) {
            // A meta that has lost its entry is replaced too, or it would stay as long as the lease.
            guard state.value != nil || state.meta != nil else { continue }
            let isKnown = knowsContainers || !slot.id.isOfContainer
            guard isKnown, !unreadable.contains(slot.id) else {
                actions += keep(slot, state)
                continue
            }
            let standard = slot.id.isOfContainer ? "container stopped" : "no longer in the services file"
            let reason = obstacles[slot]?.reason ?? reasons[slot.id] ?? standard
            actions.append(.withdraw(slot, reason: reason, container: state.container))
        }
        return actions
    }

    /// An entry that nothing is known against stays as it is, under the agent's own lease.
    private static func keep(_ slot: EntryID, _ state: RegisteredEntry) -> [EntryChange] {
        guard !state.isLeased, let meta = state.meta, let value = state.value,
            let endpoint = Endpoint(String(decoding: value, as: UTF8.self))
        else { return [] }
        return [.put(DesiredEntry(slot: slot, endpoint: endpoint, meta: meta))]
    }

    private static func isThere(_ registration: DesiredEntry, _ published: RegisteredEntry?) -> Bool {
        guard let published, published.isLeased else { return false }
        return published.value == registration.value && published.meta == registration.meta
    }
}
