import Shared

/// When an HAProxy that ended is started again: at once, unless it keeps ending soon after its start.
struct RestartPolicy {
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

    /// Notes a start.
    mutating func starts(at now: ContinuousClock.Instant) {
        started = now
        due = nil
    }

    /// Notes an end.
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
