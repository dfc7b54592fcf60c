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

    /// Rings again and again until the task is cancelled.
    package func ring(_ reason: Reason, every interval: Duration) async throws {
        while true {
            try await Task.sleep(for: interval)
            ring(reason)
        }
    }
}
