import Shared
import Testing

@Suite("Loop queue", .timeLimit(.minutes(1)))
struct LoopQueueTests {
    /// A loop's state that cannot be copied, as that of docker-register.
    private struct State: ~Copyable {
        var changes: [String] = []
        var applied = 0
    }

    @Test func `a request is changed before the decision, and responded to only when that is applied`() async throws {
        let bell = Doorbell<Int>()
        let queue = LoopQueue<State> { bell.ring(1) }
        var state = State()
        #expect(queue.isEmpty)
        async let response = queue.ask(limit: .seconds(20)) { state in
            state.changes.append("one")
            return state.changes.count
        } response: { count, state in
            "\(count) changed, \(state.applied) applied"
        }
        #expect(await bell.answer() == [1])
        queue.change(&state)
        #expect(state.changes == ["one"])
        // It failed to apply that; the next turn changes nothing twice.
        queue.change(&state)
        #expect(state.changes == ["one"] && !queue.isEmpty)
        state.applied = 7
        queue.respond(state)
        #expect(try await response == "1 changed, 7 applied")
        #expect(queue.isEmpty)
    }

    @Test func `what comes after the change waits for the next turn`() async throws {
        let bell = Doorbell<Int>()
        let queue = LoopQueue<State> { bell.ring(1) }
        var state = State()
        queue.change(&state)
        async let response = queue.ask(limit: .seconds(20)) {
            $0.changes.append("late")
        } response: { _, state in
            state.changes
        }
        _ = await bell.answer()
        queue.respond(state)
        #expect(!queue.isEmpty)
        queue.change(&state)
        queue.respond(state)
        #expect(try await response == ["late"])
    }

    @Test func `a loop that does not come to a request is waited for no longer than the limit, and does it later`()
        async throws
    {
        let queue = LoopQueue<State> {}
        await #expect(throws: DeadlineExceeded.self) {
            try await queue.ask(limit: .milliseconds(20)) {
                $0.changes.append("late")
            } response: { _, _ in
                ()
            }
        }
        var state = State()
        queue.change(&state)
        #expect(state.changes == ["late"])
    }
}
