import Glibc
import Shared

/// docker-discover's commands, as they are called from a shell: each is sent to the running agent as one line, its name
/// with the operands and flags, and its answer is printed.
struct DiscoverCommands: Sendable {
    /// All of them, in the order of the help.
    static let all = [release]

    /// Lets go of what is held.
    static let release = Command(
        "release", operands: ["[SERVICE]"],
        help: """
            Takes the endpoints out of service that are held although their entries were lost: those of one service, \
            or all.
            """)

    /// Longer than HAProxy takes for anything that the agent may be waiting for.
    private static let patience = Duration.seconds(30)

    /// Why a command was not carried out.
    enum Failure: Error, Equatable {
        /// No agent answers.
        case nobody(reason: String)
        /// The agent's socket is there, but not for this account.
        case forbidden(path: String)
    }

    /// Carries a command out, and gives the exit status.
    func run(_ call: Command.Call, _ reading: Reading) async throws -> Int32 {
        var reading = reading
        let directory = DiscoverConfiguration.directory(from: &reading)
        let flags = call.command.flags.filter { reading.isOn($0) }.map(\.flag)
        try reading.finish()
        guard let directory else { return ExitStatus.wrongUsage }
        let line = ([call.command.name] + call.operands + flags).joined(separator: " ")
        let answer = try await ask(line, at: directory.controlSocket)
        if answer.status == ExitStatus.success {
            print(answer.text, terminator: "")
        } else {
            StandardError.write(answer.text.last == "\n" ? String(answer.text.dropLast()) : answer.text)
        }
        return answer.status
    }

    private func ask(_ line: String, at path: String) async throws -> CommandAnswer {
        do {
            let wire = try await CommandSocket(path: path).send(line, deadline: Self.patience)
            guard let answer = CommandAnswer(wire: wire) else {
                throw Failure.nobody(reason: "what listens on \(path) does not answer")
            }
            return answer
        } catch let error as CommandSocket.Failure {
            if case .unreachable(let error) = error, error.code == EACCES { throw Failure.forbidden(path: path) }
            throw Failure.nobody(reason: error.description)
        }
    }
}

extension DiscoverCommands.Failure: CustomStringConvertible {
    /// One sentence for whoever asks.
    var description: String {
        switch self {
        case .nobody(let reason): "no docker-discover runs with this STATE_DIR (\(reason))"
        case .forbidden(let path):
            "docker-discover runs, but this account may not ask it at \(path); try it as root (sudo)"
        }
    }
}
