import Shared
import Testing

@testable import Register

@Suite("Schedule of checks")
struct CheckScheduleTests {
    private typealias Fixture = CheckFixture

    private func schedule(_ targets: [CheckTarget], passes: Bool = false, room: Int = 64) -> CheckSchedule {
        var schedule = CheckSchedule(room: room)
        want(targets, passes: passes, at: .zero, &schedule)
        return schedule
    }

    private func want(
        _ targets: [CheckTarget], passes: Bool = false, at time: Duration, _ schedule: inout CheckSchedule
    ) {
        schedule.watch(
            Dictionary(uniqueKeysWithValues: targets.map { ($0, passes) }), now: Fixture.start + time, phase: { 0.5 })
    }

    private func begin(_ schedule: inout CheckSchedule, at time: Duration) -> [CheckSchedule.Check] {
        schedule.begin(now: Fixture.start + time)
    }

    private func pass(_ check: CheckSchedule.Check, _ schedule: inout CheckSchedule, at time: Duration) -> Bool {
        schedule.end(check.number, nil, now: Fixture.start + time)
    }

    @Test func `a new target is checked at once and once at a time`() throws {
        let target = Fixture.target()
        var schedule = schedule([target])
        let check = try #require(begin(&schedule, at: .zero).first)
        #expect(check.target == target)
        #expect(schedule.results == [target: .pending])
        #expect(begin(&schedule, at: .seconds(60)) == [])
        #expect(pass(check, &schedule, at: .zero))
        #expect(schedule.results == [target: .passing])
        #expect(schedule.nextDue == nil)
        #expect(begin(&schedule, at: .zero) == [])
        #expect(schedule.nextDue == Fixture.start + .seconds(1))
        #expect(begin(&schedule, at: .seconds(1)).map(\.target) == [target])
    }

    @Test func `what is known of a target stays when others come and go`() throws {
        let (first, second) = (Fixture.target(1), Fixture.target(2))
        var schedule = schedule([first])
        let check = try #require(begin(&schedule, at: .zero).first)
        #expect(pass(check, &schedule, at: .zero))
        want([first, second], at: .milliseconds(10), &schedule)
        #expect(schedule.results == [first: .passing, second: .pending])
        #expect(begin(&schedule, at: .milliseconds(10)).map(\.target) == [second])
        want([second], at: .milliseconds(20), &schedule)
        #expect(schedule.results == [second: .pending])
    }

    @Test func `a result that comes after its target has gone counts for nothing, also where it is back`() throws {
        let target = Fixture.target()
        var schedule = schedule([target])
        let old = try #require(begin(&schedule, at: .zero).first)
        want([], at: .seconds(1), &schedule)
        want([target], at: .seconds(2), &schedule)
        let new = try #require(begin(&schedule, at: .seconds(2)).first)
        #expect(!pass(old, &schedule, at: .seconds(2)))
        #expect(schedule.results == [target: .pending])
        #expect(!pass(old, &schedule, at: .seconds(2)))
        #expect(pass(new, &schedule, at: .seconds(3)))
        #expect(schedule.results == [target: .passing])
    }

    @Test func `no more run than there is room for, and those that wait longest come first`() {
        var schedule = schedule((0..<10).map { Fixture.target($0) }, room: 4)
        want((0..<20).map { Fixture.target($0) }, at: .milliseconds(1), &schedule)
        let now = Fixture.start + .milliseconds(2)
        var running = schedule.begin(now: now)
        #expect(running.count == 4)
        #expect(begin(&schedule, at: Fixture.start.duration(to: now)) == [])
        var done: [CheckTarget] = []
        while let check = running.first {
            running.removeFirst()
            done.append(check.target)
            _ = schedule.end(check.number, nil, now: now)
            let next = schedule.begin(now: now)
            running += next
            #expect(running.count <= 4)
        }
        #expect(Set(done).count == 20 && done.count == 20)
        #expect(Set(done.prefix(10)) == Set((0..<10).map { Fixture.target($0) }))
    }

    @Test func `however many hang, they delay no other`() {
        let hanging = (0..<200).map { Fixture.target($0, interval: .milliseconds(100), timeout: .seconds(60)) }
        let well = Fixture.target(1000)
        var schedule = schedule(hanging, room: 8)
        // Each has hung once.
        var now = Fixture.start
        var hung = 0
        while hung < 200 {
            for check in schedule.begin(now: now) {
                _ = schedule.end(check.number, Fixture.hangs, now: now)
                hung += 1
            }
            now += .milliseconds(1)
        }
        now += .seconds(100)
        #expect(begin(&schedule, at: Fixture.start.duration(to: now)).count == 4)
        #expect(begin(&schedule, at: Fixture.start.duration(to: now)) == [])
        want(hanging + [well], at: Fixture.start.duration(to: now), &schedule)
        let check = schedule.begin(now: now)
        #expect(check.map(\.target) == [well])
        _ = check.map { schedule.end($0.number, nil, now: now) }
        #expect(begin(&schedule, at: Fixture.start.duration(to: now)) == [])
        // The clock that wakes the next one is set although others wait for room.
        #expect(schedule.nextDue == now + .seconds(1))
        #expect(begin(&schedule, at: Fixture.start.duration(to: now) + .seconds(1)).map(\.target) == [well])
    }
}
