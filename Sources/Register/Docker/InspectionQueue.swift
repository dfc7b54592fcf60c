extension Docker {
    /// Which containers are inspected now, and which come next.
    ///
    /// Some are inspected side by side. One that takes long holds up no other: it does not count among them any more,
    /// and what the others have given is not kept back for it.
    struct InspectionQueue {
        /// After which time an inspection takes long; the engine answers within a few milliseconds.
        static let patience = Duration.milliseconds(50)
        /// How many are inspected side by side, besides those that take long.
        private static let sideBySide = 8
        /// How many are at most, with those.
        private static let most = 256

        private var waiting: Set<String> = []
        private var running: [String: ContinuousClock.Instant] = [:]
        /// Those of which something new is known since their inspection began.
        private var outdated: Set<String> = []

        /// Those that run or wait.
        var ids: Set<String> { waiting.union(running.keys) }

        /// Adds what is to be inspected, also those that are just being inspected; only `known` ones still matter.
        mutating func add(_ ids: Set<String>, of known: some Sequence<String>) {
            outdated.formUnion(ids.filter { running[$0] != nil })
            waiting = waiting.union(ids.filter { running[$0] == nil }).intersection(known)
        }

        /// The inspections that begin now.
        mutating func begin(now: ContinuousClock.Instant) -> [String] {
            let room = min(Self.sideBySide - running.values.count { !isLate($0, now) }, Self.most - running.count)
            let next = waiting.sorted().prefix(max(0, room))
            for id in next { running[id] = now }
            waiting.subtract(next)
            return Array(next)
        }

        /// Says that an inspection has ended.
        mutating func end(_ id: String) {
            running[id] = nil
            if outdated.remove(id) != nil { waiting.insert(id) }
        }

        /// Whether all have ended but those that take long.
        func isSettled(now: ContinuousClock.Instant) -> Bool {
            waiting.isEmpty && running.values.allSatisfy { isLate($0, now) }
        }

        private func isLate(_ begin: ContinuousClock.Instant, _ now: ContinuousClock.Instant) -> Bool {
            now - begin >= Self.patience
        }
    }
}
