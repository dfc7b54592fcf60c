import Shared
import Testing

@Suite("CommandLineParser")
struct CommandLineParserTests {
    static let host = Setting(
        flag: "--host-ip", variable: "HOST_IP", placeholder: "ADDRESS", help: "The address of this host.")
    static let ttl = Setting(
        flag: "--ttl", variable: "TTL", placeholder: "TIME", fallback: "15s", help: "How long an entry lives.")
    static let password = Setting(
        flag: "--password", variable: "PASSWORD", placeholder: "TEXT", help: "The | password.", isSecret: true)
    static let dryRun = Setting(flag: "--dry-run", variable: "DRY_RUN", help: "Changes nothing.")

    static let options = CommandLineParser(
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
        let help = CommandLineParser(program: "agent", summary: "Does things.", settings: [setting]).help
        #expect(help.split(separator: "\n").allSatisfy { $0.count <= 90 })
        let shown = Set(help.split(whereSeparator: \.isWhitespace).map(String.init))
        #expect(shown.isSuperset(of: words))
    }

    @Test func `the table for the README has a row for each setting`() {
        #expect(
            Self.options.markdownTable == """
                | flag | variable | default | description |
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

    // MARK: Commands

    static let json = Setting(flag: "--json", help: "as JSON")
    static let wait = Setting(flag: "--wait", help: "until it is done")
    static let commanded = CommandLineParser(
        program: "agent", summary: "Does things.", settings: [host, ttl],
        commands: [
            Command("status", flags: [json], help: "Shows everything."),
            Command("why", operands: ["CONTAINER"], flags: [json], help: "Shows one."),
            Command("move", operands: ["FROM", "TO"], flags: [wait], help: "Moves one."),
            Command("--dry-run", help: "Shows what would change."),
        ])

    @Test(arguments: [
        (["status"], "status", [], false, "15s"), (["status", "--json"], "status", [], true, "15s"),
        (["--json", "status", "--ttl=1s"], "status", [], true, "1s"),
        (["--ttl", "1s", "status"], "status", [], false, "1s"),
        (["why", "web"], "why", ["web"], false, "15s"), (["why", "--json", "web"], "why", ["web"], true, "15s"),
        (["why", "--ttl", "1s", "web"], "why", ["web"], false, "1s"), (["why", "why"], "why", ["why"], false, "15s"),
        (["move", "a", "b"], "move", ["a", "b"], false, "15s"), (["--dry-run"], "--dry-run", [], false, "15s"),
        (["--dry-run", "--ttl=1s"], "--dry-run", [], false, "1s"),
    ])
    func `a command stands anywhere between flags, its operands behind it`(
        arguments: [String], command: String, operands: [String], json: Bool, ttl: String
    ) throws {
        var (call, reading) = try commandCall(arguments)
        try reading.finish()
        #expect(call?.command.name == command)
        #expect(call?.operands == operands)
        let isJSON = reading.isOn(Self.json)
        #expect(isJSON == json)
        #expect(reading.text(Self.ttl) == ttl)
    }

    @Test(arguments: [
        (["why"], ["why needs a CONTAINER: why CONTAINER [--json]"]),
        (["move", "a"], ["move needs a TO: move FROM TO [--wait]"]),
        (["status", "x"], ["\"x\" is not expected: status [--json]"]),
        (["why", "a", "b"], ["\"b\" is not expected: why CONTAINER [--json]"]),
        (["status", "PASSWORD=secret"], ["\"PASSWORD\" is not expected: status [--json]"]),
        (["move", "a", "b", "--json"], ["--json goes with status, why only"]),
        (["status", "--wait"], ["--wait goes with move only"]),
        (["status", "--dry-run"], ["\"--dry-run\" is not expected: status [--json]"]),
        (["stauts"], ["\"stauts\" is not a command of this program; did you mean status?"]),
        (["run"], ["\"run\" is not a command of this program"]),
        (["status", "--jsn"], ["--jsn is not a flag of this program; did you mean --json?"]),
        (["--dry-rum"], ["--dry-rum is not a flag of this program; did you mean --dry-run?"]),
    ])
    func `each mistake in a command is named`(arguments: [String], problems: [String]) throws {
        let invocation = Self.commanded.parse(arguments: arguments, environment: [:])
        let reading: ParsedSettings
        switch invocation {
        case .run(let given), .command(_, let given): reading = given
        default: throw NotToRun()
        }
        #expect(throws: UsageError(problems: problems)) { try reading.finish() }
    }

    @Test func `a command's flag has no variable, and without a command it means nothing`() throws {
        var (_, reading) = try commandCall(["status"], ["JSON": "true", "": "true"])
        let isJSON = reading.isOn(Self.json)
        #expect(!isJSON)
        guard case .run(let reading) = Self.commanded.parse(arguments: ["--json"], environment: [:]) else {
            throw NotToRun()
        }
        #expect(throws: UsageError(problems: ["--json goes with status, why only"])) { try reading.finish() }
    }

    @Test func `the help and the README's table tell each command with its flags`() {
        let lines = Self.commanded.help.split(separator: "\n").map(String.init)
        #expect(lines.contains("Usage: agent [COMMAND] [--flag value]..."))
        #expect(lines.contains("  move FROM TO [--wait]"))
        #expect(lines.contains("      --wait: until it is done"))
        #expect(
            Self.commanded.markdownCommands == """
                | command | what it does |
                |---|---|
                | `agent status [--json]` | Shows everything. `--json`: as JSON. |
                | `agent why CONTAINER [--json]` | Shows one. `--json`: as JSON. |
                | `agent move FROM TO [--wait]` | Moves one. `--wait`: until it is done. |
                | `agent --dry-run` | Shows what would change. |
                """)
    }

    private func commandCall(
        _ arguments: [String], _ environment: [String: String] = [:]
    ) throws -> (Command.Call?, ParsedSettings) {
        guard
            case .command(let call, let reading) = Self.commanded.parse(
                arguments: arguments, environment: environment)
        else { throw NotToRun() }
        return (call, reading)
    }

    private func reading(_ arguments: [String], _ environment: [String: String] = [:]) throws -> ParsedSettings {
        guard case .run(let reading) = Self.options.parse(arguments: arguments, environment: environment) else {
            throw NotToRun()
        }
        return reading
    }
}

private struct NotToRun: Error {}
