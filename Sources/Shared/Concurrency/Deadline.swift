import Synchronization

/// The work took longer than it was given.
package struct DeadlineExceeded: Error, Equatable, CustomStringConvertible {
    /// What it was given.
    package let limit: Duration

    /// Makes the error for a limit that has passed.
    package init(_ limit: Duration) {
        self.limit = limit
    }

    package var description: String { "no result within \(DurationText.text(limit))" }
}

/// Runs `work` and throws ``DeadlineExceeded`` if it has not ended within `limit`.
///
/// The work is then cancelled and waited for: it has to answer cancellation, as everything that awaits the outside
/// here does. When the caller is cancelled, so is the work, and its own result or error counts.
package func withDeadline<T: Sendable>(
    _ limit: Duration,
    _ work: @escaping @Sendable () async throws -> T
) async throws -> T {
    try await withThrowingTaskGroup(of: Race<T>.self) { group in
        defer { group.cancelAll() }
        group.addTask { .finished(try await work()) }
        group.addTask {
            do {
                try await Task.sleep(for: limit)
                return .expired
            } catch {
                return .calledOff
            }
        }
        while let first = try await group.next() {
            switch first {
            case .finished(let result): return result
            case .expired: throw DeadlineExceeded(limit)
            case .calledOff: continue
            }
        }
        throw CancellationError()
    }
}

/// What one of the two runners in ``withDeadline(_:_:)`` comes in with.
private enum Race<T: Sendable>: Sendable {
    case finished(T)
    case expired
    /// The caller was cancelled: the clock stops, and the work decides.
    case calledOff
}

/// A value that comes once, and that many may wait for.
package final class Future<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var waiting: [Int: CheckedContinuation<Value, any Error>] = [:]
        var count = 0
    }

    private let state = Mutex(State())

    /// Makes one without a value.
    package init() {}

    /// The value, once it is there.
    package var value: Value? { state.withLock { $0.value } }

    /// Gives the value to all who wait and will wait; a second value is ignored.
    package func complete(_ value: Value) {
        let waiting = state.withLock { state in
            guard state.value == nil else { return [Int: CheckedContinuation<Value, any Error>]() }
            state.value = value
            defer { state.waiting = [:] }
            return state.waiting
        }
        for continuation in waiting.values { continuation.resume(returning: value) }
    }

    /// Waits for the value; throws `CancellationError` when the waiting task is cancelled first.
    package func get() async throws -> Value {
        let number = state.withLock { state in
            state.count += 1
            return state.count
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { wait(number, $0) }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: number) }?.resume(throwing: CancellationError())
        }
    }

    private func wait(_ number: Int, _ continuation: CheckedContinuation<Value, any Error>) {
        let result: Result<Value, any Error>? = state.withLock { state in
            if let value = state.value { return .success(value) }
            // Looked up under the lock: a cancellation before this is seen here, and a later one finds the waiter.
            if Task.isCancelled { return .failure(CancellationError()) }
            state.waiting[number] = continuation
            return nil
        }
        if let result { continuation.resume(with: result) }
    }
}
