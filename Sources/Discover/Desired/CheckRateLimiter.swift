import Shared

/// How far the intervals of health checks are stretched, so that all consumers together do not check one endpoint too
/// often.
///
/// HAProxy learns of another interval only by a reload. So there are few steps, a step back needs far fewer consumers
/// for a while, and each consumer takes a step at a moment of its own.
struct CheckRateLimiter: Equatable, Sendable {
    /// The most checks that an endpoint gets in a second, of all consumers together.
    static let mostPerSecond = 50

    /// The limits; tests shorten them.
    struct Timing: Equatable, Sendable {
        /// Within this a consumer takes a step, at a moment of its own.
        var spread: Duration = .seconds(180)
        /// For how long there have to be fewer consumers before the intervals become shorter again.
        var patience: Duration = .seconds(600)
    }

    /// A step that waits for its moment.
    private struct Step: Equatable {
        let minInterval: Duration
        let due: ContinuousClock.Instant
    }

    private let timing: Timing
    private var next: Step?
    private var isKnown: Bool

    /// The shortest interval between two checks of an endpoint by this consumer; zero for any.
    private(set) var minInterval: Duration

    /// Makes one.
    ///
    /// - Parameter minInterval: that of an earlier run; nil where none is known.
    init(minInterval: Duration? = nil, timing: Timing = Timing()) {
        self.timing = timing
        self.minInterval = minInterval ?? .zero
        isKnown = minInterval != nil
    }

    /// When a step is to be taken; nil for none.
    var due: ContinuousClock.Instant? { next?.due }

    /// Learns how many consumers there are.
    mutating func setConsumerCount(
        _ consumers: Int, at now: ContinuousClock.Instant, using random: inout some RandomNumberGenerator
    ) {
        let needed = Self.step(for: consumers, from: minInterval)
        guard needed != minInterval else {
            isKnown = true
            next = nil
            return
        }
        guard next?.minInterval != needed else { return }
        // What this consumer has just begun with nobody else does at the same moment.
        let wait =
            isKnown
            ? (needed < minInterval ? timing.patience : .zero) + timing.spread
                * Double.random(in: 0...1, using: &random)
            : .zero
        isKnown = true
        next = Step(minInterval: needed, due: now + wait)
    }

    /// Takes the step that is due; returns whether the interval is another one now.
    mutating func applyDue(at now: ContinuousClock.Instant) -> Bool {
        guard let step = next, step.due <= now else { return false }
        (minInterval, next) = (step.minInterval, nil)
        return true
    }

    /// The shortest interval that so many consumers need: a power of two seconds.
    ///
    /// Few consumers need none. A shorter interval than the one of now has to be enough for a quarter more of them.
    static func step(for consumers: Int, from current: Duration) -> Duration {
        // Nobody has a million.
        let consumers = min(max(consumers, 0), 1_000_000)
        let needed = interval(for: consumers)
        return needed < current ? min(current, interval(for: consumers + (consumers + 3) / 4)) : needed
    }

    private static func interval(for consumers: Int) -> Duration {
        let needed = Duration.seconds(1) * consumers / mostPerSecond
        guard needed > shortest else { return .zero }
        var step = shortest
        while step < needed, step < .seconds(3600) { step *= 2 }
        return step
    }

    /// No interval may be set that is shorter than 100 ms, so five consumers need no limit.
    private static let shortest = Duration.milliseconds(125)
}

extension ServerOptions.Check {
    /// The check with no interval below this one; a state that is changing is still looked at quickly.
    func stretched(to minInterval: Duration) -> ServerOptions.Check {
        var check = self
        check.interval = max(interval, minInterval)
        check.downInterval = downInterval.map { max($0, minInterval) }.flatMap { $0 == check.interval ? nil : $0 }
        return check
    }
}
