/// Something that is lost and found again, of which the log hears when that has lasted.
///
/// A loss is logged with the second failure in a row, or the first that is certain; a single failure that passes at once
/// is none. A return is logged at once. Where losses and returns alternate, the next return is logged when it has
/// lasted: until then everything is one outage.
package struct Outage<Cause: Sendable>: Sendable {
    /// What the present failures began with; nil while all is well.
    package private(set) var cause: Cause?
    /// Whether the log has heard of a loss, and of no return since.
    package private(set) var isLogged = false

    private let lasting: Duration
    private var failures = 0
    private var returns = 0
    private var wellSince: ContinuousClock.Instant?

    /// Begins with all being well.
    ///
    /// - Parameter lasting: from when on a return has lasted.
    package init(lasting: Duration = .seconds(5)) { self.lasting = lasting }

    /// Whether losses and returns alternate.
    package var isFlapping: Bool { returns > 1 }

    /// Records a failure.
    ///
    /// - Parameter isCertain: whether it is a loss already, such as an answer that did not come within its limit.
    /// - Returns: whether the loss is to be logged.
    package mutating func failed(
        _ cause: Cause, isCertain: Bool = false, at now: ContinuousClock.Instant = .now
    ) -> Bool {
        if hasLasted(at: now) { (failures, returns) = (0, 0) }
        wellSince = nil
        failures += 1
        self.cause = self.cause ?? cause
        guard !isLogged, isCertain || failures > 1 else { return false }
        isLogged = true
        return true
    }

    /// Records a success.
    ///
    /// - Returns: whether the return is to be logged.
    package mutating func succeeded(at now: ContinuousClock.Instant = .now) -> Bool {
        cause = nil
        if failures > 0, wellSince == nil {
            wellSince = now
            returns += 1
        }
        guard isLogged, !isFlapping || hasLasted(at: now) else { return false }
        isLogged = false
        return true
    }

    private func hasLasted(at now: ContinuousClock.Instant) -> Bool {
        wellSince.map { now - $0 > lasting } ?? false
    }
}

extension Outage: Equatable where Cause: Equatable {}
