import Testing

@testable import Discover

@Suite("Reload pace")
struct ReloadThrottleTests {
    private let start = ContinuousClock.now

    @Test func `a reload comes soon after the last change, however many there are`() {
        var pace = ReloadThrottle()
        #expect(pace.due(for: "a", at: start) == start + .milliseconds(20))
        #expect(pace.due(for: "a", at: start + .milliseconds(15)) == start + .milliseconds(20))
        #expect(pace.due(for: "b", at: start + .milliseconds(15)) == start + .milliseconds(35))
        var due = start
        for number in 1...50 { due = pace.due(for: "\(number)", at: start + .milliseconds(10 * number)) }
        #expect(due == start + .milliseconds(200))
    }

    @Test func `the next one keeps a distance that differs from time to time`() {
        let waits = (0..<200).map { _ in
            var pace = ReloadThrottle()
            _ = pace.due(for: "a", at: start)
            pace.ended(at: start, oldWorkers: 7)
            return start.duration(to: pace.due(for: "b", at: start))
        }
        #expect(waits.allSatisfy { (.milliseconds(250)...(.milliseconds(375))).contains($0) })
        #expect(Set(waits).count > 100)
    }

    @Test(arguments: [(0, 250), (8, 500), (23, 1000), (40, 8000), (64, 30_000), (1_000_000, 30_000)])
    func `old workers that pile up put the next one off`(oldWorkers: Int, milliseconds: Int) {
        var pace = ReloadThrottle()
        pace.ended(at: start, oldWorkers: oldWorkers)
        let least = Duration.milliseconds(milliseconds)
        #expect((least...(least * 1.5)).contains(start.duration(to: pace.due(for: "b", at: start))))
    }

    @Test func `a later reload waits for quiet like the first one`() {
        var pace = ReloadThrottle()
        _ = pace.due(for: "a", at: start)
        pace.ended(at: start + .milliseconds(100), oldWorkers: 0)
        let later = start + .seconds(10)
        #expect(pace.due(for: "b", at: later) == later + .milliseconds(20))
        #expect(pace.due(for: "c", at: later + .milliseconds(15)) == later + .milliseconds(35))
    }

    @Test func `a request that was given up leaves nothing`() {
        var pace = ReloadThrottle()
        _ = pace.due(for: "a", at: start)
        pace.reset()
        #expect(pace.due(for: "a", at: start + .seconds(1)) == start + .seconds(1) + .milliseconds(20))
    }
}
