import FoundationEssentials
import Glibc
import Shared

/// docker-discover: arguments, environment, signals and exit status; everything else is the agent's.
@main
struct Main {
    static func main() async {
        let environment = ProcessInfo.processInfo.environment
        let options = Options(
            program: "docker-discover",
            summary: "Balances connections with HAProxy over the services that etcd lists.",
            settings: DiscoverConfiguration.settings)
        switch options.parse(arguments: Array(CommandLine.arguments.dropFirst()), environment: environment) {
        case .help: print(options.help)
        case .version: print(Version.text(program: options.program))
        case .run(let reading): exit(await run(reading, options, environment))
        }
    }

    private static func run(_ reading: Reading, _ options: Options, _ environment: [String: String]) async -> Int32 {
        var reading = reading
        let configuration = DiscoverConfiguration(&reading)
        let logger = LogOptions.logger(from: &reading, environment: environment)
        do {
            try reading.finish()
        } catch {
            StandardError.write(error.text(program: options.program))
            return ExitStatus.wrongUsage
        }
        guard let configuration, let logger else { return ExitStatus.wrongUsage }
        let agent = DiscoverAgent(
            configuration: configuration, searchPath: environment["PATH"] ?? "", logger: logger)
        // The grace period is HAProxy's; what is left of the time is ours.
        return await Lifecycle.run(logger: logger, grace: configuration.stopGrace + .seconds(5)) {
            try await agent.run()
        }
    }
}
