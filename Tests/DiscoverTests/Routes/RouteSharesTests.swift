import Shared
import Testing

@testable import Discover

@Suite("RouteShares")
struct RouteSharesTests {
    private func shares(_ weights: [(String, Int)], isSticky: Bool = false) throws -> RouteShares {
        let weights = weights.map { RouteTargets.Weight(service: service($0.0), thousandths: $0.1) }
        let targets = try #require(RouteTargets(weights))
        return try #require(RouteShares(targets, isSticky: isSticky))
    }

    /// Who gets each of the thousand numbers, by the longest beginning, as HAProxy looks them up.
    private func dice(_ shares: RouteShares) -> [String?] {
        (1000...1999).map { number in
            shares.rows.filter { String(number).hasPrefix($0.digits) }.max { $0.digits.count < $1.digits.count }?
                .service.text
        }
    }

    @Test(arguments: [
        ([("a", 90_000), ("b", 10_000)], [900, 100]), ([("a", 1000), ("b", 1000)], [500, 500]),
        ([("a", 1000), ("b", 1000), ("c", 1000)], [334, 333, 333]), ([("a", 1), ("b", 1_000_000_000)], [1, 999]),
        ([("a", 500), ("b", 33_300), ("c", 66_200)], [5, 333, 662]),
    ])
    func `each number falls on one service, and each service gets its share`(
        weights: [(String, Int)], counts: [Int]
    ) throws {
        let shares = try shares(weights)
        let dice = dice(shares)
        #expect(!dice.contains(nil))
        #expect(weights.map { weight in dice.count { $0 == weight.0 } } == counts)
        for digits in shares.rows.map(\.digits) {
            #expect(shares.rows.count { $0.digits.hasPrefix(digits) } == 1, "no row hides another one")
        }
    }

    @Test func `any two weights make few rows that are a thousand together`() throws {
        for first in 1...999 {
            let shares = try shares([("a", first * 1000), ("b", (1000 - first) * 1000)])
            let dice = dice(shares)
            #expect(dice.count { $0 == "a" } == first && dice.count { $0 == "b" } == 1000 - first)
            #expect(shares.rows.count <= 54)
        }
    }

    @Test func `a share that grows keeps its numbers`() throws {
        let before = dice(try shares([("v1", 90_000), ("v2", 10_000)]))
        let after = dice(try shares([("v1", 80_000), ("v2", 20_000)]))
        for (old, new) in zip(before, after) where old == "v2" { #expect(new == "v2") }
    }

    @Test func `equal weights have one id, others have another, and one alone has none`() throws {
        let one = try shares([("a", 1), ("b", 2)])
        let (same, other) = (try shares([("b", 2), ("a", 1)]), try shares([("a", 2), ("b", 1)]))
        #expect(one.id == same.id && one.id != other.id)
        #expect(RouteShares(RouteTargets(service("a")), isSticky: true) == nil)
        let sticky = try shares([("a", 1), ("b", 2)], isSticky: true)
        #expect(sticky.id.hasPrefix("~s") && one.id.hasPrefix("~n"))
    }
}
