/// Which problems are known, so that each is reported when it appears and when it is gone, and never in between.
struct ProblemLog {
    /// What changed since the last look.
    struct Changes: Equatable {
        /// The problems that are new, in order.
        var appeared: [Problem]
        /// The problems that are no more, in order.
        var gone: [Problem]
    }

    private var known: [Problem: Problem] = [:]

    /// Takes the problems of now and returns how they differ from those of the last time.
    mutating func update(to problems: Set<Problem>) -> Changes {
        let current = Dictionary(problems.map { ($0.identity, $0) }) { first, _ in first }
        defer { known = current }
        return Changes(
            appeared: current.filter { known[$0.key] == nil }.values.sorted(),
            gone: known.filter { current[$0.key] == nil }.values.sorted()
        )
    }
}
