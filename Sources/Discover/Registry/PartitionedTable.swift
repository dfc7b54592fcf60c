/// A table by text, in parts that states share: a change costs a part of it, and what did not change is equal at a
/// glance.
///
/// There may be tens of thousands of routes, and one of them changes at a time.
struct PartitionedTable<Value: Equatable & Sendable>: Sendable {
    /// One part; it never changes.
    final class Part: Sendable {
        /// The values by their keys.
        let values: [String: Value]

        fileprivate init(_ values: [String: Value]) { self.values = values }
    }

    private static var size: Int { 256 }

    /// The parts, or none where the table is empty.
    private(set) var parts: [Part] = []
    /// How many values there are.
    private(set) var count = 0

    /// Makes an empty one.
    init() {}

    /// Makes one of values.
    init(_ values: [String: Value]) {
        apply(values.map { ($0.key, $0.value) })
    }

    /// Whether there are none.
    var isEmpty: Bool { count == 0 }

    /// The value of a key; nil where there is none.
    subscript(_ key: String) -> Value? {
        parts.isEmpty ? nil : parts[Self.place(of: key)].values[key]
    }

    /// All keys, sorted.
    var keys: [String] { parts.flatMap(\.values.keys).sorted() }

    /// All of it as one.
    var values: [String: Value] {
        parts.reduce(into: [:]) { all, part in all.merge(part.values) { first, _ in first } }
    }

    /// Sets values, and removes those that are nil.
    mutating func apply(_ changes: some Sequence<(String, Value?)>) {
        var touched: [Int: [String: Value]] = [:]
        for (key, value) in changes {
            let place = Self.place(of: key)
            touched[place, default: parts.isEmpty ? [:] : parts[place].values][key] = value
        }
        if parts.isEmpty, !touched.isEmpty { parts = Array(repeating: Part([:]), count: Self.size) }
        for (place, values) in touched {
            count += values.count - parts[place].values.count
            parts[place] = Part(values)
        }
        if count == 0 { parts = [] }
    }

    /// What is not the same in another one: the keys, with the values of both.
    func differences(from other: PartitionedTable) -> [(key: String, old: Value?, new: Value?)] {
        var found: [(key: String, old: Value?, new: Value?)] = []
        for place in 0..<Self.size {
            let old = other.parts.isEmpty ? nil : other.parts[place]
            let new = parts.isEmpty ? nil : parts[place]
            if old === new { continue }
            for (key, value) in new?.values ?? [:] where old?.values[key] != value {
                found.append((key, old?.values[key], value))
            }
            for (key, value) in old?.values ?? [:] where new?.values[key] == nil { found.append((key, value, nil)) }
        }
        return found
    }

    /// FNV-1a, 32 bits: the same in every process, so that equal tables have equal parts.
    private static func place(of key: String) -> Int {
        Int(key.utf8.reduce(0x811c_9dc5 as UInt32) { ($0 ^ UInt32($1)) &* 0x0100_0193 } & 0xff)
    }
}

extension PartitionedTable: Equatable {
    /// Whether both have the same values.
    static func == (left: PartitionedTable, right: PartitionedTable) -> Bool {
        left.count == right.count
            && (left.count == 0
                || zip(left.parts, right.parts).allSatisfy { $0 === $1 || $0.values == $1.values })
    }
}
