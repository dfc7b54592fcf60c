import Shared

/// What the checks of a target have come to.
enum CheckVerdict: Equatable, Sendable {
    /// It has not passed yet.
    case pending
    /// It passes.
    case passing
    /// It fails, for this reason.
    case failing(CheckFailure)
}

/// The course of one target's checks: when the next one is due, and what follows from each result.
struct CheckCourse: Sendable {
    /// The time, which all of this is told.
    typealias Instant = ContinuousClock.Instant

    /// What they have come to.
    private(set) var verdict: CheckVerdict
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

    /// Begins the course.
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
        verdict = passes ? .passing : .pending
        due = passes ? now + target.interval * phase : now
    }

    /// Takes the result of a check; nil for a pass.
    ///
    /// - Returns: whether the verdict has changed.
    mutating func take(_ failure: CheckFailure?, now: Instant) -> Bool {
        let before = verdict
        if let failure {
            note(failure, now)
        } else {
            passes += 1
            (failures, last) = (0, nil)
            if passes >= rise { verdict = .passing }
        }
        if case .noAnswer = failure { isSlow = true } else { isSlow = false }
        setDue(now, isFirstPass: failure == nil && !hasPassed)
        hasPassed = hasPassed || failure == nil
        return verdict != before
    }

    private mutating func note(_ failure: CheckFailure, _ now: Instant) {
        passes = 0
        failures += 1
        last = (failure, last?.failure == failure ? (last?.count ?? 0) + 1 : 1)
        switch verdict {
        // What has just been started is given the time of `fall` intervals before it is said to fail.
        case .pending where now < began + interval * fall: break
        case .pending, .passing: if failures >= fall { verdict = .failing(failure) }
        // Another reason counts once it has lasted as long: two that alternate are not told again and again.
        case .failing: if let last, last.count >= fall { verdict = .failing(last.failure) }
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
