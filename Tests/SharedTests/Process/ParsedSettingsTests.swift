import Shared
import Testing

@Suite("ParsedSettings")
struct ParsedSettingsTests {
    enum Mode: String, CaseIterable {
        case watch
        case poll
    }

    private static let number = Setting(flag: "--number", variable: "NUMBER", placeholder: "N", help: "A number.")
    private static let secret = Setting(
        flag: "--secret", variable: "SECRET", placeholder: "TEXT", help: "A secret.", isSecret: true)
    private static let toggle = Setting(flag: "--toggle", variable: "TOGGLE", help: "A switch.")
    private static let options = CommandLineParser(program: "agent", summary: "", settings: [number, secret, toggle])

    @Test func `a value that does not parse is named as the user gave it`() throws {
        var fromVariable = try reading([], ["NUMBER": "foo"])
        #expect(fromVariable.value(Self.number, "an even number", Self.even) == nil)
        #expect(throws: UsageError(problems: [#"NUMBER: "foo" is not an even number"#])) {
            try fromVariable.finish()
        }
        var fromFlag = try reading(["--number", "3"], ["NUMBER": "4"])
        #expect(fromFlag.value(Self.number, "an even number", Self.even) == nil)
        #expect(throws: UsageError(problems: [#"--number: "3" is not an even number"#])) { try fromFlag.finish() }
    }

    @Test func `a secret's value is never shown`() throws {
        var reading = try reading([], ["SECRET": "hunter2"])
        #expect(reading.value(Self.secret, "long enough") { _ in nil as String? } == nil)
        #expect(throws: UsageError(problems: ["SECRET: the value is not long enough"])) { try reading.finish() }
    }

    @Test func `a setting that nobody gave goes by both names`() throws {
        var reading = try reading()
        #expect(reading.value(Self.number, "an even number", Self.even) == nil)
        try reading.finish()
        reading.problem(Self.number, "must be set")
        #expect(throws: UsageError(problems: ["NUMBER (--number): must be set"])) { try reading.finish() }
    }

    @Test func `all mistakes are reported together, in the order in which they were found`() throws {
        var reading = try reading(["--nonsense"], ["NUMBER": "x", "TOGGLE": "maybe"])
        _ = reading.integer(Self.number, in: 1...9)
        _ = reading.isOn(Self.toggle)
        let problems = [
            "--nonsense is not a flag of this program",
            #"NUMBER: "x" is not a whole number from 1 to 9"#,
            #"TOGGLE: "maybe" is not a switch: true or false"#,
        ]
        #expect(throws: UsageError(problems: problems)) { try reading.finish() }
    }

    @Test(arguments: [
        ("true", true), ("YES", true), ("on", true), ("1", true), ("false", false), ("No", false), ("off", false),
        ("0", false), ("", false),
    ])
    func `a switch is on or off by its variable`(text: String, expected: Bool) throws {
        var reading = try reading([], ["TOGGLE": text])
        #expect(reading.isOn(Self.toggle) == expected)
        try reading.finish()
    }

    @Test(arguments: [
        (["--toggle"], [:], true), (["--toggle=false"], ["TOGGLE": "true"], false), ([], [:], false),
    ])
    func `a switch is on by its flag, unless that says otherwise`(
        arguments: [String], environment: [String: String], expected: Bool
    ) throws {
        var reading = try reading(arguments, environment)
        #expect(reading.isOn(Self.toggle) == expected)
        try reading.finish()
    }

    @Test(arguments: [
        ("1", 1), ("9", 9), ("0", nil), ("10", nil), ("", nil), ("a", nil), ("99999999999999999999", nil),
    ])
    func `a whole number is within its range`(text: String, expected: Int?) throws {
        var reading = try reading([], ["NUMBER": text])
        #expect(reading.integer(Self.number, in: 1...9) == expected)
    }

    @Test(arguments: [("watch", Mode.watch), ("POLL", .poll), ("push", nil)])
    func `a choice is one of its words`(text: String, expected: Mode?) throws {
        var reading = try reading([], ["NUMBER": text])
        let mode: Mode? = reading.choice(Self.number)
        #expect(mode == expected)
        guard expected == nil else { return }
        #expect(throws: UsageError(problems: [#"NUMBER: "push" is not one of watch, poll"#])) { try reading.finish() }
    }

    @Test func `a time out of range is told the range`() throws {
        var reading = try reading([], ["NUMBER": "1h"])
        #expect(reading.duration(Self.number, in: .seconds(2)...(.seconds(600))) == nil)
        let problem = #"NUMBER: "1h" is not a time from 2s to 10m, such as 15s, 500ms or 1m30s"#
        #expect(throws: UsageError(problems: [problem])) { try reading.finish() }
    }

    @Test func `a bad value is shown on one line and cut`() throws {
        var reading = try reading([], ["NUMBER": "a\nb\u{1b}" + String(repeating: "x", count: 10_000)])
        _ = reading.integer(Self.number, in: 1...9)
        let shown =
            #"NUMBER: "a\nb\u{1B}"# + String(repeating: "x", count: 196) + "...\" is not a whole number from 1 to 9"
        #expect(throws: UsageError(problems: [shown])) { try reading.finish() }
    }

    private static func even(_ text: String) -> Int? { Int(text).flatMap { $0 % 2 == 0 ? $0 : nil } }

    private func reading(_ arguments: [String] = [], _ environment: [String: String] = [:]) throws -> ParsedSettings {
        guard case .run(let reading) = Self.options.parse(arguments: arguments, environment: environment) else {
            throw NotToRun()
        }
        return reading
    }
}

@Suite("DurationText")
struct DurationTextTests {
    @Test(arguments: [
        ("15s", Duration.seconds(15)), ("500ms", .milliseconds(500)), ("10m", .seconds(600)), ("1h", .seconds(3_600)),
        ("1m30s", .seconds(90)), ("1h1m1s1ms", .milliseconds(3_661_001)), ("15", .seconds(15)), ("0", .zero),
        ("0s", .zero), ("999999999h", .seconds(999_999_999 * 3_600)),
    ])
    func `a time is read from its text`(text: String, expected: Duration) {
        #expect(DurationText.parse(text) == expected)
    }

    @Test(arguments: [
        "", " ", "s", "15 s", " 15s", "-1", "-1s", "+1s", "1.5s", "1d", "15S", "15sec", "30s1m", "1s1s", "1ms1s", "١s",
        "1m30", "9999999999", "99999999999999999999s", "1s\n", "1e3",
    ])
    func `anything else is no time`(text: String) {
        #expect(DurationText.parse(text) == nil)
    }

    @Test(arguments: [
        (Duration.seconds(90), "1m30s"), (.seconds(3_600), "1h"), (.milliseconds(1_500), "1s500ms"), (.zero, "0s"),
        (.microseconds(999), "0s"), (.seconds(-3), "0s"),
    ])
    func `a time is written as it is read`(duration: Duration, text: String) {
        #expect(DurationText.text(duration) == text)
    }

    @Test func `an endless time can be written`() {
        #expect(DurationText.text(.seconds(Int64.max)).hasSuffix("s"))
    }
}

private struct NotToRun: Error {
    @Test(arguments: [
        (Duration.milliseconds(4_999), "5s"), (.microseconds(4_999_600), "5s"), (.milliseconds(1_666), "1s700ms"),
        (.milliseconds(999), "1s"), (.milliseconds(500), "500ms"), (.seconds(90), "1m30s"), (.zero, "0s"),
    ])
    func `for people a span has tenths of a second`(duration: Duration, text: String) {
        #expect(DurationText.rounded(duration) == text)
    }
}
