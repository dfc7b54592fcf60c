/// Something that a program can be asked to do once, instead of what it does without a command.
package struct Command: Sendable, Hashable {
    /// The word that asks for it, such as `status`.
    ///
    /// A word with dashes, such as `--dry-run`, is one as well.
    package let name: String
    /// What stands for the words that follow it, such as `CONTAINER`; one in brackets, such as `[SERVICE]`, may be left
    /// out.
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

    /// The operands that may not be left out.
    var needed: [String] { operands.filter { !$0.hasPrefix("[") } }

    /// The command with what follows it.
    package var usage: String {
        ([name] + operands + flags.map { $0.isNeeded ? $0.usage : "[\($0.usage)]" }).joined(separator: " ")
    }
}
