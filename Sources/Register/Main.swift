import FoundationEssentials
import Glibc
import Shared

/// docker-register: arguments, environment, signals and exit status; everything else is the agent's.
@main
enum Main {
    static func main() async {
        StandardError.keepPlaces()
        let environment = ProcessInfo.processInfo.environment
        let launch = ProgramMain(
            RegisterSettings.options, arguments: CommandLine.arguments, environment: environment)
        let bell = Doorbell<RegisterAgent.Reason>()
        let commands = RegisterCommands(home: environment["HOME"] ?? "")
        let status = await launch.status(
            command: { try await commands.run($0, $1) },
            configure: { RegisterSettings(&$0, home: environment["HOME"] ?? "") }, grace: { _ in .seconds(5) },
            onHangup: { bell.ring(.hangup) },
            { configuration, logger in
                guard let http = HTTPClient() else { throw HTTPError.broken("libcurl", reason: "it cannot be started") }
                var agent = try await RegisterAgent(configuration, http, bell, logger: logger)
                try await agent.run()
            })
        exit(status)
    }
}
