/// Finds the items that make a whole unacceptable, by asking about parts of it.
///
/// The first part that is refused grows by one culprit, so each costs as many questions as the number of items can be
/// halved, and one more. Whoever asks answers ``trial`` with ``learn(isAccepted:)`` until there is none.
struct CulpritSearch<Item: Hashable & Sendable>: Equatable, Sendable {
    /// The culprits that were found, in the order of the items.
    private(set) var culprits: [Item] = []
    private var rest: [Item]
    /// So many of the rest, from the beginning, are accepted together; that many are not, or nil where all may be.
    private var good = 0
    private var bad: Int?

    /// Begins with items that are refused together, none of which would be accepted.
    init(_ items: [Item]) {
        rest = items
        bad = items.isEmpty ? nil : items.count
        if items.count == 1 { convict() }
    }

    /// What to ask about next; nil where the rest is known to be accepted.
    var trial: [Item]? {
        guard good < rest.count else { return nil }
        guard let bad else { return rest }
        return Array(rest[..<((good + bad) / 2)])
    }

    /// Takes the answer to ``trial``.
    mutating func learn(isAccepted: Bool) {
        guard let size = trial?.count else { return }
        if isAccepted { good = size } else { bad = size }
        if let bad, bad - good == 1 { convict() }
    }

    private mutating func convict() {
        culprits.append(rest.remove(at: good))
        bad = nil
    }
}
