/// A program's settings and commands in tables, and what its command line and environment make of them.
package struct CommandLineParser: Sendable {
    /// What the program was asked to do.
    package enum Invocation: Sendable {
        case help
        case version
        case run(ParsedSettings)
        /// A command; nil where none is known by the name that was given, which the reading has recorded.
        case command(Command.Call?, ParsedSettings)
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
    /// Flags count before variables, those before other programs' variables, and those before defaults; an empty variable
    /// counts as unset. `--flag value` and
    /// `--flag=value` are the same; a value that begins with two dashes needs the latter. A command stands anywhere
    /// between flags, its operands behind it. Mistakes are collected in the reading, so that ``Reading/finish()``
    /// reports them together with those in the values. A request for help or the version is answered whatever else is
    /// wrong.
    package func parse(arguments: [String], environment: [String: String]) -> Invocation {
        if let request = arguments.lazy.compactMap(Self.request).first { return request }
        let line = ArgumentReader(settings: settings, commands: commands, arguments: arguments)
        var given: [Setting: ParsedSettings.RawValue] = [:]
        for (setting, value) in line.values {
            given[setting] = ParsedSettings.RawValue(name: setting.flag, text: value)
        }
        for setting in settings where given[setting] == nil {
            for variable in [Setting.Alternative(setting.variable)] + setting.alternatives {
                guard let value = environment[variable.variable], !value.isEmpty else { continue }
                given[setting] = ParsedSettings.RawValue(name: variable.variable, text: variable.prefix + value)
                break
            }
        }
        let reading = ParsedSettings(given: given, problems: line.problems, unusable: line.incomplete)
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

/// The flags of a command line with their values, its command, and everything in it that belongs to nothing.
struct ArgumentReader {
    /// What was given for each setting; `true` for a bare switch.
    private(set) var values: [Setting: String] = [:]
    /// The settings whose flag came without its value: nobody needs to hear in addition that they are not set.
    private(set) var incomplete: Set<Setting> = []
    /// The mistakes, in the order of the command line.
    private(set) var problems: [String] = []
    /// The command with its operands; nil where none is known by that name.
    private(set) var call: Command.Call?
    /// Whether a command was asked for, known or not.
    private(set) var isCommandMeant = false

    private let settings: [Setting]
    private let commands: [Command]
    private var command: Command?
    private var operands: [String] = []
    private var rest: ArraySlice<String>

    /// Reads all arguments.
    init(settings: [Setting], commands: [Command] = [], arguments: [String]) {
        self.settings = settings
        self.commands = commands
        rest = arguments[...]
        while let argument = rest.popFirst() {
            let named = commands.first { $0.name == argument }
            if let named, command == nil {
                command = named
            } else if argument.hasPrefix("-"), named == nil {
                readFlag(argument)
            } else if command != nil {
                operands.append(argument)
            } else {
                problems.append(stray(argument))
            }
        }
        finish()
    }

    /// Judges what can be judged only when everything is known.
    private mutating func finish() {
        for flag in values.keys.map(\.flag).sorted() where !settings.contains(where: { $0.flag == flag }) {
            if command?.flags.contains(where: { $0.flag == flag }) == true { continue }
            let owners = commands.filter { $0.flags.contains { $0.flag == flag } }.map(\.name)
            problems.append("\(flag) goes with \(owners.joined(separator: ", ")) only")
        }
        guard let command else { return }
        isCommandMeant = true
        call = Command.Call(command: command, operands: operands)
        if let missing = command.needed.dropFirst(operands.count).first {
            problems.append("\(command.name) needs a \(missing): \(command.usage)")
        } else if !command.isOpen, let extra = operands.dropFirst(command.operands.count).first {
            problems.append("\"\(extra.prefix { $0 != "=" })\" is not expected: \(command.usage)")
        }
    }

    /// The settings and the flags of all commands: which command counts may be known later.
    private var flags: [Setting] { settings + commands.flatMap(\.flags) }

    private mutating func readFlag(_ argument: String) {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let flag = String(parts.first ?? "")
        let attached = parts.count == 2 ? String(parts[1]) : nil
        guard let setting = flags.first(where: { $0.flag == flag }) else {
            problems.append(unknown(flag))
            // What follows is most likely its value; it may be a secret, and it is no second mistake.
            if attached == nil { _ = takeValue() }
            return
        }
        let value = attached ?? (setting.placeholder == nil ? "true" : takeValue())
        guard let value, !value.isEmpty else {
            incomplete.insert(setting)
            problems.append("\(flag) needs a value: \(setting.usage)")
            return
        }
        if values.updateValue(value, forKey: setting) != nil {
            problems.append("\(flag) is given more than once")
        }
    }

    /// The next argument, unless it is a flag.
    private mutating func takeValue() -> String? {
        guard let next = rest.first, !next.hasPrefix("--") else { return nil }
        return rest.popFirst()
    }

    private func unknown(_ flag: String) -> String {
        let known = flags.map(\.flag) + commands.map(\.name) + ["--help", "--version"]
        return "\(flag) is not a flag of this program" + Suggestion.text(for: flag, among: known)
    }

    /// An argument that belongs to nothing; a `NAME=value` is named without its value, which may be a secret.
    private mutating func stray(_ argument: String) -> String {
        let name = ParsedSettings.concealed(String(argument.prefix { $0 != "=" }))
        guard let setting = settings.first(where: { $0.variable == name }) else {
            guard !commands.isEmpty else {
                return "\"\(name)\" is not expected: settings are given as --flag value or in the environment"
            }
            isCommandMeant = true
            let names = commands.map(\.name).filter { !$0.hasPrefix("-") }
            return "\"\(name)\" is not a command of this program"
                + Suggestion.text(for: name, among: names)
        }
        return "\(name) is a variable: set it before the program's name, or use \(setting.usage)"
    }
}
