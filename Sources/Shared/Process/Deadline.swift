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
