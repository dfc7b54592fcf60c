import Synchronization

/// What the running agent does for each command, by the command's name.
package struct CommandRouter: Sendable {
    /// Does what a command asks for; takes the words after its name.
    package typealias Handler = @Sendable (_ words: [String]) async -> CommandResponse

    private let handlers: [String: Handler]
    private let program: String

    /// Takes the handlers of a program.
    package init(of program: String, _ handlers: [String: Handler]) {
        self.program = program
        self.handlers = handlers
    }

    /// Answers one line.
    package func answer(_ line: String) async -> CommandResponse {
        let words = line.split(separator: " ").map(String.init)
        guard let name = words.first, let handler = handlers[name] else {
            let known = handlers.keys.sorted().joined(separator: ", ")
            return CommandResponse(
                status: ExitStatus.wrongUsage, "this \(program) (\(Version.current)) knows only: \(known)\n")
        }
        return await handler(Array(words.dropFirst()))
    }

    /// Where lines are answered; nil where that cannot be, which harms nothing else.
    package func server(at path: String, _ logger: Logger) -> CommandServer? {
        do {
            return try CommandServer(path: path) { await answer($0) }
        } catch {
            logger.warning("commands are not answered", ["socket": path, "error": "\(error)"])
            return nil
        }
    }
}

/// What people ask of the running agent that only its loop may do.
package final class LoopQueue<State: Sendable>: Sendable {
    /// One request.
    private struct Request: Sendable {
        /// Does it, on the state that the loop owns.
        let perform: @Sendable (inout State) -> CommandResponse
        /// What came of it.
        let answer = Future<CommandResponse>()
    }

    private let waiting = Mutex<[Request]>([])
    private let ring: @Sendable () -> Void
    private let limit: Duration
    private let program: String

    /// Makes an empty place.
    ///
    /// - Parameters:
    ///   - program: the agent's name, for an answer that it is busy.
    ///   - limit: for the loop to come to a request; a start or reload of HAProxy takes 10 s at most.
    ///   - ring: wakes the loop.
    package init(of program: String, limit: Duration = .seconds(20), ring: @escaping @Sendable () -> Void) {
        self.program = program
        self.ring = ring
        self.limit = limit
    }

    /// Has the loop do something, and waits for what came of it.
    package func ask(_ perform: @escaping @Sendable (inout State) -> CommandResponse) async -> CommandResponse {
        let request = Request(perform: perform)
        waiting.withLock { $0.append(request) }
        ring()
        let answer = try? await withDeadline(limit) { try await request.answer.get() }
        return answer ?? CommandResponse(status: ExitStatus.failure, "\(program) is busy; it will be done\n")
    }

    /// Does all that is asked for; the loop calls it.
    package func perform(on state: inout State) {
        let requests = waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        for request in requests { request.answer.complete(request.perform(&state)) }
    }
}
