/// Limits how often entries are put back that somebody destroys again and again.
///
/// The first times are at once; then each waits longer than the one before, until it has been quiet for a while.
struct Contention: Equatable {
    private var count = 0
    private var last: ContinuousClock.Instant?
    private var pause = Duration.zero

    private static let free = 5
    private static let firstPause = Duration.milliseconds(100)
    private static let longestPause = Duration.seconds(5)
    private static let quiet = Duration.seconds(10)

    /// Whether waits have begun.
    var isHot: Bool { count > Self.free }

    /// Notes that something had to be put back.
    mutating func restored(at now: ContinuousClock.Instant) {
        if let last, now - last > Self.quiet + pause { (count, pause) = (0, .zero) }
        count += 1
        last = now
        if isHot { pause = min(max(pause * 2, Self.firstPause), Self.longestPause) }
    }

    /// How long to wait until the next look; nil where there is no need to.
    func wait(at now: ContinuousClock.Instant) -> Duration? {
        guard let last, now < last + pause else { return nil }
        return now.duration(to: last + pause)
    }
}
