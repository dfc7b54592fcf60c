import Glibc

/// The time of day as RFC 3339 writes it, in UTC, to the millisecond: `2026-07-31T12:34:56.789Z`.
package enum Timestamp {
    private static let secondsOfDay: Int64 = 86_400

    /// The time since the beginning of 1970, in UTC.
    package static func now() -> Duration {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    /// A time since the beginning of 1970 as text.
    package static func text(_ sinceEpoch: Duration) -> String {
        let (seconds, attoseconds) = sinceEpoch.components
        let total = max(seconds, 0)
        let (year, month, day) = date(daysSinceEpoch: total / secondsOfDay)
        let second = total % secondsOfDay
        let clock = [second / 3_600, second / 60 % 60, second % 60].map { digits($0, 2) }.joined(separator: ":")
        let milliseconds = max(attoseconds, 0) / 1_000_000_000_000_000
        return "\(digits(year, 4))-\(digits(month, 2))-\(digits(day, 2))T\(clock).\(digits(milliseconds, 3))Z"
    }

    /// The civil date of a day.
    ///
    /// https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    private static func date(daysSinceEpoch: Int64) -> (year: Int64, month: Int64, day: Int64) {
        // Counted from 0000-03-01, so that the leap day is the last of its year.
        let days = daysSinceEpoch + 719_468
        let era = days / 146_097
        let dayOfEra = days % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    private static func digits(_ number: Int64, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(width - text.utf8.count, 0)) + text
    }
}

/// A clock that tells the time of day and never jumps while the program runs, whatever is done to the machine's.
package struct SteadyClock: Sendable {
    private let start = Timestamp.now()
    private let begin = ContinuousClock.now

    /// Takes the time of day of now.
    package init() {}

    /// The time since the beginning of 1970, in UTC.
    package var now: Duration { start + begin.duration(to: .now) }
}
