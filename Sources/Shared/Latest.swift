import Synchronization

/// A place for the newest of a row of whole states: one task puts, another takes, and what nobody took is replaced.
package final class Latest<State: Sendable>: Sendable {
    private let newest = Mutex<State?>(nil)

    /// Makes an empty place.
    package init() {}

    /// Replaces what is there.
    package func put(_ state: State) {
        newest.withLock { $0 = state }
    }

    /// Takes what is there; nil where nothing was put since the last time.
    package func take() -> State? {
        newest.withLock { newest in
            defer { newest = nil }
            return newest
        }
    }
}
