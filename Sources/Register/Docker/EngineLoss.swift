extension Docker {
    /// What the log is told of an engine that goes and comes: each once.
    ///
    /// An engine, or a proxy before it, that ends its streams of events soon after they began would be back at each of
    /// them. After the second one in a row it counts as lost until a stream has lasted.
    struct EngineLoss: Equatable {
        /// From when on a stream has lasted.
        let shortestStream: Duration
        /// Whether the engine counts as lost, which the log was told.
        private(set) var isLost = false
        /// The streams in a row that ended soon after a look.
        private var shortStreams = 0

        /// Begins with an engine that is there.
        init(shortestStream: Duration) { self.shortestStream = shortestStream }

        /// Whether the engine ends its streams again and again.
        var isFlapping: Bool { shortStreams > 1 }

        /// Says that a look has succeeded, in a stream that has lasted for `age` so far.
        ///
        /// - Returns: whether the log is to be told that the engine is back.
        mutating func looked(inStreamOf age: Duration) -> Bool {
            if age > shortestStream { shortStreams = 0 }
            guard isLost, !isFlapping else { return false }
            isLost = false
            return true
        }

        /// Says that a stream has ended, or that there was none.
        ///
        /// - Parameters:
        ///   - age: how long the stream lasted.
        ///   - hasLooked: whether a look succeeded in it.
        /// - Returns: whether the log is to be told that the engine is lost.
        mutating func ended(after age: Duration, hasLooked: Bool) -> Bool {
            if hasLooked, age > shortestStream {
                shortStreams = 0
                return false
            }
            if hasLooked { shortStreams += 1 }
            guard !isLost else { return false }
            isLost = true
            return true
        }
    }
}
