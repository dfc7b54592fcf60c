/// From a command line to an exit status, the same for both agents.
package struct ProgramMain: Sendable {
    private let options: CommandLineParser
    private let arguments: [String]
    private let environment: [String: String]

    /// Takes the program's options and what it was started with; `arguments` begin with the program's name.
    package init(_ options: CommandLineParser, arguments: [String], environment: [String: String]) {
        self.options = options
        self.arguments = Array(arguments.dropFirst())
        self.environment = environment
    }

    /// Answers `--help` and `--version`; otherwise reads the settings and runs `body` under ``Lifecycle``.
    ///
    /// - Parameters:
    ///   - command: does what a command asks for, and gives the exit status. It reads of the settings what it needs;
    ///     a mistake in those is a ``UsageError``.
    ///   - configure: makes the configuration; nil where something is wrong, which the reading has recorded.
    ///   - grace: how long the body may take to end after a signal.
    ///   - onHangup: called at SIGHUP; must only ring or set something.
    /// - Returns: the exit status.
    package func status<Configuration: Sendable>(
        command: @Sendable (Command.Call, ParsedSettings) async throws -> Int32 = { _, _ in ExitStatus.wrongUsage },
        configure: @Sendable (inout ParsedSettings) -> Configuration?, grace: @Sendable (Configuration) -> Duration,
        onHangup: (@Sendable () -> Void)? = nil,
        _ body: @escaping @Sendable (Configuration, Logger) async throws -> Void
    ) async -> Int32 {
        switch options.parse(arguments: arguments, environment: environment) {
        case .help: print(options.help)
        case .version: print(Version.text(program: options.program))
        case .command(let call, let reading):
            do {
                try reading.finish()
                if let call { return try await command(call, reading) }
                return ExitStatus.wrongUsage
            } catch {
                return fail(error)
            }
        case .run(var reading):
            let configuration = configure(&reading)
            let logger = LogSettings.logger(from: &reading, environment: environment)
            do {
                try reading.finish()
            } catch {
                return fail(error)
            }
            guard let configuration, let logger else { return ExitStatus.wrongUsage }
            MallocTuning.apply()
            return await Lifecycle.run(logger: logger, grace: grace(configuration), onHangup: onHangup) {
                try await body(configuration, logger)
            }
        }
        return ExitStatus.success
    }

    private func fail(_ error: any Error) -> Int32 {
        if let error = error as? UsageError {
            StandardError.write(error.text(program: options.program))
            return ExitStatus.wrongUsage
        }
        StandardError.write("\(options.program): \(error)")
        return ExitStatus.failure
    }
}
