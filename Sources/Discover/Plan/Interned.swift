/// A value that never changes and that many share: there are thousands of endpoints, and most say the same.
final class Interned<Value: Equatable & Sendable>: Sendable {
    /// The value.
    let value: Value

    /// Makes one of its own.
    init(_ value: Value) { self.value = value }
}

extension Interned: Equatable {
    /// Whether both are the same, which most are at a glance.
    static func == (left: Interned, right: Interned) -> Bool { left === right || left.value == right.value }
}

extension Interned: Hashable where Value: Hashable {
    /// Hashes the value.
    func hash(into hasher: inout Hasher) { value.hash(into: &hasher) }
}

/// Values of one kind, so that equal ones are kept once.
struct InternPool<Value: Hashable & Sendable>: Sendable {
    private var known: Set<Interned<Value>>

    /// Makes one that has these already.
    init(_ first: Interned<Value>...) { known = Set(first) }

    /// The one that stands for all equal ones.
    mutating func interned(_ value: Value) -> Interned<Value> { known.insert(Interned(value)).memberAfterInsert }
}
