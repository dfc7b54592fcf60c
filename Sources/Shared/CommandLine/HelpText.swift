extension CommandLineParser {
    private static let width = 90

    /// What `--help` prints: each flag with its variable and its default, and what it says.
    package var help: String {
        var lines = wrapped(summary, indent: 0)
        lines += ["", "Usage: \(program)\(commands.isEmpty ? "" : " [COMMAND]") [--flag value]...", ""]
        for command in commands {
            lines.append("  \(command.usage)")
            lines += wrapped(command.help, indent: 6)
            for flag in command.flags { lines += wrapped("\(flag.usage): \(Self.told(flag))", indent: 6) }
        }
        if !commands.isEmpty { lines.append("") }
        let precedence = """
            Each setting is a flag or an environment variable. The flag takes precedence, an empty variable counts as unset, \
            and the value in brackets is the default.
            """
        lines += wrapped(precedence, indent: 0) + [""]
        for setting in settings {
            lines.append(row(setting.usage, setting.variable, setting.shownFallback.map { "[\($0)]" } ?? ""))
            lines += wrapped(setting.help, indent: 6)
        }
        lines += ["  --help, -h", "      Prints this and exits.", "  --version", "      Prints the version and exits."]
        return lines.joined(separator: "\n")
    }

    /// The README's table of commands.
    package var markdownCommands: String {
        let head = ["| command | what it does |", "|---|---|"]
        let rows = commands.map { command in
            let flags = command.flags.map { " \(code($0.usage)): \(cell(Self.told($0)))." }.joined()
            return "| \(code("\(program) \(command.usage)")) | \(cell(command.help))\(flags) |"
        }
        return (head + rows).joined(separator: "\n")
    }

    /// The README's table of settings.
    package var markdownTable: String {
        let head = ["| flag | variable | default | description |", "|---|---|---|---|"]
        let rows = settings.map { setting in
            let cells = [
                code(setting.usage), code(setting.variable), setting.shownFallback.map(code) ?? "", cell(setting.help),
            ]
            return "| " + cells.joined(separator: " | ") + " |"
        }
        return (head + rows).joined(separator: "\n")
    }

    /// What a command's own flag says, with its default.
    private static func told(_ flag: Setting) -> String {
        flag.shownFallback.map { "\(flag.help); \($0) by default" } ?? flag.help
    }

    /// A line of three aligned columns.
    private func row(_ usage: String, _ variable: String, _ fallback: String) -> String {
        let usages = settings.map(\.usage.count).max() ?? 0
        let variables = settings.map(\.variable.count).max() ?? 0
        let line = "  \(padded(usage, usages))  \(padded(variable, variables))  \(fallback)"
        return String(line.reversed().drop { $0 == " " }.reversed())
    }

    private func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(width - text.count, 0))
    }

    private func wrapped(_ text: String, indent: Int) -> [String] {
        let margin = String(repeating: " ", count: indent)
        var lines: [String] = []
        for word in text.split(whereSeparator: \.isWhitespace) {
            if let last = lines.last, last.count + 1 + word.count <= Self.width {
                lines[lines.count - 1] = last + " " + word
            } else {
                lines.append(margin + word)
            }
        }
        return lines
    }

    private func code(_ text: String) -> String { "`\(cell(text))`" }

    /// A bar would end the cell, also within code.
    private func cell(_ text: String) -> String {
        text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
    }
}
