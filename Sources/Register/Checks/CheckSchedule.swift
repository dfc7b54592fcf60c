import Shared

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
        var state: CheckState
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
    private var earliest: CheckState.Instant?
    /// Whether checks are due for which there was no room.
    private var isCrowded = false

    /// Begins with nothing to check.
    init(room: Int) { self.room = room }

    /// The results of the checks.
    var results: [CheckTarget: CheckResult] { entries.mapValues(\.state.result) }

    /// Makes these the targets, each with whether it counts as passing until its checks say otherwise.
    ///
    /// What is known of those that were targets before stays known.
    mutating func watch(_ targets: [CheckTarget: Bool], now: CheckState.Instant, phase: () -> Double) {
        entries = entries.filter { targets[$0.key] != nil }
        for (target, passes) in targets where entries[target] == nil {
            entries[target] = Entry(state: CheckState(target, passes: passes, now: now, phase: phase()))
        }
        earliest = nil
    }

    /// The checks that begin now.
    mutating func begin(now: CheckState.Instant) -> [Check] {
        if !isCrowded, let earliest, earliest > now { return [] }
        let waiting = entries.filter { $0.value.running == nil && $0.value.state.due <= now }
            .sorted { $0.value.state.due < $1.value.state.due }
        var slowRoom = room / 2 - running.values.count(where: \.isSlow)
        var begun: [Check] = []
        for (target, entry) in waiting where running.count < room {
            if entry.state.isSlow {
                guard slowRoom > 0 else { continue }
                slowRoom -= 1
            }
            count += 1
            entries[target]?.running = count
            running[count] = Running(target: target, isSlow: entry.state.isSlow)
            begun.append(Check(number: count, target: target))
        }
        isCrowded = begun.count < waiting.count
        earliest = entries.values.filter { $0.running == nil && $0.state.due > now }.map(\.state.due).min()
        return begun
    }

    /// Records the result of a check; nil for a pass.
    ///
    /// The result of one whose target has gone since counts for nothing, also where the same target is back.
    ///
    /// - Returns: whether a result has changed.
    mutating func end(_ number: Int, _ failure: CheckFailure?, now: CheckState.Instant) -> Bool {
        guard let target = running.removeValue(forKey: number)?.target, var entry = entries[target],
            entry.running == number
        else { return false }
        let isChanged = entry.state.record(failure, now: now)
        entry.running = nil
        entries[target] = entry
        if let known = earliest { earliest = min(known, entry.state.due) }
        return isChanged
    }

    /// When ``begin(now:)`` has something to do again, if no result and no new target comes before.
    var nextDue: CheckState.Instant? { earliest }
}

/// The result of a target's checks.
enum CheckResult: Equatable, Sendable {
    /// It has not passed yet.
    case pending
    /// It passes.
    case passing
    /// It fails, for this reason.
    case failing(CheckFailure)
}

/// The state of one target's checks: when the next one is due, and what follows from each result.
struct CheckState: Sendable {
    /// The time, which is an argument of all of this.
    typealias Instant = ContinuousClock.Instant

    /// Their result.
    private(set) var result: CheckResult
    /// When the next one begins.
    private(set) var due: Instant
    /// Whether the last one ran into its limit, so that the next one may hold its place as long.
    private(set) var isSlow = false

    private let interval: Duration
    private let rise: Int
    private let fall: Int
    private let began: Instant
    private let phase: Double
    private var hasPassed: Bool
    private var passes = 0
    private var failures = 0
    /// The last failure, and how often it came in a row.
    private var last: (failure: CheckFailure, count: Int)?

    /// The shortest wait before a first pass.
    private static let shortest = Duration.milliseconds(100)

    /// Begins the state.
    ///
    /// - Parameters:
    ///   - passes: whether it counts as passing until its checks say otherwise. Then there is no hurry; else the first
    ///     check is due at once.
    ///   - phase: above 0 and at most 1: where within its interval it is checked, so that many targets are spread.
    init(_ target: CheckTarget, passes: Bool, now: Instant, phase: Double) {
        interval = target.interval
        rise = target.rise
        fall = target.fall
        began = now
        self.phase = phase
        hasPassed = passes
        result = passes ? .passing : .pending
        due = passes ? now + target.interval * phase : now
    }

    /// Records the result of a check; nil for a pass.
    ///
    /// - Returns: whether the result has changed.
    mutating func record(_ failure: CheckFailure?, now: Instant) -> Bool {
        let before = result
        if let failure {
            recordFailure(failure, now)
        } else {
            passes += 1
            (failures, last) = (0, nil)
            if passes >= rise { result = .passing }
        }
        if case .noAnswer = failure { isSlow = true } else { isSlow = false }
        setDue(now, isFirstPass: failure == nil && !hasPassed)
        hasPassed = hasPassed || failure == nil
        return result != before
    }

    private mutating func recordFailure(_ failure: CheckFailure, _ now: Instant) {
        passes = 0
        failures += 1
        last = (failure, last?.failure == failure ? (last?.count ?? 0) + 1 : 1)
        switch result {
        // What has just been started is given the time of `fall` intervals before it is said to fail.
        case .pending where now < began + interval * fall: break
        case .pending, .passing: if failures >= fall { result = .failing(failure) }
        // Another reason counts once it has lasted as long: two that alternate are not told again and again.
        case .failing: if let last, last.count >= fall { result = .failing(last.failure) }
        }
    }

    /// Before the first pass the waits grow with the time that it has been tried for, to a quarter of it; afterwards
    /// they are the interval.
    private mutating func setDue(_ now: Instant, isFirstPass: Bool) {
        if isFirstPass {
            due = now + interval * phase
        } else if hasPassed {
            // From when it was due and not from now, so that what is spread stays so.
            due += interval
            if due < now { due = now + interval }
        } else {
            due = now + min(interval, max(Self.shortest, (now - began) / 4))
        }
    }
}
