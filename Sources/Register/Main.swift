import FoundationEssentials
import Glibc
import Shared

/// The command `docker-register`.
@main
enum Main {
    /// Reads the settings and works until it is told to stop.
    static func main() async {
        exit(await status(Array(CommandLine.arguments.dropFirst()), ProcessInfo.processInfo.environment))
    }

    private static func status(_ arguments: [String], _ environment: [String: String]) async -> Int32 {
        let options = RegisterConfiguration.options
        switch options.parse(arguments: arguments, environment: environment) {
        case .help:
            print(options.help)
        case .version:
            print(Version.text(program: options.program))
        case .run(let reading):
            do {
                return await run(try RegisterConfiguration(reading, environment: environment))
            } catch {
                StandardError.write(error.text(program: options.program))
                return ExitStatus.wrongUsage
            }
        }
        return ExitStatus.success
    }

    private static func run(_ configuration: RegisterConfiguration) async -> Int32 {
        let logger = configuration.logger
        return await Lifecycle.run(logger: logger, grace: .seconds(5)) {
            guard let http = HTTPClient() else { throw HTTPError.broken("libcurl", reason: "it cannot be started") }
            var agent = try await RegisterAgent(configuration, http, logger: logger)
            try await agent.run()
        }
    }
}
