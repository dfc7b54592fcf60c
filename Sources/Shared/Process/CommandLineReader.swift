/// The flags of a command line with their values, and everything in it that is no flag of the program.
struct CommandLineReader {
    /// What was given for each setting; `true` for a bare switch.
    private(set) var values: [Setting: String] = [:]
    /// The settings whose flag came without its value: nobody needs to hear in addition that they are not set.
    private(set) var incomplete: Set<Setting> = []
    /// The mistakes, in the order of the command line.
    private(set) var problems: [String] = []

    private let settings: [Setting]
    private var rest: ArraySlice<String>

    /// Reads all arguments.
    init(settings: [Setting], arguments: [String]) {
        self.settings = settings
        rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument.hasPrefix("-") {
                readFlag(argument)
            } else {
                problems.append(stray(argument))
            }
        }
    }

    private mutating func readFlag(_ argument: String) {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let flag = String(parts.first ?? "")
        let attached = parts.count == 2 ? String(parts[1]) : nil
        guard let setting = settings.first(where: { $0.flag == flag }) else {
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
        let known = settings.map(\.flag) + ["--help", "--version"]
        let typed = flag.lowercased()
        let nearest = known.map { (flag: $0, distance: editDistance(typed, $0)) }.min { $0.distance < $1.distance }
        guard let nearest, nearest.distance <= max(2, nearest.flag.count / 4) else {
            return "\(flag) is not a flag of this program"
        }
        return "\(flag) is not a flag of this program; did you mean \(nearest.flag)?"
    }

    /// An argument that belongs to nothing; a `NAME=value` is named without its value, which may be a secret.
    private func stray(_ argument: String) -> String {
        let name = argument.prefix { $0 != "=" }
        guard let setting = settings.first(where: { $0.variable == name }) else {
            return "\"\(name)\" is not expected: settings are given as --flag value or in the environment"
        }
        return "\(name) is a variable: set it before the program's name, or use \(setting.usage)"
    }
}

/// How many characters must be changed, added or left out to make one text of the other (Levenshtein).
private func editDistance(_ one: String, _ other: String) -> Int {
    let other = Array(other)
    var row = Array(0...other.count)
    for (line, character) in one.enumerated() {
        var diagonal = row[0]
        row[0] = line + 1
        for column in other.indices {
            let changed = diagonal + (other[column] == character ? 0 : 1)
            diagonal = row[column + 1]
            row[column + 1] = min(changed, row[column] + 1, diagonal + 1)
        }
    }
    return row[other.count]
}
