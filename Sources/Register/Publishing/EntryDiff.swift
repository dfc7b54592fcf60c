import Shared

/// What the registry holds of one entry of ours.
struct RegisteredEntry: Hashable, Sendable {
    /// The entry's value; nil where the key is missing.
    var value: [UInt8]?
    /// The meta's value; nil where the key is missing.
    var meta: [UInt8]?
    /// Whether both keys go with the lease that the agent holds now.
    var isLeased: Bool
    /// What the entry is about.
    var source: EntrySource
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
    /// The current entry that the registry holds; nil where that is no whole entry.
    init?(_ registered: RegisteredEntry) {
        guard let value = registered.value, let endpoint = Endpoint(String(decoding: value, as: UTF8.self)),
            let meta = registered.meta.flatMap({ Meta(json: $0) })
        else { return nil }
        // What is no container has no time of start.
        self.init(endpoint: endpoint, started: meta.created ?? "", source: registered.source)
    }
}

/// One change to the registry.
enum EntryChange: Equatable, Sendable {
    /// Puts the entry and its meta under the lease.
    case put(DesiredEntry)
    /// Deletes the entry, and says in its meta why and of which container it was, where that is known.
    case withdraw(EntryID, reason: String, container: String? = nil)

    /// Whether it takes something out of service.
    var isWithdrawal: Bool {
        if case .withdraw = self { true } else { false }
    }
}

/// The difference between what is registered and what should be.
enum EntryDiff {
    /// The changes that lead from one to the other, sorted: what should be there first, then what should go.
    static func changes(from registered: [EntryID: RegisteredEntry], to desired: Desired) -> [EntryChange] {
        let missing = desired.entries.values.filter { !isRegistered($0, registered[$0.id]) }
        let surplus = registered.filter { desired.entries[$0.key] == nil }
        return missing.sorted { $0.id < $1.id }.map { .put($0) }
            + surplus.sorted { $0.key < $1.key }.compactMap { change(of: $0, $1, desired) }
    }

    /// What becomes of an entry that should not be there; nil where it stays as it is.
    private static func change(of id: EntryID, _ state: RegisteredEntry, _ desired: Desired) -> EntryChange? {
        // A meta that has lost its entry is replaced too, or it would stay as long as the lease.
        guard state.value != nil || state.meta != nil else { return nil }
        guard !desired.undecided.contains(id.id, state.source) else { return takeOver(id, state) }
        let reason = desired.withdrawalReason(of: id, state.source)
        return .withdraw(id, reason: reason, container: state.container)
    }

    /// An entry of which nothing is decided stays as it is, under the agent's own lease.
    private static func takeOver(_ id: EntryID, _ state: RegisteredEntry) -> EntryChange? {
        guard !state.isLeased, let meta = state.meta, let value = state.value,
            let endpoint = Endpoint(String(decoding: value, as: UTF8.self))
        else { return nil }
        return .put(DesiredEntry(id: id, endpoint: endpoint, meta: meta, source: state.source))
    }

    private static func isRegistered(_ entry: DesiredEntry, _ registered: RegisteredEntry?) -> Bool {
        guard let registered, registered.isLeased else { return false }
        return registered.value == entry.value && registered.meta == entry.meta
    }
}
