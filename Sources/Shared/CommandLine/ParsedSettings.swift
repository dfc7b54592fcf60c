/// What a program was told, to be turned into values; it collects every mistake on the way.
///
/// Ask for each value, then call ``finish()`` once: it reports all mistakes together. A method that gives nil has
/// either recorded a problem or found neither a value nor a default.
package struct ParsedSettings: Sendable {
    /// A value from the command line or the environment, with the name under which the user knows it.
    struct RawValue: Sendable {
        let name: String
        let text: String
    }

    private let given: [Setting: RawValue]
    private let unusable: Set<Setting>
    private var problems: [String]

    /// Makes the reading of what was given; settings that are `unusable` have their problem already.
    init(given: [Setting: RawValue], problems: [String], unusable: Set<Setting>) {
        self.given = given
        self.problems = problems
        self.unusable = unusable
    }

    /// The setting's text as it was given, or its default.
    package mutating func text(_ setting: Setting) -> String? {
        unusable.contains(setting) ? nil : given[setting]?.text ?? setting.fallback
    }

    /// The flag or variable that says it; nil where none does.
    package func source(of setting: Setting) -> String? { given[setting]?.name }

    /// What `parse` makes of the text; where that is nothing, a problem that says what was `expected`.
    ///
    /// `expected` goes on after "is not": `HOST_IP: "foo" is not an IPv4 or IPv6 address`.
    package mutating func value<T>(_ setting: Setting, _ expected: String, _ parse: (String) -> T?) -> T? {
        guard let text = text(setting) else { return nil }
        guard let value = parse(text) else {
            let shown = setting.isSecret ? "the value" : "\"\(OneLine.text(Self.concealed(text), longest: 200))\""
            problem(setting, "\(shown) is not \(expected)")
            return nil
        }
        return value
    }

    /// The text without what may be the password of a URL.
    static func concealed(_ text: String) -> String {
        guard let end = text.lastIndex(of: "@") else { return text }
        let begin = text.firstRange(of: "://").map(\.upperBound).flatMap { $0 <= end ? $0 : nil } ?? text.startIndex
        return text[..<begin] + "***" + text[end...]
    }

    /// Whether a switch is on: its flag is there, or its value is `true`, `yes`, `on` or `1`.
    package mutating func isOn(_ setting: Setting) -> Bool {
        value(setting, "a switch: true or false") { text in
            switch text.lowercased() {
            case "true", "yes", "on", "1": true
            case "false", "no", "off", "0": false
            default: nil
            }
        } ?? false
    }

    /// A span of time within `range`, such as `15s`, `500ms`, `1m30s`; a bare number counts seconds.
    package mutating func duration(_ setting: Setting, in range: ClosedRange<Duration>) -> Duration? {
        let (least, most) = (DurationText.text(range.lowerBound), DurationText.text(range.upperBound))
        return value(setting, "a time from \(least) to \(most), such as 15s, 500ms or 1m30s") { text in
            DurationText.parse(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// A whole number within `range`.
    package mutating func integer(_ setting: Setting, in range: ClosedRange<Int>) -> Int? {
        value(setting, "a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// One of the words that `T` consists of, in lower or upper case.
    package mutating func choice<T: RawRepresentable & CaseIterable>(_ setting: Setting) -> T?
    where T.RawValue == String {
        let words = T.allCases.map(\.rawValue).joined(separator: ", ")
        return value(setting, "one of \(words)") { T(rawValue: $0) ?? T(rawValue: $0.lowercased()) }
    }

    /// Records a mistake that concerns a setting: its name, a colon, and `text`.
    ///
    /// The name is the one under which the value was given; where none was, both: `HOST_IP (--host-ip)`.
    package mutating func problem(_ setting: Setting, _ text: String) {
        guard !unusable.contains(setting) else { return }
        let both = setting.variable.isEmpty ? setting.flag : "\(setting.variable) (\(setting.flag))"
        let name = given[setting]?.name ?? both
        problems.append("\(name): \(text)")
    }

    /// Throws all mistakes, if there are any.
    package func finish() throws(UsageError) {
        if !problems.isEmpty { throw UsageError(problems: problems) }
    }
}
