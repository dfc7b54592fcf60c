/// A program's settings and commands in tables, and what its command line and environment make of them.
package struct Options: Sendable {
    /// What the program was asked to do.
    package enum Invocation: Sendable {
        case help
        case version
        case run(Reading)
        /// A command; nil where none is known by the name that was given, which the reading has recorded.
        case command(Command.Call?, Reading)
    }

    /// The program's name.
    package let program: String
    /// What the program does, in a sentence.
    package let summary: String
    /// The settings, in the order in which they are explained.
    package let settings: [Setting]
    /// What else the program can be asked to do, in the order in which it is explained.
    package let commands: [Command]

    /// Makes the options of a program.
    package init(program: String, summary: String, settings: [Setting], commands: [Command] = []) {
        self.program = program
        self.summary = summary
        self.settings = settings
        self.commands = commands
    }

    /// Reads the command line (without the program's own name) and the environment.
    ///
    /// Flags count before variables, and those before defaults; an empty variable counts as unset. `--flag value` and
    /// `--flag=value` are the same; a value that begins with two dashes needs the latter. A command stands anywhere
    /// between flags, its operands behind it. Mistakes are collected in the reading, so that ``Reading/finish()``
    /// reports them together with those in the values. A request for help or the version is answered whatever else is
    /// wrong.
    package func parse(arguments: [String], environment: [String: String]) -> Invocation {
        if let request = arguments.lazy.compactMap(Self.request).first { return request }
        let line = CommandLineReader(settings: settings, commands: commands, arguments: arguments)
        var given: [Setting: Reading.Given] = [:]
        for (setting, value) in line.values { given[setting] = Reading.Given(name: setting.flag, text: value) }
        for setting in settings where given[setting] == nil {
            if let value = environment[setting.variable], !value.isEmpty {
                given[setting] = Reading.Given(name: setting.variable, text: value)
            }
        }
        let reading = Reading(given: given, problems: line.problems, unusable: line.incomplete)
        return line.isCommandMeant ? .command(line.call, reading) : .run(reading)
    }

    private static func request(_ argument: String) -> Invocation? {
        switch argument {
        case "--help", "-h": .help
        case "--version": .version
        default: nil
        }
    }
}
