import Shared

/// Sees to servers that are no longer wanted: removes those without connections, and cuts the connections of those whose
/// time is over.
struct DrainMonitor {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// How long open connections to a server that is no longer wanted may go on.
        var limit: Duration = .seconds(600)
        /// The first wait for these connections; it grows up to ``longestPause``.
        var firstPause: Duration = .milliseconds(50)
        /// The longest between two looks at them.
        var longestPause: Duration = .seconds(2)
    }

    /// The most servers that are removed at a time, each by a connection of its own, while all else waits.
    private static let mostRemoved = 1000

    private let runtime: RuntimeAPI
    private let logger: Logger
    private var backoff: Backoff
    private var due: ContinuousClock.Instant?

    /// Has nothing to see to yet.
    init(_ runtime: RuntimeAPI, logger: Logger, timing: Timing) {
        self.runtime = runtime
        self.logger = logger
        backoff = Backoff(first: timing.firstPause, limit: timing.longestPause)
    }

    /// Servers were drained: most of them have no connection a moment later.
    mutating func begin() {
        backoff.reset()
        due = .now + backoff.next()
    }

    /// Looks after the servers that are leaving, if it is time.
    ///
    /// - Returns: when to look again; nil where none is left.
    mutating func step(_ running: inout RunningConfig) async -> Duration? {
        if let due, due > .now { return ContinuousClock.now.duration(to: due) }
        do {
            try await finish(&running)
        } catch {
            logger.debug("cannot read the connections of drained servers", ["error": "\(error)"])
        }
        let pause = backoff.next()
        due = .now + pause
        return running.leaving.isEmpty ? nil : pause
    }

    private func finish(_ running: inout RunningConfig) async throws {
        let open = try await runtime.connections(of: Set(running.leaving.keys.map(\.service)).sorted())
        let (overdue, idle) = running.leavers(open, at: .now)
        for name in overdue {
            logger.info("closing connections to a removed endpoint", ["server": name, "open": open["\(name)"]])
        }
        try await runtime.run(overdue.map { .cut($0) })
        for name in try await runtime.remove(Array(idle.prefix(Self.mostRemoved))) { running.remove(name) }
    }
}
