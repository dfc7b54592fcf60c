/// What `/healthz` on the stats listener answers, and how the worker learns it.
///
/// The worker keeps it in a table of one row. Without the row it answers 200: whatever a worker has loaded is what was
/// asked for last. With it, 200 needs a rate that only fades: docker-discover renews it, so that a worker nobody cares
/// for any more turns to 503 by itself.
struct HealthPage: Sendable {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// How long a change may wait for its turn before it counts as not done.
        var patience: Duration = .seconds(2)
        /// Between two renewals, by which a worker that hangs is noticed; ``lapse`` is far longer.
        var renewal: Duration = .seconds(5)
        /// Between two tries where the worker was not reached.
        var retry: Duration = .seconds(1)
    }

    /// The period of the rate, in seconds; a worker that is not told anything answers 503 after twice that at most.
    static let lapse = 30
    /// The section whose table it is, which is no service's.
    static let section = "-stats"
    private static let key = "applied"

    /// The lines of the section.
    static let lines = [
        "stick-table type string len 16 size 16 store gpc0,gpc0_rate(\(lapse)s),conn_cur",
        "monitor-uri /healthz",
        "monitor fail if { str(\(key)),table_gpc0(\(section)) gt 0 } { str(\(key)),table_gpc0_rate(\(section)) eq 0 }",
    ]

    /// The lines that have both answers say something besides; it has no character that HAProxy would take for syntax.
    static func lines(saying note: String) -> [String] {
        [200, 503].map { "http-error status \($0) content-type text/plain string '\(note)'" }
    }

    /// The command that has a worker answer 200, or 503.
    static func command(isWell: Bool) -> String {
        "set table \(section) key \(key) data.gpc0 1 data.gpc0_rate \(isWell ? 1000 : 0)"
    }

    private let timing: Timing
    private var isRefused = false
    private var waitsSince: ContinuousClock.Instant?
    private var told: (isWell: Bool, worker: Int32?)?
    private var renewal: ContinuousClock.Instant?

    /// Makes one that has told nothing; what runs counts as right until something else is known.
    init(_ timing: Timing = Timing()) {
        self.timing = timing
    }

    /// HAProxy runs what it should.
    mutating func reached() { (isRefused, waitsSince) = (false, nil) }

    /// HAProxy refuses what it should run, or cannot be asked.
    mutating func failed() { (isRefused, waitsSince) = (true, nil) }

    /// What HAProxy should run waits for its turn.
    mutating func waits(at now: ContinuousClock.Instant) { waitsSince = waitsSince ?? now }

    /// Whether HAProxy counts as running what it should.
    func isWell(at now: ContinuousClock.Instant) -> Bool {
        !isRefused && waitsSince.map { now < $0 + timing.patience } ?? true
    }

    /// What to tell a worker now; nil where it knows.
    func message(for worker: Int32?, at now: ContinuousClock.Instant) -> String? {
        let isWell = isWell(at: now)
        if let told, told == (isWell, worker), let renewal, renewal > now { return nil }
        return Self.command(isWell: isWell)
    }

    /// Notes that the worker was told, or could not be.
    mutating func noteTold(_ wasTold: Bool, to worker: Int32?, at now: ContinuousClock.Instant) {
        told = wasTold ? (isWell(at: now), worker) : nil
        renewal = now + (wasTold ? timing.renewal : timing.retry)
    }

    /// When to look again.
    func due(at now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        let lapse = waitsSince.map { $0 + timing.patience }.flatMap { $0 > now ? $0 : nil }
        return [renewal, lapse].compactMap(\.self).min()
    }
}
