/// Whether the worker that serves answers at its socket, and since when it does not.
///
/// A worker that hangs, as one that was stopped by a signal does, still accepts its share of connections and serves none.
struct WorkerProbe: Sendable {
    /// What was found, each once.
    enum Finding: Equatable, Sendable {
        /// It did not answer in time.
        case silent
        /// It has not answered for too long.
        case hangs
        /// It answers as before.
        case answersAgain
    }

    private let patience: Duration
    private var silent: (worker: Int32, since: ContinuousClock.Instant)?

    /// Makes one that has not asked yet.
    init(patience: Duration) {
        self.patience = patience
    }

    /// Notes whether a worker that was asked at a time has answered by now.
    mutating func note(
        isSilent: Bool, _ worker: Int32, asked: ContinuousClock.Instant, at now: ContinuousClock.Instant
    ) -> Finding? {
        let before = silent.flatMap { $0.worker == worker ? $0 : nil }
        guard isSilent else {
            silent = nil
            return before == nil ? nil : .answersAgain
        }
        let since = before?.since ?? asked
        silent = (worker, since)
        guard before != nil else { return .silent }
        return since.duration(to: now) >= patience ? .hangs : nil
    }
}
