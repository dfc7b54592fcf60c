import Synchronization

/// A bell that several tasks ring and one loop answers.
///
/// Rings say only why to look again; they carry no data, so rings of one reason that the loop has not answered yet
/// become one. Nothing is queued and nothing blocks.
package final class Doorbell<Reason: Hashable & Sendable>: Sendable {
    private let pending = Mutex<Set<Reason>>([])
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    /// Makes a bell that nobody has rung.
    package init() {
        (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Rings for `reason`.
    ///
    /// Callable from any task or thread.
    package func ring(_ reason: Reason) {
        pending.withLock { _ = $0.insert(reason) }
        continuation.yield()
    }

    /// Waits for a ring and takes all reasons that have come up; nil when the waiting task is cancelled.
    ///
    /// One task only may wait.
    package func answer() async -> Set<Reason>? {
        for await _ in stream {
            let reasons = pending.withLock { waiting in
                defer { waiting = [] }
                return waiting
            }
            if !reasons.isEmpty {
                return reasons
            }
        }
        return nil
    }

    /// Rings once after a wait, unless the task that it returns is cancelled before.
    package func ring(_ reason: Reason, in wait: Duration) -> Task<Void, any Error> {
        Task {
            try await Task.sleep(for: wait)
            ring(reason)
        }
    }

    /// Rings again and again until the task is cancelled.
    package func ring(_ reason: Reason, every interval: Duration) async throws {
        while true {
            try await Task.sleep(for: interval)
            ring(reason)
        }
    }
}

/// A place for the newest of a row of whole states: one task puts, another takes, and what nobody took is replaced.
package final class LatestValue<State: Sendable>: Sendable {
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

/// A notice board: one task puts up the newest whole state, and any other reads it without waiting for the first.
package final class SharedSnapshot<State: Sendable>: Sendable {
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
