import FoundationEssentials
import Glibc
import Shared

/// docker-discover: arguments, environment, signals and exit status; everything else is the agent's.
@main
enum Main {
    static func main() async {
        StandardError.keepPlaces()
        let environment = ProcessInfo.processInfo.environment
        let launch = ProgramMain(
            DiscoverSettings.options, arguments: CommandLine.arguments, environment: environment)
        let bell = Doorbell<DiscoverAgent.Reason>()
        let status = await launch.status(
            command: { try await DiscoverCommands(searchPath: environment["PATH"] ?? "").run($0, $1) },
            configure: { DiscoverSettings(&$0) },
            // The grace period is HAProxy's; what is left of the time is ours.
            grace: { $0.stopGrace + .seconds(5) },
            onHangup: { bell.ring(.hangup) },
            { settings, logger in
                let searchPath = environment["PATH"] ?? ""
                let agent = DiscoverAgent(
                    settings: settings, searchPath: searchPath, logger: logger, bell: bell)
                try await agent.run()
            })
        exit(status)
    }
}
