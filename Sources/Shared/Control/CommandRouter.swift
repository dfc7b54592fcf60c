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
    ///
    /// - Parameter setting: the one that names another socket; nil where none does.
    package func server(at path: String, setting: String? = nil, _ logger: Logger) -> CommandServer? {
        do {
            return try CommandServer(path: path) { await answer($0) }
        } catch {
            logger.warning(
                "cannot listen on the control socket; commands will not find this agent",
                ["socket": path, "setting": setting, "error": "\(error)"])
            return nil
        }
    }
}

/// What people ask of the running agent that only its loop may do.
///
/// A request has two parts: the change, which the loop makes before it decides, and the response, which it gives once
/// what it has decided is applied.
package final class LoopQueue<State: ~Copyable>: Sendable {
    private typealias Respond = @Sendable (borrowing State) -> Void
    private typealias Change = @Sendable (inout State) -> Respond

    private struct Requests {
        /// Those that the loop has not seen.
        var waiting: [Change] = []
        /// The responses that are due when the loop has applied what it decided.
        var changed: [Respond] = []
    }

    private let requests = Mutex(Requests())
    private let ring: @Sendable () -> Void

    /// Makes an empty queue.
    ///
    /// - Parameter ring: wakes the loop.
    package init(ring: @escaping @Sendable () -> Void) { self.ring = ring }

    /// Has the loop change something, and waits for its response.
    ///
    /// - Parameters:
    ///   - limit: for the loop to come to the request and to apply it.
    ///   - response: takes the result of the change, and the state after it was applied.
    /// - Throws: ``DeadlineExceeded``; the loop goes on with it all the same.
    package func ask<Result: Sendable, Response: Sendable>(
        limit: Duration, change: @escaping @Sendable (inout State) -> Result,
        response: @escaping @Sendable (Result, borrowing State) -> Response
    ) async throws -> Response {
        let outcome = Future<Response>()
        requests.withLock { requests in
            requests.waiting.append { state in
                let result = change(&state)
                return { state in outcome.complete(response(result, state)) }
            }
        }
        ring()
        return try await withDeadline(limit) { try await outcome.get() }
    }

    /// Makes the changes that were asked for; the loop calls it before it decides.
    package func change(_ state: inout State) {
        let waiting = requests.withLock { requests in
            defer { requests.waiting = [] }
            return requests.waiting
        }
        let responses = waiting.map { $0(&state) }
        requests.withLock { $0.changed += responses }
    }

    /// Responds to those whose changes were made; the loop calls it when they are applied.
    package func respond(_ state: borrowing State) {
        let responses = requests.withLock { requests in
            defer { requests.changed = [] }
            return requests.changed
        }
        for respond in responses { respond(state) }
    }

    /// Whether nobody waits.
    package var isEmpty: Bool { requests.withLock { $0.waiting.isEmpty && $0.changed.isEmpty } }
}
