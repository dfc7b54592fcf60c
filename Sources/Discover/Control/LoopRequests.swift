import Shared
import Synchronization

/// What people ask of the running agent that only its loop may do.
final class LoopRequests: Sendable {
    /// One request.
    struct Request: Sendable {
        /// Does it, on the state that the loop owns.
        let perform: @Sendable (inout ProxyKeeper) -> CommandAnswer
        /// What came of it.
        let answer = Promise<CommandAnswer>()
    }

    private let waiting = Mutex<[Request]>([])
    private let ring: @Sendable () -> Void
    private let limit: Duration

    /// Makes an empty place.
    ///
    /// - Parameters:
    ///   - limit: for the loop to come to a request; a start or reload of HAProxy takes 10 s at most.
    ///   - ring: wakes the loop.
    init(limit: Duration = .seconds(20), ring: @escaping @Sendable () -> Void) {
        self.ring = ring
        self.limit = limit
    }

    /// Has the loop do something, and waits for what came of it.
    func ask(_ perform: @escaping @Sendable (inout ProxyKeeper) -> CommandAnswer) async -> CommandAnswer {
        let request = Request(perform: perform)
        waiting.withLock { $0.append(request) }
        ring()
        let answer = try? await withDeadline(limit) { try await request.answer.get() }
        return answer ?? CommandAnswer(status: ExitStatus.failure, "docker-discover is busy; it will be done\n")
    }

    /// Does all that is asked for; the loop calls it.
    func perform(on keeper: inout ProxyKeeper) {
        let requests = waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        for request in requests { request.answer.fulfil(request.perform(&keeper)) }
    }
}
