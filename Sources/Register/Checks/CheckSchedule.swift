/// Which checks run now, and which come next: many side by side, but no more than there is room for.
///
/// The one that has been due longest comes first. Targets that ran into their limit the last time share half of the
/// room, so that however many hang, they delay no other.
struct CheckSchedule: Sendable {
    /// A check that is to be made.
    struct Check: Equatable, Sendable {
        /// Tells its result from those of others.
        var number: Int
        /// What is checked.
        var target: CheckTarget
    }

    private struct Entry {
        var course: CheckCourse
        /// The number of its check that runs.
        var running: Int?
    }

    private struct Running {
        var target: CheckTarget
        var isSlow: Bool
    }

    private let room: Int
    private var entries: [CheckTarget: Entry] = [:]
    private var running: [Int: Running] = [:]
    private var count = 0
    /// When the next check is due that is not due yet; nil where that is to be found out.
    private var earliest: CheckCourse.Instant?
    /// Whether checks are due for which there was no room.
    private var isCrowded = false

    /// Begins with nothing to check.
    init(room: Int) { self.room = room }

    /// What the checks have come to.
    var verdicts: [CheckTarget: CheckVerdict] { entries.mapValues(\.course.verdict) }

    /// Makes these the targets, each with whether it counts as passing until its checks say otherwise.
    ///
    /// What is known of those that were targets before stays known.
    mutating func want(_ targets: [CheckTarget: Bool], now: CheckCourse.Instant, phase: () -> Double) {
        entries = entries.filter { targets[$0.key] != nil }
        for (target, passes) in targets where entries[target] == nil {
            entries[target] = Entry(course: CheckCourse(target, passes: passes, now: now, phase: phase()))
        }
        earliest = nil
    }

    /// The checks that begin now.
    mutating func begin(now: CheckCourse.Instant) -> [Check] {
        if !isCrowded, let earliest, earliest > now { return [] }
        let waiting = entries.filter { $0.value.running == nil && $0.value.course.due <= now }
            .sorted { $0.value.course.due < $1.value.course.due }
        var slowRoom = room / 2 - running.values.count(where: \.isSlow)
        var begun: [Check] = []
        for (target, entry) in waiting where running.count < room {
            if entry.course.isSlow {
                guard slowRoom > 0 else { continue }
                slowRoom -= 1
            }
            count += 1
            entries[target]?.running = count
            running[count] = Running(target: target, isSlow: entry.course.isSlow)
            begun.append(Check(number: count, target: target))
        }
        isCrowded = begun.count < waiting.count
        earliest = entries.values.filter { $0.running == nil && $0.course.due > now }.map(\.course.due).min()
        return begun
    }

    /// Takes the result of a check; nil for a pass.
    ///
    /// The result of one whose target has gone since counts for nothing, also where the same target is back.
    ///
    /// - Returns: whether a verdict has changed.
    mutating func end(_ number: Int, _ failure: CheckFailure?, now: CheckCourse.Instant) -> Bool {
        guard let target = running.removeValue(forKey: number)?.target, var entry = entries[target],
            entry.running == number
        else { return false }
        let isChanged = entry.course.take(failure, now: now)
        entry.running = nil
        entries[target] = entry
        if let known = earliest { earliest = min(known, entry.course.due) }
        return isChanged
    }

    /// When ``begin(now:)`` has something to do again, if no result and no new target comes before.
    var nextDue: CheckCourse.Instant? { earliest }
}
