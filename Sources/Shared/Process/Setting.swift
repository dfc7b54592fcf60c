/// One thing that a program can be told: by a flag, by an environment variable, or else its default.
///
/// The table of a program's settings is the one source of its parser, its `--help`, its messages and its README.
package struct Setting: Sendable, Hashable {
    /// The flag with its dashes, such as `--host-ip`.
    package let flag: String
    /// The environment variable, such as `HOST_IP`; empty for a command's own flag, which has none.
    package let variable: String
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
        placeholder: String? = nil,
        fallback: String? = nil,
        help: String,
        isSecret: Bool = false,
        isNeeded: Bool = false
    ) {
        self.flag = flag
        self.variable = variable
        self.placeholder = placeholder
        self.fallback = fallback
        self.help = help
        self.isSecret = isSecret
        self.isNeeded = isNeeded
    }

    /// The flag and what follows it.
    var usage: String {
        if let placeholder { flag + " " + placeholder } else { flag }
    }

    /// The default as it may be shown.
    var shownFallback: String? { isSecret ? nil : fallback }
}
