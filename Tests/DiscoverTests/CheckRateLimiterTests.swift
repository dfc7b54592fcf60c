import Shared
import Testing

@testable import Discover

@Suite("Check stretch")
struct CheckRateLimiterTests {
    /// A number of consumers and the shortest interval of each.
    private static let table: [(Int, Duration)] = [
        (0, .zero), (1, .zero), (5, .zero), (6, .zero), (7, .milliseconds(250)), (12, .milliseconds(250)),
        (25, .milliseconds(500)), (50, .seconds(1)), (51, .seconds(2)), (100, .seconds(2)), (101, .seconds(4)),
        (200, .seconds(4)), (400, .seconds(8)), (800, .seconds(16)), (1_000, .seconds(32)), (1_600, .seconds(32)),
        (10_000, .seconds(256)), (1_000_000, .seconds(4_096)), (.max, .seconds(4_096)), (-1, .zero),
    ]

    @Test(arguments: table)
    func `an endpoint gets at most fifty checks a second, of all consumers together`(consumers: Int, floor: Duration) {
        #expect(CheckRateLimiter.step(for: consumers, from: .zero) == floor)
        guard floor > .zero, consumers <= 180_000 else { return }
        #expect(Double(consumers) / (floor / .seconds(1)) <= Double(CheckRateLimiter.mostPerSecond))
    }

    @Test(arguments: [
        (0, Duration.zero), (125, .zero), (2000, .seconds(2)), (10_000, .seconds(16)), (50_000, .seconds(64)),
    ])
    func `a consumer makes at most a thousand checks a second`(endpoints: Int, floor: Duration) {
        #expect(CheckRateLimiter.step(for: 1, endpoints, from: .zero) == floor)
        #expect(CheckRateLimiter.step(for: 1000, endpoints, from: .zero) == max(floor, .seconds(32)))
        if floor > .zero {
            #expect(Double(endpoints) / (floor / .seconds(1)) <= Double(CheckRateLimiter.mostOfConsumer))
        }
    }

    @Test func `with many endpoints the interval is long from the beginning, and short when they are gone`() {
        var (random, now) = (SystemRandomNumberGenerator(), ContinuousClock.now)
        var limiter = CheckRateLimiter()
        limiter.setEndpointCount(10_000, at: now, using: &random)
        let begun = limiter.applyDue(at: now)
        #expect(begun && limiter.minInterval == .seconds(16))
        limiter.setConsumerCount(2, at: now, using: &random)
        #expect(limiter.due == nil)
        limiter.setEndpointCount(100, at: now, using: &random)
        now += .seconds(800)
        let ended = limiter.applyDue(at: now)
        #expect(ended && limiter.minInterval == .zero)
    }

    @Test(
        arguments: [
            (100, Duration.seconds(4), Duration.seconds(4)), (81, .seconds(4), .seconds(4)),
            (80, .seconds(4), .seconds(2)), (101, .seconds(4), .seconds(4)), (201, .seconds(4), .seconds(8)),
            (10, .seconds(32), .milliseconds(500)), (1, .seconds(32), .zero),
        ])
    func `a shorter interval has to be enough for a quarter more`(consumers: Int, current: Duration, floor: Duration) {
        #expect(CheckRateLimiter.step(for: consumers, from: current) == floor)
    }

    @Test func `the first count counts at once, and later ones at a moment of one's own`() {
        var (random, now) = (SystemRandomNumberGenerator(), ContinuousClock.now)
        var limiter = CheckRateLimiter()
        limiter.setConsumerCount(150, at: now, using: &random)
        let step1 = limiter.applyDue(at: now)
        #expect(step1 && limiter.minInterval == .seconds(4))
        limiter.setConsumerCount(300, at: now, using: &random)
        let due = limiter.due
        now += .seconds(60)
        limiter.setConsumerCount(310, at: now, using: &random)
        #expect(limiter.due == due)
        #expect(due.map { $0 <= now + .seconds(120) } == true)
        now += .seconds(120)
        let step2 = limiter.applyDue(at: now)
        #expect(step2 && limiter.minInterval == .seconds(8))
        let step3 = limiter.applyDue(at: now)
        #expect(!step3 && limiter.due == nil)
    }

    @Test func `moments differ from consumer to consumer`() {
        var random = SystemRandomNumberGenerator()
        let now = ContinuousClock.now
        let moments = (0..<20).map { _ in
            var limiter = CheckRateLimiter(minInterval: .seconds(4))
            limiter.setConsumerCount(300, at: now, using: &random)
            return limiter.due
        }
        #expect(Set(moments).count == 20)
    }

    @Test func `a moment with fewer consumers changes nothing`() {
        var (random, now) = (SystemRandomNumberGenerator(), ContinuousClock.now)
        var limiter = CheckRateLimiter(minInterval: .seconds(32))
        for count in [10, 10, 1_000, 10] {
            limiter.setConsumerCount(count, at: now, using: &random)
            now += .seconds(300)
            let step4 = limiter.applyDue(at: now)
            #expect(!step4)
        }
        now += .seconds(480)
        let step5 = limiter.applyDue(at: now)
        #expect(step5 && limiter.minInterval == .milliseconds(500))
    }

    @Test func `what an earlier run knew goes on, and takes its time to change`() {
        var random = SystemRandomNumberGenerator()
        var limiter = CheckRateLimiter(minInterval: .seconds(32))
        #expect(limiter.minInterval == .seconds(32))
        limiter.setConsumerCount(2, at: .now, using: &random)
        let step6 = limiter.applyDue(at: .now)
        #expect(!step6)
    }

    @Test func `intervals are stretched, also those that somebody set, and a quick look stays quick`() throws {
        var check = try #require(ServerOptions().check)
        #expect(check.stretched(to: .zero) == check)
        #expect(check.stretched(to: .seconds(2)) == check)
        check.downInterval = .seconds(10)
        check.interval = .milliseconds(100)
        let stretched = check.stretched(to: .seconds(4))
        #expect(stretched.interval == .seconds(4) && stretched.downInterval == .seconds(10))
        #expect(stretched.fastInterval == .milliseconds(200))
        #expect(check.stretched(to: .seconds(32)).downInterval == nil)
    }

    @Test func `the plan has the stretched intervals, and services without a check have none`() {
        var host = HAProxySettings.sample.host
        host.minCheckInterval = .seconds(8)
        let registry = RegistryFixture([
            "web/1": "10.0.0.5:80", "db/1": "10.0.0.5:81", "db/config": #"{"check":"none"}"#,
        ])
        let checks = registry.plan(on: host).listeners.map { $0.servers.map(\.keywords.check?.interval) }
        #expect(checks == [[nil], [.seconds(8)]])
    }
}
