import Shared

/// docker-discover's commands, as they are called from a shell.
///
/// Those that ask are put to the running agent as one line. Where none answers, the same is found out from etcd, HAProxy
/// and the files in `STATE_DIR`.
struct DiscoverCommands: Sendable {
    /// All of them, in the order of the help.
    static let all = [
        StatusCommands.status, StatusCommands.why, PlanCommand.command, RenderCommand.command, release,
        OperatorCommands.route, OperatorCommands.config,
    ]

    /// Lets go of what is held.
    static let release = Command(
        "release", operands: ["[SERVICE]"],
        help: """
            Takes the endpoints out of service that are held although their entries were lost: those of one service, \
            or all.
            """)

    /// Where programs are looked for: PATH.
    let searchPath: String
    /// Where complaints go.
    let logger = Logger(level: .warning, format: .logfmt)

    /// How long the agent may take to answer.
    ///
    /// What waits for its loop waits for all that HAProxy may have to do just then; `plan` waits for etcd, and what only
    /// asks for HAProxy alone.
    private static func patience(for command: Command) -> Duration {
        switch command {
        case release: .seconds(30)
        case PlanCommand.command: .seconds(15)
        default: .seconds(10)
        }
    }

    /// Why a command was not carried out.
    enum Failure: Error, Equatable {
        /// No agent answers, and only one could do it.
        case nobody(String)
    }

    /// Carries a command out, and gives the exit status.
    func run(_ call: Command.Call, _ reading: ParsedSettings) async throws -> Int32 {
        var reading = reading
        if call.command == RenderCommand.command {
            return try await RenderCommand(&reading)?.run(searchPath: searchPath) ?? ExitStatus.wrongUsage
        }
        if [OperatorCommands.route, OperatorCommands.config].contains(call.command) {
            return try await OperatorCommands(call, &reading)?.run() ?? ExitStatus.wrongUsage
        }
        let directory = DiscoverSettings.directory(from: &reading)
        let line = StatusCommands.line(call, &reading)
        try reading.finish()
        guard let directory else { return ExitStatus.wrongUsage }
        let agent = ControlClient("docker-discover", at: directory.controlSocket)
        switch try await agent.ask(line, deadline: Self.patience(for: call.command)) {
        case .success(let answer): return answer.tell(answers: call.command.answers)
        case .failure(let absent):
            if call.command == Self.release { throw Failure.nobody(absent.description) }
            StandardError.write("\(absent.description); asking etcd and HAProxy directly")
        }
        return try await answer(call, line, reading).tell(answers: call.command.answers)
    }

    /// Answers without an agent.
    private func answer(_ call: Command.Call, _ line: String, _ reading: ParsedSettings) async throws -> CommandResponse
    {
        var reading = reading
        let configuration = DiscoverSettings(&reading)
        try reading.finish()
        guard let configuration else { return CommandResponse(status: ExitStatus.wrongUsage, "") }
        let snapshot = try await OfflineCollector(configuration, searchPath: searchPath, logger: logger).find()
        guard call.command != PlanCommand.command else { return await PlanCommand(snapshot).answer() }
        return await StatusCommands.answer(line.split(separator: " ").map(String.init), snapshot)
    }
}

extension Command {
    /// The exit statuses with which it has answered.
    fileprivate var answers: Set<Int32> {
        switch self {
        case StatusCommands.why: [ExitStatus.success, WhyReport.notRouted, WhyReport.unknown]
        case PlanCommand.command: [ExitStatus.success, ReconcilePlan.somethingToDo]
        default: [ExitStatus.success]
        }
    }
}

extension DiscoverCommands.Failure: CustomStringConvertible {
    /// One sentence for whoever asks.
    var description: String {
        switch self {
        case .nobody(let why): why
        }
    }
}

/// `release`: takes out of service what is held.
enum ReleaseCommand {
    /// Answers the command with the words after its name.
    static func answer(_ words: [String], _ requests: LoopQueue<Reconciler>) async -> CommandResponse {
        let service = words.first.flatMap { ServiceName($0) }
        if let word = words.first, service == nil {
            return CommandResponse(status: ExitStatus.wrongUsage, "\(word) is no service: \(ServiceName.grammar)\n")
        }
        let answer = try? await requests.ask(limit: limit) { reconciler in
            reconciler.release(service)
        } response: { released, _ in
            told(released, of: service)
        }
        return answer ?? CommandResponse(status: ExitStatus.failure, "docker-discover is busy; it will be done\n")
    }

    /// For the loop to come to it; a start or reload of HAProxy takes 10 s at most.
    private static let limit = Duration.seconds(20)

    /// What is said of holds that were ended.
    static func told(_ released: [HeldEndpoint], of service: ServiceName?) -> CommandResponse {
        guard !released.isEmpty else {
            return CommandResponse("nothing is held\(service.map { " of \($0)" } ?? "")\n")
        }
        let lines = released.sorted { $0.name < $1.name }.map { "released \($0.name) \($0.endpoint)\n" }
        return CommandResponse(lines.joined())
    }
}
