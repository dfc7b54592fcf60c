import Shared
import Testing

@testable import Register

@Suite("Course of checks")
struct CheckStateTests {
    private typealias Fixture = CheckFixture

    /// Feeds results, one at each due time: `+` a pass, `r` refused, `u` status 503.
    private func verdicts(_ results: String, rise: Int = 1, fall: Int = 3, passes: Bool = false) -> [CheckResult] {
        var course = CheckState(
            Fixture.target(rise: rise, fall: fall), passes: passes, now: Fixture.start, phase: 1)
        return results.map { result in
            let failure: CheckFailure? = result == "+" ? nil : result == "r" ? Fixture.refused : Fixture.unavailable
            let before = course.result
            let isChanged = course.record(failure, now: course.due)
            #expect(isChanged == (course.result != before))
            return course.result
        }
    }

    private func text(_ verdicts: [CheckResult]) -> String {
        String(
            verdicts.map { verdict in
                switch verdict {
                case .pending: "."
                case .passing: "P"
                case .failing(let failure): failure == Fixture.refused ? "R" : "U"
                }
            })
    }

    @Test(arguments: [
        // The first pass registers; a failure or two change nothing, and a pass between them begins anew.
        ("+", 1, 3, "P"), ("r+", 1, 3, ".P"), ("+rr+rr", 1, 3, "PPPPPP"), ("+rrr", 1, 3, "PPPR"),
        ("+rrr+", 1, 3, "PPPRP"), ("+r", 1, 1, "PR"), ("+r+r", 1, 1, "PRPR"),
        // Several passes are needed, in a row.
        ("++", 2, 3, ".P"), ("+r+r++", 2, 3, ".....P"), ("+++rrr++", 2, 3, ".PPPPRRP"), ("+++", 3, 1, "..P"),
        // The reason is that of the failure which decided; another one has to last as long.
        ("+rru", 1, 3, "PPPU"), ("+rrruu", 1, 3, "PPPRRR"), ("+rrruuu", 1, 3, "PPPRRRU"),
        ("+rrrurur", 1, 3, "PPPRRRRR"), ("+rurur", 1, 1, "PRURUR"),
    ])
    func `passes and failures in a row decide`(results: String, rise: Int, fall: Int, expected: String) {
        #expect(text(verdicts(results, rise: rise, fall: fall)) == expected)
    }

    @Test(arguments: [("+", "P"), ("rr+", "PPP"), ("rrr", "PPR"), ("rrr+", "PPRP")])
    func `what was registered before stays registered until it has failed often enough`(
        results: String, expected: String
    ) {
        #expect(text(verdicts(results, passes: true)) == expected)
    }

    @Test func `before its first pass it is said to fail only after the time of its failures`() {
        var course = CheckState(Fixture.target(), passes: false, now: Fixture.start, phase: 1)
        var count = 0
        while course.due < Fixture.start + .seconds(6) {
            let isChanged = course.record(Fixture.refused, now: course.due)
            #expect(!isChanged)
            count += 1
        }
        #expect(count > 10)
        _ = course.record(Fixture.refused, now: course.due)
        #expect(course.result == .failing(Fixture.refused))
    }

    @Test func `before its first pass it is checked at once, soon again, and then ever less often`() {
        var course = CheckState(Fixture.target(), passes: false, now: Fixture.start, phase: 0.5)
        #expect(course.due == Fixture.start)
        var waits: [Duration] = []
        for _ in 0..<40 {
            let now = course.due
            _ = course.record(Fixture.refused, now: now)
            waits.append(now.duration(to: course.due))
        }
        #expect(waits.prefix(4).allSatisfy { $0 == .milliseconds(100) })
        #expect(waits == waits.sorted())
        #expect(waits.last == .seconds(2))
        // Never later than a quarter of the time that it took to come up.
        let ups: [Duration] = [.milliseconds(300), .seconds(1), .seconds(5)]
        for up in ups {
            var course = CheckState(Fixture.target(), passes: false, now: Fixture.start, phase: 0.5)
            while course.due < Fixture.start + up { _ = course.record(Fixture.refused, now: course.due) }
            #expect(Fixture.start.duration(to: course.due) <= max(up * 1.25, up + .milliseconds(100)))
        }
    }

    @Test func `after its first pass it is checked at its own place in each interval`() {
        var course = CheckState(Fixture.target(), passes: false, now: Fixture.start, phase: 0.25)
        let times: [Duration] = [.milliseconds(500), .milliseconds(2500), .milliseconds(4500), .milliseconds(6500)]
        for (time, failure) in zip(times, [nil, nil, Fixture.refused, nil]) {
            // Results come late, each by another time.
            _ = course.record(
                failure, now: course.due + .milliseconds(Int.random(in: 0...200)) * (failure == nil ? 0 : 1))
            #expect(Fixture.start.duration(to: course.due) == time)
        }
        let standing = CheckState(Fixture.target(), passes: true, now: Fixture.start, phase: 0.25)
        #expect(standing.due == Fixture.start + .milliseconds(500))
    }

    @Test func `one that takes longer than its interval is not checked without a pause`() {
        var course = CheckState(Fixture.target(), passes: true, now: Fixture.start, phase: 1)
        let late = course.due + .seconds(7)
        _ = course.record(Fixture.hangs, now: late)
        #expect(course.due == late + .seconds(2))
        #expect(course.isSlow)
        _ = course.record(nil, now: course.due)
        #expect(!course.isSlow)
    }
}
