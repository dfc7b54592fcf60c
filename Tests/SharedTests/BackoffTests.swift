import Shared
import Testing

@Suite("Backoff")
struct BackoffTests {
    private static let first = Duration.milliseconds(100)
    private static let limit = Duration.seconds(30)

    @Test(arguments: 0..<50)
    func `no wait is above the limit or below half the first`(seed: UInt64) {
        var random = SeededGenerator(state: seed)
        var backoff = Backoff(first: Self.first, limit: Self.limit)
        for _ in 0..<200 {
            let wait = backoff.next(using: &random)
            #expect(wait <= Self.limit)
            #expect(wait >= Self.first / 2)
        }
    }

    @Test(arguments: 0..<50)
    func `each wait lies in the upper half of a span that doubles up to the limit`(seed: UInt64) {
        var random = SeededGenerator(state: seed)
        var backoff = Backoff(first: Self.first, limit: Self.limit)
        var span = Self.first
        for _ in 0..<20 {
            let wait = backoff.next(using: &random)
            #expect(wait >= span / 2 && wait <= span)
            span = min(span * 2, Self.limit)
        }
    }

    @Test func `ten thousand calls do not overflow and stay at the limit`() {
        var backoff = Backoff(first: .seconds(1), limit: .seconds(Int64.max), factor: 10)
        var last = Duration.zero
        for _ in 0..<10_000 { last = backoff.next() }
        #expect(last >= .seconds(Int64.max / 2 - 1024))
        #expect(last <= .seconds(Int64.max))
    }

    @Test func `a reset begins with the first wait again`() {
        var backoff = Backoff(first: Self.first, limit: Self.limit)
        for _ in 0..<10 { _ = backoff.next() }
        backoff.reset()
        #expect(backoff.next() <= Self.first)
    }

    @Test func `two agents that fail together do not wait equally long`() {
        var one = SeededGenerator(state: 1)
        var two = SeededGenerator(state: 2)
        var first = Backoff(first: Self.first, limit: Self.limit)
        var second = first
        #expect(first.next(using: &one) != second.next(using: &two))
    }

    @Test(arguments: [
        (Duration.zero, Duration.zero, 2.0), (.seconds(-1), .seconds(-5), 0.0), (.seconds(1), .zero, .nan),
        (.seconds(1), .seconds(60), .infinity), (.seconds(5), .seconds(1), -3),
    ])
    func `useless values still make waits that are no busy loop`(first: Duration, limit: Duration, factor: Double) {
        var backoff = Backoff(first: first, limit: limit, factor: factor)
        for _ in 0..<100 {
            let wait = backoff.next()
            #expect(wait >= .microseconds(500))
            #expect(wait <= max(first, limit, .milliseconds(1)))
        }
    }
}

/// Random numbers that are the same for the same seed (splitmix64).
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
