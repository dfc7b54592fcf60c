/// One thing that a program can be told: by a flag, by an environment variable, or else its default.
///
/// The table of a program's settings is the one source of its parser, its `--help`, its messages and its README.
package struct Setting: Sendable, Hashable {
    /// The flag with its dashes, such as `--host-ip`.
    package let flag: String
    /// The environment variable, such as `HOST_IP`; empty for a command's own flag, which has none.
    package let variable: String
    /// Variables of other programs that count, in this order, where neither flag nor variable gives a value.
    package let alternatives: [Alternative]
    /// What stands for the value in `--help`, such as `ADDRESS`; nil for a switch, which takes no value.
    package let placeholder: String?
    /// The value that counts when neither flag nor variable gives one.
    package let fallback: String?
    /// What it does, in one or two plain sentences.
    package let help: String
    /// Whether its value must never be printed.
    package let isSecret: Bool
    /// Whether a command cannot do without it, as its usage then shows.
    package let isNeeded: Bool

    /// Describes a setting.
    package init(
        flag: String,
        variable: String = "",
        alternatives: [Alternative] = [],
        placeholder: String? = nil,
        fallback: String? = nil,
        help: String,
        isSecret: Bool = false,
        isNeeded: Bool = false
    ) {
        self.flag = flag
        self.variable = variable
        self.alternatives = alternatives
        self.placeholder = placeholder
        self.fallback = fallback
        self.help = help
        self.isSecret = isSecret
        self.isNeeded = isNeeded
    }

    /// Another program's variable that says the same.
    package struct Alternative: Sendable, Hashable {
        /// The variable.
        package let variable: String
        /// What stands before its value where that is this setting's.
        package let prefix: String
        /// Whether its value must never be printed.
        package let isSecret: Bool

        /// Describes a variable.
        package init(_ variable: String, prefix: String = "", isSecret: Bool = false) {
            (self.variable, self.prefix, self.isSecret) = (variable, prefix, isSecret)
        }
    }

    /// The variables whose values must never be printed.
    package var secretVariables: [String] {
        (isSecret ? [variable] : []) + alternatives.filter { isSecret || $0.isSecret }.map(\.variable)
    }

    /// The flag and what follows it.
    var usage: String {
        if let placeholder { flag + " " + placeholder } else { flag }
    }

    /// The default as it may be shown.
    var shownFallback: String? { isSecret ? nil : fallback }
}

/// Something that a program can be asked to do once, instead of what it does without a command.
package struct Command: Sendable, Hashable {
    /// The word that asks for it, such as `status`.
    ///
    /// A word with dashes, such as `--dry-run`, is one as well.
    package let name: String
    /// What stands for the words that follow it, such as `CONTAINER`; one in brackets, such as `[SERVICE]`, may be left
    /// out, and a last one with dots, such as `[FIELD=VALUE...]`, stands for any number.
    package let operands: [String]
    /// Flags that it alone knows, besides the program's settings; they have no variables.
    package let flags: [Setting]
    /// What it does, in one or two plain sentences.
    package let help: String

    /// Describes a command.
    package init(_ name: String, operands: [String] = [], flags: [Setting] = [], help: String) {
        self.name = name
        self.operands = operands
        self.flags = flags
        self.help = help
    }

    /// A command as it was asked for.
    package struct Call: Sendable, Equatable {
        /// Which command.
        package let command: Command
        /// As many as it needs, and those of the others that were given.
        package let operands: [String]
    }

    /// Whether the last operand stands for any number: `[FIELD=VALUE...]`.
    var isOpen: Bool { operands.last?.hasSuffix("...]") == true }

    /// The operands that may not be left out.
    var needed: [String] { operands.filter { !$0.hasPrefix("[") } }

    /// The command with what follows it.
    package var usage: String {
        ([name] + operands + flags.map { $0.isNeeded ? $0.usage : "[\($0.usage)]" }).joined(separator: " ")
    }
}

/// What is wrong with the way in which a program was started: all of it, one text each.
package struct UsageError: Error, Equatable {
    /// The mistakes, each beginning with the name of the setting that it concerns.
    package let problems: [String]

    /// Makes the error of these mistakes.
    package init(problems: [String]) {
        self.problems = problems
    }

    /// What to print on standard error before the exit with status 64.
    package func text(program: String) -> String {
        let lines = problems.map { "\(program): \($0)" }
        return (lines + ["Try '\(program) --help'."]).joined(separator: "\n")
    }
}
