import Glibc

/// The time of day as RFC 3339 writes it, in UTC, to the millisecond: `2026-07-31T12:34:56.789Z`.
package enum Timestamp {
    /// The time since the beginning of 1970, in UTC.
    package static func now() -> Duration {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    /// A time since the beginning of 1970 as text; earlier ones are that beginning.
    package static func text(_ sinceEpoch: Duration) -> String {
        let (seconds, attoseconds) = max(sinceEpoch, .zero).components
        var (time, parts) = unsafe (time_t(seconds), tm())
        unsafe gmtime_r(&time, &parts)
        var second = [CChar](repeating: 0, count: 32)
        let length = unsafe strftime(&second, second.count, "%FT%T", &parts)
        let milliseconds = String(attoseconds / 1_000_000_000_000_000)
        let text = String(decoding: second[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return "\(text).\(String(repeating: "0", count: 3 - milliseconds.utf8.count))\(milliseconds)Z"
    }
}

/// A clock that tells the time of day and never jumps while the program runs, whatever is done to the machine's.
package struct WallClock: Sendable {
    private let start = Timestamp.now()
    private let begin = ContinuousClock.now

    /// Takes the time of day of now.
    package init() {}

    /// The time since the beginning of 1970, in UTC.
    package var now: Duration { start + begin.duration(to: .now) }
}
