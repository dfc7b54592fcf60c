/// Something that fails for a while, of which the log hears twice: when that begins, and when it is over.
package struct Outage<Cause: Sendable>: Sendable {
    /// What it began with; nil while all is well.
    package private(set) var cause: Cause?

    /// Begins with all being well.
    package init() {}

    /// Records a failure.
    ///
    /// - Returns: whether the outage begins with it.
    package mutating func begin(_ cause: Cause) -> Bool {
        guard self.cause == nil else { return false }
        self.cause = cause
        return true
    }

    /// Records a success.
    ///
    /// - Returns: whether an outage ends with it.
    package mutating func end() -> Bool {
        defer { cause = nil }
        return cause != nil
    }
}

extension Outage: Equatable where Cause: Equatable {}
