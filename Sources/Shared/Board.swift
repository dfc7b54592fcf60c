import Synchronization

/// A notice board: one task puts up the newest whole state, and any other reads it without waiting for the first.
package final class Board<State: Sendable>: Sendable {
    private let newest: Mutex<State>

    /// Puts up a first state.
    package init(_ state: State) {
        newest = Mutex(state)
    }

    /// Replaces what is there.
    package func put(_ state: State) {
        newest.withLock { $0 = state }
    }

    /// What is there.
    package func read() -> State { newest.withLock { $0 } }
}
