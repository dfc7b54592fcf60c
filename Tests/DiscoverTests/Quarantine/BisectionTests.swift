import Testing

@testable import Discover

@Suite("Bisection")
struct BisectionTests {
    /// How many items there are, which of them are culprits, and how many questions it may take.
    private static let table: [(count: Int, culprits: [Int], questions: Int)] = [
        (1, [0], 0), (2, [0], 2), (2, [1], 2), (2, [0, 1], 2), (3, [1], 3), (8, [7], 4), (8, [0], 4),
        (500, [0], 10), (500, [499], 10), (500, [250], 10), (500, [3, 77, 400], 30), (500, [10, 11, 12], 30),
        (10_000, [9_999], 15),
    ]

    @Test(arguments: table)
    func `each culprit costs as many questions as the items can be halved`(
        count: Int, culprits: [Int], questions: Int
    ) {
        var search = Bisection(Array(0..<count))
        var asked = 0
        while let trial = search.trial {
            asked += 1
            search.record(isAccepted: Set(trial).isDisjoint(with: culprits))
        }
        #expect(search.culprits.sorted() == culprits)
        #expect(asked <= questions)
    }

    @Test func `two that cannot be together cost one of them`() {
        var search = Bisection(Array(0..<20))
        while let trial = search.trial { search.record(isAccepted: !(trial.contains(3) && trial.contains(17))) }
        #expect(search.culprits == [17])
    }

    @Test func `it ends whatever is answered`() {
        for isAccepted in [true, false] {
            var search = Bisection(Array(0..<50))
            var asked = 0
            while search.trial != nil, asked < 1_000 {
                asked += 1
                search.record(isAccepted: isAccepted)
            }
            #expect(asked < 1_000)
            #expect(search.culprits.count == (isAccepted ? 1 : 50))
        }
        #expect(Bisection([Int]()).trial == nil)
    }
}
