import Testing

@testable import Discover

@Suite("RestartBackoff")
struct RestartBackoffTests {
    private let begin = ContinuousClock.now

    @Test func `an HAProxy that served for long is started at once, each time`() {
        var policy = RestartBackoff()
        for hour in 0..<3 {
            let now = begin + .seconds(3600 * hour)
            policy.starts(at: now)
            #expect(policy.due == nil)
            policy.ended(at: now + .seconds(600))
            #expect(policy.due == now + .seconds(600))
        }
    }

    @Test func `one that keeps ending soon is started more and more slowly`() throws {
        var policy = RestartBackoff(limit: .seconds(4))
        var now = begin
        var waits: [Duration] = []
        for _ in 0..<8 {
            policy.starts(at: now)
            now += .milliseconds(100)
            policy.ended(at: now)
            let due = try #require(policy.due)
            waits.append(now.duration(to: due))
            now = due
        }
        #expect(waits[0] == .zero)
        #expect(waits[1] > .zero && waits[1] <= .milliseconds(500))
        #expect(waits[7] >= .seconds(2) && waits[7] <= .seconds(4))
    }
}
