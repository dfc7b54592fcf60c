import Testing

@testable import Discover

@Suite("PartitionedTable")
struct PartitionedTableTests {
    @Test func `it is a dictionary, whatever happens to it`() {
        var table = PartitionedTable<Int>()
        var model: [String: Int] = [:]
        var old = (table, model)
        for step in 0..<3000 {
            let key = "k\(Int.random(in: 0..<400))"
            let value = Bool.random() ? Int.random(in: 0..<3) : nil
            table.apply([(key, value)])
            model[key] = value
            guard step % 50 == 0 else { continue }
            #expect(table.values == model && table.count == model.count && table.isEmpty == model.isEmpty)
            #expect(table == PartitionedTable(model) && table.keys == model.keys.sorted())
            let differences = table.differences(from: old.0)
            let keys = Set(model.keys).union(old.1.keys).filter { model[$0] != old.1[$0] }
            #expect(Set(differences.map(\.key)) == keys)
            #expect(differences.allSatisfy { $0.new == model[$0.key] && $0.old == old.1[$0.key] })
            old = (table, model)
        }
    }

    @Test func `tables that share what did not change differ in that alone`() {
        let table = PartitionedTable(Dictionary(uniqueKeysWithValues: (0..<10_000).map { ("k\($0)", $0) }))
        var next = table
        next.apply([("k5", nil), ("new", 1), ("k6", 7)])
        #expect(Set(next.differences(from: table).map(\.key)) == ["k5", "new", "k6"])
        #expect(zip(table.parts, next.parts).filter { $0 !== $1 }.count <= 3)
        #expect(next != table)
        var gone = PartitionedTable(["a": 1])
        gone.apply([("a", nil)])
        #expect(gone == PartitionedTable() && gone.parts.isEmpty)
    }
}
