import Shared

/// How far the intervals of health checks are stretched, so that all consumers together do not check one endpoint too
/// often, and one consumer does not spend its time on checks of many endpoints.
///
/// HAProxy learns of another interval only by a reload. So there are few steps, a step back needs far fewer consumers
/// or endpoints for a while, and each consumer takes a step at a moment of its own.
struct CheckRateLimiter: Equatable, Sendable {
    /// The most checks that an endpoint gets in a second, of all consumers together.
    static let mostPerSecond = 50
    /// The most checks that one consumer makes in a second.
    static let mostOfConsumer = 1000

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
    private let isRestored: Bool
    private var consumers: Int?
    private var endpoints: Int?

    /// The shortest interval between two checks of an endpoint by this consumer; zero for any.
    private(set) var minInterval: Duration

    /// Makes one.
    ///
    /// - Parameter minInterval: that of an earlier run; nil where none is known.
    init(minInterval: Duration? = nil, timing: Timing = Timing()) {
        self.timing = timing
        self.minInterval = minInterval ?? .zero
        isRestored = minInterval != nil
    }

    /// When a step is to be taken; nil for none.
    var due: ContinuousClock.Instant? { next?.due }

    /// Learns how many consumers there are.
    mutating func setConsumerCount(
        _ count: Int, at now: ContinuousClock.Instant, using random: inout some RandomNumberGenerator
    ) {
        let isFirst = consumers == nil
        consumers = count
        plan(isFirst: isFirst, at: now, using: &random)
    }

    /// Learns how many endpoints this consumer checks.
    mutating func setEndpointCount(
        _ count: Int, at now: ContinuousClock.Instant, using random: inout some RandomNumberGenerator
    ) {
        let isFirst = endpoints == nil
        endpoints = count
        plan(isFirst: isFirst, at: now, using: &random)
    }

    private mutating func plan(
        isFirst: Bool, at now: ContinuousClock.Instant, using random: inout some RandomNumberGenerator
    ) {
        let needed = Self.step(for: consumers ?? 0, endpoints ?? 0, from: minInterval)
        guard needed != minInterval else {
            next = nil
            return
        }
        guard next?.minInterval != needed else { return }
        // What this consumer has just begun with nobody else does at the same moment.
        let wait =
            isFirst && !isRestored
            ? .zero
            : (needed < minInterval ? timing.patience : .zero) + timing.spread
                * Double.random(in: 0...1, using: &random)
        next = Step(minInterval: needed, due: now + wait)
    }

    /// Takes the step that is due; returns whether the interval is another one now.
    mutating func applyDue(at now: ContinuousClock.Instant) -> Bool {
        guard let step = next, step.due <= now else { return false }
        (minInterval, next) = (step.minInterval, nil)
        return true
    }

    /// The shortest interval that so many consumers and endpoints need: a power of two seconds.
    ///
    /// Few need none. A shorter interval than the one of now has to be enough for a quarter more of them.
    static func step(for consumers: Int, _ endpoints: Int = 0, from current: Duration) -> Duration {
        // Nobody has a million.
        let counts = [consumers, endpoints].map { min(max($0, 0), 1_000_000) }
        let needed = interval(for: counts[0], counts[1])
        let more = counts.map { $0 + ($0 + 3) / 4 }
        return needed < current ? min(current, interval(for: more[0], more[1])) : needed
    }

    private static func interval(for consumers: Int, _ endpoints: Int) -> Duration {
        let needed = max(Duration.seconds(consumers) / mostPerSecond, Duration.seconds(endpoints) / mostOfConsumer)
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
