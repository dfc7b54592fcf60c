/// How long to wait before the next try: longer after each failure, never longer than a limit, and never for all
/// agents at the same moment.
///
/// Each wait is drawn at random from the upper half of a span that grows by a factor with each call, so that agents
/// that lost the same etcd together do not come back together. It never gives up; `reset()` on the first sign of life.
package struct Backoff: Sendable {
    private let first: Duration
    private let limit: Duration
    private let factor: Double
    private var span: Duration

    /// Makes a back-off whose first wait is at most `first` and whose longest is `limit`.
    ///
    /// Values that would make it useless are put right: waits are at least a millisecond, so that a loop never spins,
    /// and the factor lies between 1 and 10.
    package init(first: Duration, limit: Duration, factor: Double = 2) {
        self.first = max(first, .milliseconds(1))
        self.limit = max(limit, self.first)
        self.factor = factor.isNaN ? 2 : min(max(factor, 1), 10)
        span = self.first
    }

    /// The next wait: between half the present span and all of it.
    package mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
        let wait = span * Double.random(in: 0.5...1, using: &generator)
        // At the limit it stays there, so the product never runs away however often this is called.
        span = span < limit ? min(span * factor, limit) : limit
        return min(wait, limit)
    }

    /// The next wait, drawn with the system's random numbers.
    package mutating func next() -> Duration {
        var generator = SystemRandomNumberGenerator()
        return next(using: &generator)
    }

    /// Begins anew with the first wait: call it on the first useful message.
    package mutating func reset() {
        span = first
    }
}
