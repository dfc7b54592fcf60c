import Glibc
import Shared

/// docker-register's commands, as they are called from a shell.
///
/// They ask the running agent. Where none answers, those that only ask find out the same from the engine and etcd.
struct RegisterCommands: Sendable {
    /// All of them, in the order of the help.
    static let all = [Questions.status, Questions.why, DryRun.command]

    /// The user's folder, where Docker's client keeps certificates.
    let home: String
    /// Where complaints go.
    let logger = Logger(level: .warning, format: .logfmt)

    /// The limit of one answer of the agent, which has it at hand.
    private static let patience = Duration.seconds(10)

    /// Why a command cannot be carried out.
    enum Failure: Error, Equatable {
        /// The agent's socket is there, but not for this account.
        case forbidden(path: String)
        /// libcurl does not work.
        case noHTTP
    }

    /// Carries a command out.
    ///
    /// - Returns: the exit status.
    func run(_ call: Command.Call, _ reading: Reading) async throws -> Int32 {
        if call.command == DryRun.command {
            for line in try DryRun.lines(try await examine(reading)) { print(line) }
            return ExitStatus.success
        }
        var reading = reading
        let line = Questions.line(call, &reading)
        if let answer = try await ask(line, reading) { return tell(answer) }
        return tell(Questions.answer(line, try await examine(reading).snapshot))
    }

    /// What the running agent answers; nil where there is none, which is told.
    private func ask(_ line: String, _ reading: Reading) async throws -> CommandAnswer? {
        var reading = reading
        guard let path = RegisterConfiguration.controlSocket(from: &reading) else {
            try reading.finish()
            return nil
        }
        let reason: String
        do {
            let wire = try await CommandSocket(path: path).send(line, deadline: Self.patience)
            if let answer = CommandAnswer(wire: wire) { return answer }
            reason = "what listens on \(path) does not answer"
        } catch let error as CommandSocket.Failure {
            if case .unreachable(let error) = error, error.code == EACCES { throw Failure.forbidden(path: path) }
            reason = error.description
        }
        StandardError.write("no docker-register runs here (\(reason)); asking the Docker Engine and etcd directly")
        return nil
    }

    /// Finds out from the engine and etcd what an agent would know.
    private func examine(_ reading: Reading) async throws -> Examination.Finding {
        var reading = reading
        let configuration = RegisterConfiguration(&reading, home: home)
        try reading.finish()
        guard let configuration, let http = HTTPClient() else { throw Failure.noHTTP }
        return try await Examination(configuration, http, logger: logger).find()
    }

    private func tell(_ answer: CommandAnswer) -> Int32 {
        if answer.status == ExitStatus.success {
            print(answer.text, terminator: "")
        } else {
            StandardError.write(answer.text.last == "\n" ? String(answer.text.dropLast()) : answer.text)
        }
        return answer.status
    }
}

extension RegisterCommands.Failure: CustomStringConvertible {
    /// One sentence for whoever asks.
    var description: String {
        switch self {
        case .forbidden(let path):
            "docker-register runs, but this account may not ask it at \(path); try it as root (sudo)"
        case .noHTTP: "libcurl cannot be started"
        }
    }
}
