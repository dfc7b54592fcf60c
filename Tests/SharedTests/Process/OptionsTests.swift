import Shared
import Testing

@Suite("Options")
struct OptionsTests {
    static let host = Setting(
        flag: "--host-ip", variable: "HOST_IP", placeholder: "ADDRESS", help: "The address of this host.")
    static let ttl = Setting(
        flag: "--ttl", variable: "TTL", placeholder: "TIME", fallback: "15s", help: "How long an entry lives.")
    static let password = Setting(
        flag: "--password", variable: "PASSWORD", placeholder: "TEXT", help: "The | password.", isSecret: true)
    static let dryRun = Setting(flag: "--dry-run", variable: "DRY_RUN", help: "Changes nothing.")

    static let options = Options(
        program: "agent", summary: "Does things.", settings: [host, ttl, password, dryRun])

    @Test(arguments: [
        (["--ttl", "1s"], ["TTL": "2s"], "1s"), (["--ttl=1s"], ["TTL": "2s"], "1s"), ([], ["TTL": "2s"], "2s"),
        ([], ["TTL": ""], "15s"), ([], [:], "15s"), (["--ttl", "-1"], [:], "-1"), (["--ttl=--x"], [:], "--x"),
        (["--ttl=a=b"], [:], "a=b"), (["--dry-run", "--ttl", "3s"], [:], "3s"),
    ])
    func `a flag counts before a variable, and that before the default`(
        arguments: [String], environment: [String: String], expected: String
    ) throws {
        var reading = try reading(arguments, environment)
        #expect(reading.text(Self.ttl) == expected)
        try reading.finish()
    }

    @Test(arguments: [["--help"], ["-h"], ["--ttl", "1s", "--help"], ["--nonsense", "--help"]])
    func `a request for help is answered whatever else is wrong`(arguments: [String]) throws {
        guard case .help = Self.options.parse(arguments: arguments, environment: [:]) else {
            Issue.record("no help")
            return
        }
    }

    @Test func `a request for the version is answered`() throws {
        guard case .version = Self.options.parse(arguments: ["--version"], environment: [:]) else {
            Issue.record("no version")
            return
        }
        #expect(Version.text(program: "agent") == "agent \(Version.current)")
    }

    @Test(arguments: [
        (["--ttl"], ["--ttl needs a value: --ttl TIME"]),
        (["--ttl="], ["--ttl needs a value: --ttl TIME"]),
        (["--ttl", ""], ["--ttl needs a value: --ttl TIME"]),
        (["--ttl", "--dry-run"], ["--ttl needs a value: --ttl TIME"]),
        (["--ttl", "1s", "--ttl=2s"], ["--ttl is given more than once"]),
        (["--tll", "1s"], ["--tll is not a flag of this program; did you mean --ttl?"]),
        (["--host_ip=1.2.3.4"], ["--host_ip is not a flag of this program; did you mean --host-ip?"]),
        (["--HOST-IP", "1.2.3.4"], ["--HOST-IP is not a flag of this program; did you mean --host-ip?"]),
        (["--hepl"], ["--hepl is not a flag of this program; did you mean --help?"]),
        (["--something-else"], ["--something-else is not a flag of this program"]),
        (["--pasword", "secret"], ["--pasword is not a flag of this program; did you mean --password?"]),
        (["--pasword=secret"], ["--pasword is not a flag of this program; did you mean --password?"]),
        (["PASSWORD=secret"], ["PASSWORD is a variable: set it before the program's name, or use --password TEXT"]),
        (["run"], ["\"run\" is not expected: settings are given as --flag value or in the environment"]),
        (["-x", "--ttl"], ["-x is not a flag of this program", "--ttl needs a value: --ttl TIME"]),
    ])
    func `each mistake on the command line is named`(arguments: [String], problems: [String]) throws {
        let reading = try reading(arguments)
        #expect(throws: UsageError(problems: problems)) { try reading.finish() }
    }

    @Test func `a flag without its value is not reported as missing as well`() throws {
        var reading = try reading(["--host-ip"])
        #expect(reading.text(Self.host) == nil)
        reading.problem(Self.host, "must be set")
        #expect(throws: UsageError(problems: ["--host-ip needs a value: --host-ip ADDRESS"])) { try reading.finish() }
    }

    @Test func `the help has each setting's flag, variable and default on one line`() {
        let lines = Self.options.help.split(separator: "\n").map(String.init)
        #expect(lines.contains("  --host-ip ADDRESS  HOST_IP"))
        #expect(lines.contains("  --ttl TIME         TTL       [15s]"))
        #expect(lines.contains("  --dry-run          DRY_RUN"))
        #expect(lines.contains("      How long an entry lives."))
        #expect(lines.allSatisfy { $0.count <= 90 && $0.last != " " })
    }

    @Test func `a long explanation is wrapped and no word of it is lost`() {
        let words = (0..<60).map { "word\($0)" }
        let setting = Setting(flag: "--long", variable: "LONG", help: words.joined(separator: " "))
        let help = Options(program: "agent", summary: "Does things.", settings: [setting]).help
        #expect(help.split(separator: "\n").allSatisfy { $0.count <= 90 })
        let shown = Set(help.split(whereSeparator: \.isWhitespace).map(String.init))
        #expect(shown.isSuperset(of: words))
    }

    @Test func `the table for the README has a row for each setting`() {
        #expect(
            Self.options.markdownTable == """
                | flag | variable | default | what it says |
                |---|---|---|---|
                | `--host-ip ADDRESS` | `HOST_IP` |  | The address of this host. |
                | `--ttl TIME` | `TTL` | `15s` | How long an entry lives. |
                | `--password TEXT` | `PASSWORD` |  | The \\| password. |
                | `--dry-run` | `DRY_RUN` |  | Changes nothing. |
                """)
    }

    @Test func `a usage error names the program and says where help is`() {
        let error = UsageError(problems: ["--a is wrong", "B: is wrong"])
        #expect(error.text(program: "agent") == "agent: --a is wrong\nagent: B: is wrong\nTry 'agent --help'.")
    }

    private func reading(_ arguments: [String], _ environment: [String: String] = [:]) throws -> Reading {
        guard case .run(let reading) = Self.options.parse(arguments: arguments, environment: environment) else {
            throw NotToRun()
        }
        return reading
    }
}

private struct NotToRun: Error {}
