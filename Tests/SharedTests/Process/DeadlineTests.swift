import Shared
import Synchronization
import Testing

@Suite("Deadline", .timeLimit(.minutes(1)))
struct DeadlineTests {
    @Test func `work that ends in time gives its result`() async throws {
        #expect(try await withDeadline(.seconds(30)) { 7 } == 7)
        #expect(try await withDeadline(.seconds(30)) { nil as Int? } == nil)
    }

    @Test func `work that fails gives its own error`() async {
        await #expect(throws: Failure.self) { try await withDeadline(.seconds(30)) { throw Failure() } }
    }

    @Test func `work that takes too long is cancelled and the limit is named`() async {
        let cancelled = Mutex(false)
        await #expect(throws: DeadlineExceeded(.milliseconds(20))) {
            try await withDeadline(.milliseconds(20)) {
                do {
                    try await Task.sleep(for: .seconds(3_600))
                } catch {
                    cancelled.withLock { $0 = true }
                    throw error
                }
            }
        }
        #expect(cancelled.withLock { $0 })
    }

    @Test func `a cancelled caller cancels the work and gets its error`() async {
        let task = Task {
            try await withDeadline(.seconds(3_600)) { try await Task.sleep(for: .seconds(3_600)) }
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func `a cancelled caller still gets what the work makes of it`() async throws {
        let task = Task {
            try await withDeadline(.seconds(3_600)) {
                try? await Task.sleep(for: .seconds(3_600))
                return "cleaned up"
            }
        }
        task.cancel()
        #expect(try await task.value == "cleaned up")
    }
}

private struct Failure: Error {}
