/// A value that never changes and that many share: there are thousands of endpoints, and most say the same.
final class Interned<Value: Hashable & Sendable>: Sendable {
    /// The value.
    let value: Value

    /// Makes one of its own.
    init(_ value: Value) { self.value = value }
}

extension Interned: Equatable {
    /// Whether both are the same, which most are at a glance.
    static func == (left: Interned, right: Interned) -> Bool { left === right || left.value == right.value }
}

/// Values of one kind, so that equal ones are kept once.
struct InternPool<Value: Hashable & Sendable>: Sendable {
    private var known: [Value: Interned<Value>]

    /// Makes one that has these already.
    init(_ first: Interned<Value>...) {
        known = Dictionary(first.map { ($0.value, $0) }) { first, _ in first }
    }

    /// The one that stands for all equal ones.
    mutating func interned(_ value: Value) -> Interned<Value> {
        if let known = known[value] { return known }
        let new = Interned(value)
        known[value] = new
        return new
    }
}
