/// Which problems are known, so that each is reported when it appears and when it is gone, and never in between.
struct ProblemLog {
    /// What changed since the last look.
    struct Changes: Equatable {
        /// The problems that are new, in order.
        var appeared: [Problem]
        /// The problems that are no more, in order.
        var gone: [Problem]
    }

    private var known: Set<Problem> = []

    /// Takes the problems of now and returns how they differ from those of the last time.
    mutating func update(to current: Set<Problem>) -> Changes {
        defer { known = current }
        return Changes(
            appeared: current.subtracting(known).sorted(),
            gone: known.subtracting(current).sorted()
        )
    }
}
