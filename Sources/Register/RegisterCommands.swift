import Shared

/// docker-register's commands, as they are called from a shell.
///
/// They ask the running agent. Where none answers, those that only ask find out the same from the engine and etcd.
struct RegisterCommands: Sendable {
    /// All of them, in the order of the help.
    static let all =
        [
            StatusCommands.status, StatusCommands.why, DrainCommands.drain, DrainCommands.undrain,
        ] + PlanCommand.all

    /// The user's folder, where Docker's client keeps certificates.
    let home: String
    /// Where complaints go.
    let logger = Logger(level: .warning, format: .logfmt)

    /// The limit of one answer of the agent, which has it at hand.
    private static let patience = Duration.seconds(10)

    /// Why a command cannot be carried out.
    enum Failure: Error, Equatable {
        /// No container can be called so.
        case noName(String)
        /// libcurl does not work.
        case noHTTP
    }

    /// Carries a command out.
    ///
    /// - Returns: the exit status.
    func run(_ call: Command.Call, _ reading: ParsedSettings) async throws -> Int32 {
        if PlanCommand.all.contains(call.command) {
            for line in try PlanCommand.lines(try await collect(reading)) { print(line) }
            return ExitStatus.success
        }
        var reading = reading
        if let text = call.operands.first(where: { !Self.mayNameContainer($0) }) { throw Failure.noName(text) }
        if DrainCommands.all.contains(call.command) { return try await drain(call, &reading).tell() }
        let line = StatusCommands.line(call, &reading)
        switch try await ask(line, reading, Self.patience) {
        case .success(let answer): return answer.tell()
        case .failure(let absent):
            StandardError.write("\(absent.description); asking the Docker Engine and etcd directly")
        }
        let snapshot = try await collect(reading)
        let router = CommandRouter(of: RegisterSettings.options.program, StatusCommands.handlers { snapshot })
        return await router.answer(line).tell()
    }

    /// Whether a container may have that name, or an id that begins so.
    ///
    /// The agent is asked by a line of words, so a name with a blank would be taken for two.
    private static func mayNameContainer(_ text: String) -> Bool {
        let others = Set("/._-".utf8)
        return (1...longestName).contains(text.utf8.count)
            && text.utf8.allSatisfy { NameGrammar.isLetterOrDigit($0) || others.contains($0) }
    }

    /// In bytes; the engine itself sets no limit.
    private static let longestName = 1024

    /// Has the agent drain a container; only an agent that runs can keep it drained.
    private func drain(_ call: Command.Call, _ reading: inout ParsedSettings) async throws -> CommandResponse {
        let (line, patience) = try DrainCommands.line(call, &reading)
        switch try await ask(line, reading, patience) {
        case .success(let answer): return answer
        case .failure(let absent): return CommandResponse(status: ExitStatus.failure, "\(absent.description)\n")
        }
    }

    /// What the running agent answers.
    private func ask(
        _ line: String, _ reading: ParsedSettings, _ patience: Duration
    ) async throws -> Result<CommandResponse, ControlClient.NotRunning> {
        var reading = reading
        guard let path = RegisterSettings.controlSocket(from: &reading) else {
            try reading.finish()
            return .failure(ControlClient.NotRunning("docker-register", reason: "no socket is named"))
        }
        return try await ControlClient("docker-register", at: path).ask(line, deadline: patience)
    }

    /// Finds out from the engine and etcd what an agent would know.
    private func collect(_ reading: ParsedSettings) async throws -> Snapshot {
        var reading = reading
        let configuration = RegisterSettings(&reading, home: home)
        try reading.finish()
        guard let configuration, let http = HTTPClient() else { throw Failure.noHTTP }
        return try await OfflineCollector(configuration, http, logger: logger).snapshot()
    }
}

extension RegisterCommands.Failure: CustomStringConvertible {
    /// One sentence for the person who asks.
    var description: String {
        switch self {
        case .noName(let text):
            "no container has the name or id \"\(OneLine.text(String(text.prefix(100))))\""
        case .noHTTP: "libcurl cannot be started"
        }
    }
}
