import Shared

/// When a reload is due: soon after the last of several changes, and not too soon after the reload before.
///
/// Each reload leaves a worker with the connections that are open, so changes that come together share one, and the
/// more old workers there are, the longer it takes to the next.
struct ReloadThrottle: Sendable {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// How long nothing may have changed before a reload.
        var quiet: Duration = .milliseconds(20)
        /// The longest that changes may put a reload off.
        var patience: Duration = .milliseconds(200)
        /// The shortest from the end of one reload to the begin of the next; up to half as much is added at random.
        var interval: Duration = .milliseconds(250)
        /// How many old workers double it.
        var crowd = 8
        /// The longest that it becomes by this.
        var longest: Duration = .seconds(30)
    }

    /// A reload that is wanted.
    private struct Request {
        var mark: String
        let first: ContinuousClock.Instant
        var last: ContinuousClock.Instant
    }

    private let timing: Timing
    private var request: Request?
    private var earliest: ContinuousClock.Instant?

    /// Makes one that knows of no reload.
    init(_ timing: Timing = Timing()) {
        self.timing = timing
    }

    /// When the reload for the configuration with this mark is due.
    mutating func due(for mark: String, at now: ContinuousClock.Instant) -> ContinuousClock.Instant {
        var request = request ?? Request(mark: mark, first: now, last: now)
        if request.mark != mark { (request.mark, request.last) = (mark, now) }
        self.request = request
        let settled = min(request.last + timing.quiet, request.first + timing.patience)
        return earliest.map { max($0, settled) } ?? settled
    }

    /// Records that a reload was tried, and how many old workers there are.
    mutating func ended(at now: ContinuousClock.Instant, oldWorkers: Int) {
        request = nil
        let doublings = min(oldWorkers / timing.crowd, 16)
        let interval = min(timing.interval * (1 << doublings), timing.longest)
        earliest = now + interval * Double.random(in: 1...1.5)
    }

    /// Records that none is wanted any more.
    mutating func reset() {
        request = nil
    }
}

/// When an HAProxy that ended is started again: at once, unless it keeps ending soon after its start.
struct RestartBackoff {
    /// An HAProxy that served this long was healthy.
    static let healthy = Duration.seconds(10)

    private var backoff: Backoff
    private var started: ContinuousClock.Instant?
    private var hasFailedSoon = false

    /// When the next start is due; nil while nothing ended.
    private(set) var due: ContinuousClock.Instant?

    /// Makes one; `limit` is the longest wait.
    init(limit: Duration = .seconds(10)) {
        backoff = Backoff(first: .milliseconds(500), limit: limit)
    }

    /// Records a start.
    mutating func starts(at now: ContinuousClock.Instant) {
        started = now
        due = nil
    }

    /// Records an end.
    mutating func ended(at now: ContinuousClock.Instant) {
        if let started, started.duration(to: now) < Self.healthy {
            due = hasFailedSoon ? now + backoff.next() : now
            hasFailedSoon = true
        } else {
            backoff.reset()
            hasFailedSoon = false
            due = now
        }
    }
}
