/// The way from a command to the agent that runs: one line over its control socket.
package struct ControlClient: Sendable {
    /// The agent's program, for messages.
    let program: String
    /// The path of its control socket.
    let path: String

    /// That no agent answers.
    package struct NotRunning: Error, Equatable {
        private let program: String
        /// Why.
        private let reason: String
        /// Whether something holds the socket, and only says nothing.
        private let isSilent: Bool

        /// Names the program, and why nobody can be asked.
        package init(_ program: String, reason: String, isSilent: Bool = false) {
            self.program = program
            self.reason = reason
            self.isSilent = isSilent
        }

        /// One sentence for whoever asks.
        package var description: String {
            isSilent ? "\(program) runs here and does not answer (\(reason))" : "no \(program) runs here (\(reason))"
        }
    }

    /// Why asking makes no sense.
    package enum Failure: Error, Equatable {
        /// The agent's socket is there, but not for this account.
        case forbidden(program: String, path: String)
    }

    /// The longest answer that is read: the status of 200 000 endpoints.
    private static let answerCap = 256 << 20

    /// Names the agent and its socket.
    package init(_ program: String, at path: String) {
        self.program = program
        self.path = path
    }

    /// What the running agent answers, within a limit.
    package func ask(_ line: String, deadline: Duration) async throws(Failure) -> Result<CommandResponse, NotRunning> {
        do {
            let wire = try await LineSocket(path: path).send(line, deadline: deadline, upTo: Self.answerCap)
            if let answer = CommandResponse(wire: wire) { return .success(answer) }
            return .failure(NotRunning(program, reason: "what listens on \(path) is something else", isSilent: true))
        } catch let error as LineSocket.Failure {
            switch error {
            case .unreachable(let cause) where cause.kind == .forbidden:
                throw .forbidden(program: program, path: path)
            case .unreachable, .timedOut:
                return .failure(NotRunning(program, reason: error.description, isSilent: error.isOfSomebody))
            }
        } catch {
            return .failure(NotRunning(program, reason: "\(error)"))
        }
    }
}

extension ControlClient.Failure: CustomStringConvertible {
    /// One sentence for whoever asks.
    package var description: String {
        switch self {
        case .forbidden(let program, let path):
            "\(program) runs, but this account may not ask it at \(path); try it as root (sudo)"
        }
    }
}

extension CommandResponse {
    /// Prints it and gives the command's exit status.
    ///
    /// - Parameter answers: the statuses with which the text is an answer; with others it says what went wrong.
    package func tell(answers: Set<Int32> = [ExitStatus.success]) -> Int32 {
        if answers.contains(status) {
            print(text, terminator: "")
        } else {
            StandardError.write(text.last == "\n" ? String(text.dropLast()) : text)
        }
        return status
    }
}

/// What an agent answers to a command: the command's exit status, and what it prints.
///
/// On the wire, the first line is the status in decimal and the rest is the text as it is.
package struct CommandResponse: Equatable, Sendable {
    /// The exit status of the command.
    package var status: Int32
    /// What it prints: on standard output where the status is 0, on standard error otherwise.
    package var text: String

    /// Makes an answer.
    package init(status: Int32 = ExitStatus.success, _ text: String) {
        self.status = status
        self.text = text
    }

    /// The answer as it is sent.
    var wire: String { "\(status)\n\(text)" }

    /// Parses what was sent; nil where no status stands in front.
    package init?(wire: String) {
        let parts = wire.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let status = Int32(parts[0]) else { return nil }
        self.init(status: status, String(parts[1]))
    }
}
