import Shared
import Testing

@testable import Discover

@Suite("Runtime answers")
struct RuntimeAnswerTests {
    private static let line = ServerLine(
        DesiredState.Server(id: instance("1"), endpoint: endpoint("10.0.0.5:80")), fixed: ServerOptions().fixed)
    static let add = RuntimeCommand.add(server("web/1"), line)
    static let delete = RuntimeCommand.delete(server("web/1"))
    static let ready = RuntimeCommand.ready(server("web/1"))
    static let address = RuntimeCommand.address(server("web/1"), endpoint("10.0.0.5:80"))

    /// What HAProxy 2.6.12 and 3.0.11 answered.
    static let answers: [(RuntimeCommand, String, isDone: Bool)] = [
        (add, "New server registered.\n\n", true),
        (add, "Already exists a server with the same name in backend.\n\n", false),
        (add, "Unknown command, but maybe one of the following ones is a better match:\n  help\n\n", false),
        (add, "Backend must use a dynamic load balancing to support dynamic servers.\n\n", false),
        (add, "No such backend.\n", false),
        (add, "", false),
        (delete, "Server deleted.\n", true),
        (delete, "Server deleted.\n\n", true),
        (delete, "Server still has connections attached to it, cannot remove it.\n", false),
        (delete, "No such server.\n\n", false),
        (delete, "", false),
        (ready, "\n", true),
        (ready, "No such server.\n\n", false),
        (ready, "", false),
        (address, "no need to change the addr, port changed from '1' to '80' by 'stats socket command'\n\n", true),
        (address, "no need to change the addr, no need to change the port by 'stats socket command'\n\n", true),
        (address, "port changed from '7003' to '7002' by 'stats socket command'\n\n", true),
        (address, "IP changed from '127.0.0.2' to '::1' by 'stats socket command'\n\n", true),
        (address, "nothing changed\n\n", true),
        (address, "Invalid addr 'foo' by 'stats socket command'\n\n", false),
        (address, "\n", false),
    ]

    @Test(arguments: answers)
    func `each answer means what it says`(command: RuntimeCommand, answer: String, isDone: Bool) {
        let line = RuntimeLine.packing([command])[0]
        #expect((line.failure(in: answer) == nil) == isDone)
    }

    @Test func `the first command that was not done is named with its answer`() {
        let line = RuntimeLine.packing([Self.add, .enableHealth(server("web/1")), Self.ready])
        #expect(line.count == 1)
        #expect(line[0].failure(in: "New server registered.\n\n\n\n") == nil)
        #expect(
            line[0].failure(in: "New server registered.\n\nNo such server.\n\n\n")
                == .unexpected(answer: "No such server.", to: "enable health web/1"))
        #expect(
            line[0].failure(in: "New server registered.\n\n\n")
                == .unexpected(answer: "", to: "set server web/1 state ready"))
        #expect(
            line[0].failure(in: "New server registered.\n\n\n\nmore\n\n")
                == .unexpected(answer: "more", to: "set server web/1 state ready"))
    }

    @Test func `an answer that is cut anywhere is no success`() {
        let line = RuntimeLine.packing([Self.add, Self.ready, Self.address])[0]
        let answer = "New server registered.\n\n\nnothing changed\n\n"
        #expect(line.failure(in: answer) == nil)
        for count in 0..<(answer.utf8.count - 1) {
            #expect(line.failure(in: String(answer.prefix(count))) != nil, "\(count) bytes")
        }
    }

    @Test func `deletions go one by one, which does not end HAProxy, and 2.6 does not end their answers like others`() {
        let commands = [Self.ready, Self.delete, .delete(server("web/2")), Self.add, Self.ready]
        let lines = RuntimeLine.packing(commands)
        #expect(lines.map(\.commands.count) == [1, 1, 1, 2])
        #expect(lines.flatMap(\.commands) == commands)
        #expect(lines[1].failure(in: "Server deleted.\n") == nil)
        #expect(lines[1].failure(in: "Server deleted.\n\n") == nil)
        #expect(
            lines[2].failure(in: "No such server.\n\n")
                == .unexpected(answer: "No such server.", to: "del server web/2"))
    }

    @Test func `no line is longer than HAProxy takes, and nothing is lost`() {
        let commands = (0..<500).flatMap { number in
            RuntimeCommand.adding(server("web/\(number)"), Self.line)
        }
        let lines = RuntimeLine.packing(commands)
        #expect(lines.flatMap(\.commands) == commands)
        #expect(lines.allSatisfy { $0.text.utf8.count <= RuntimeLine.longest })
        #expect(lines.count < 15)
        #expect(RuntimeLine.packing([]).isEmpty)
    }

    @Test(arguments: [
        ("Unknown command, but maybe", "add server web/1", true),
        ("This command is restricted to experimental mode only.", "del server web/1", true),
        ("'check' option is not accepted for dynamic server", "add server web/1", true),
        ("No such backend.", "add server web/1", false),
        ("Unknown command", "set server web/1 state ready", false),
    ])
    func `an HAProxy that cannot is told from one that will not`(answer: String, command: String, expected: Bool) {
        #expect(RuntimeFailure.unexpected(answer: answer, to: command).isForWantOfAbility == expected)
    }
}

@Suite("Server states")
struct ServerStateTests {
    static func row(_ name: String, _ place: String, up: Bool = true, admin: Int = 0, weight: Int = 100) -> String {
        let name = name.split(separator: "/")
        let place = place.split(separator: ":")
        return
            "4 \(name[0]) 1 \(name[1]) \(place[0]) \(up ? 2 : 0) \(admin) \(weight) 77 1 8 2 0 6 0 0 0 - \(place[1]) "
            + "- 0 0 - - 0\n"
    }

    static func states(_ rows: String...) throws -> [ServerState] {
        try #require(ServerState.table(ServerState.fileHead + rows.joined() + "\n"))
    }

    @Test func `a table is read`() throws {
        let states = try Self.states(
            Self.row("web/1", "10.0.0.5:80"), Self.row("web/2", "10.0.0.6:80", up: false, admin: 9, weight: 0))
        #expect(states.map(\.server) == ["1", "2"] && states.map(\.section) == ["web", "web"])
        #expect(states.map(\.endpoint) == [endpoint("10.0.0.5:80"), endpoint("10.0.0.6:80")])
        #expect(states.map(\.isDown) == [false, true])
        #expect(states.map(\.isLeaving) == [false, true])
        #expect(states.map(\.weight) == [100, 0])
        #expect(ServerState.table(ServerState.fileHead) == [])
    }

    @Test(arguments: ["", "\n", "1\n", "2\n# be_id\n", "Can't find backend.\n\n", ServerState.fileHead + "4 web 1 1\n"])
    func `what is no table is none`(answer: String) {
        #expect(ServerState.table(answer) == nil)
    }

    @Test func `over a reload go only servers of the same address that were down or out, with the plan's weight`()
        throws
    {
        let configuration = PlanFixture(["web: 1=10.0.0.5:80 2=10.0.0.6:80*9 3=10.0.0.7:80 4=10.0.0.8:80 5=10.0.0.9:80"]
        )
        .configuration
        let states = try Self.states(
            Self.row("web/1", "10.0.0.5:80"), Self.row("web/2", "10.0.0.6:80", up: false, weight: 3),
            Self.row("web/3", "10.0.0.99:80", up: false), Self.row("web/4", "10.0.0.8:80", admin: 9),
            Self.row("web/5", "10.0.0.9:80", up: false, admin: 8, weight: 0),
            Self.row("web/6", "10.0.0.5:80", admin: 8, weight: 0),
            Self.row("api/2", "10.0.0.6:80", up: false))
        let text = ServerStateFile.text(states, for: configuration)
        #expect(text.hasPrefix(ServerState.fileHead))
        let rows = text.dropFirst(ServerState.fileHead.count).split(separator: "\n").map { $0.split(separator: " ") }
        #expect(
            rows.map { $0[3...8].joined(separator: " ") } == [
                "2 10.0.0.6 0 0 9 9", "4 10.0.0.8 2 1 100 100", "5 10.0.0.9 0 0 100 100",
            ])
    }

    @Test func `a server that docker-discover itself took out comes back as if nothing had been`() throws {
        let next = PlanFixture(["web: 1=10.0.0.5:80 2=10.0.0.6:80"]).configuration
        let states = try Self.states(
            Self.row("web/1", "10.0.0.5:80", admin: 8, weight: 0),
            Self.row("web/2", "10.0.0.6:80", up: false, admin: 1, weight: 0))
        #expect(ServerStateFile.text(states, for: next) == ServerState.fileHead)
    }

    @Test func `a server that is no longer checked does not stay down, only drained`() throws {
        let next = PlanFixture(["web: 1=10.0.0.5:80 2=10.0.0.6:80"]) { $0.check = nil }.configuration
        let states = try Self.states(
            Self.row("web/1", "10.0.0.5:80", up: false), Self.row("web/2", "10.0.0.6:80", up: false, admin: 8))
        let text = ServerStateFile.text(states, for: next)
        let kept = try #require(ServerState.table(text + "\n"))
        #expect(kept.map(\.server) == ["2"])
        #expect(kept.allSatisfy { $0.isOut && !$0.isDown })
    }

    @Test func `new servers with an HTTP check begin as down, others as up`() throws {
        let next = PlanFixture(["web: 1=10.0.0.5:80 2=10.0.0.6:80"]) { $0.check?.isHTTP = true }.configuration
        let states = try Self.states(Self.row("web/1", "10.0.0.5:80"))
        let text = ServerStateFile.text(states, for: next)
        let state = try #require(ServerState.table(text + "\n")?.first)
        #expect(state.server == "2" && state.isDown && state.endpoint == endpoint("10.0.0.6:80"))
        #expect(ServerState.table(text + "\n")?.count == 1)
        let plain = PlanFixture(["web: 1=10.0.0.5:80 2=10.0.0.6:80"]).configuration
        #expect(ServerStateFile.text(states, for: plain) == ServerState.fileHead)
    }
}

@Suite("Running proxy")
struct RunningConfigTests {
    typealias States = ServerStateTests

    private let file = PlanFixture(["web@80: 1=10.0.0.5:80 2=10.0.0.6:80", "api: 1=10.0.0.5:81"]).configuration

    private func adopted(_ rows: String...) throws -> RunningConfig {
        let states = try #require(ServerState.table(ServerState.fileHead + rows.joined() + "\n"))
        return RunningConfig(worker: 7, file: file, states: states, until: .now)
    }

    @Test func `an HAProxy that runs its file needs nothing`() throws {
        let running = try adopted(
            States.row("web/2", "10.0.0.6:80"), States.row("web/1", "10.0.0.5:80"), States.row("api/1", "10.0.0.5:81"))
        #expect(ConfigChange(from: .confirmed(running), to: file).isEmpty)
    }

    @Test func `what was changed and did not get into the file any more is put right`() throws {
        let running = try adopted(
            // Drained by docker-discover, by an operator, and not in the file.
            States.row("web/1", "10.0.0.5:80", admin: 8, weight: 0), States.row("api/1", "10.0.0.5:81", admin: 8),
            States.row("web/3", "10.0.0.7:80", admin: 8, weight: 0), States.row("web/4", "10.0.0.8:80"))
        #expect(running.leaving.keys.sorted().map(\.description) == ["web/1", "web/3"])
        let change = ConfigChange(from: .confirmed(running), to: file)
        #expect(
            change.commands.map(\.text) == [
                "set server web/1 weight 100", "set server web/1 state ready",
                "add server web/2 10.0.0.6:80 weight 100 \(ConfigChangeTests.words)", "enable health web/2",
                "set server web/2 state ready", "set server web/4 weight 0", "set server web/4 state drain",
            ])
    }

    @Test func `other addresses and weights than the file's are put right`() throws {
        let running = try adopted(
            States.row("web/1", "10.0.0.9:80"), States.row("web/2", "10.0.0.6:80", weight: 3),
            States.row("api/1", "10.0.0.5:81"))
        #expect(
            ConfigChange(from: .confirmed(running), to: file).commands.map(\.text) == [
                "set server web/1 addr 10.0.0.5 port 80", "set server web/1 health up", "set server web/2 weight 100",
            ])
    }

    static let good = [States.row("web/1", "10.0.0.5:80*"), States.row("web/2", "10.0.0.6:80")]
    static let differences: [([String], String?)] = [
        ([States.row("web/2", "10.0.0.6:80"), States.row("web/1", "10.0.0.5:80", admin: 8, weight: 0)], nil),
        ([States.row("web/2", "10.0.0.6:80", up: false)], nil),
        ([States.row("web/1", "10.0.0.5:80", admin: 1, weight: 0)], "server web/2 is missing"),
        ([States.row("web/2", "10.0.0.7:80")], "server web/2 is at 10.0.0.7:80, not 10.0.0.6:80"),
        ([States.row("web/2", "10.0.0.6:81")], "server web/2 is at 10.0.0.6:81, not 10.0.0.6:80"),
        ([States.row("web/2", "10.0.0.6:80", weight: 99)], "server web/2 has weight 99, not 100"),
        ([States.row("web/2", "10.0.0.6:80", admin: 1)], "server web/2 is not ready"),
        ([States.row("web/2", "10.0.0.6:80"), States.row("web/1", "10.0.0.5:80")], "server web/1 is not drained"),
        ([States.row("web/2", "10.0.0.6:80"), States.row("web/9", "10.0.0.5:80")], "there is a server web/9"),
    ]

    @Test(arguments: differences)
    func `what is read back is compared`(rows: [String], expected: String?) throws {
        let before = PlanFixture(["web@80: 1=10.0.0.5:80"]).running
        let next = PlanFixture(["web@80: 2=10.0.0.6:80"]).configuration
        let change = ConfigChange(from: .confirmed(before), to: next)
        let after = before.after(change, until: .now)
        let states = try #require(ServerState.table(ServerState.fileHead + rows.joined() + "\n"))
        #expect(after.difference(to: states, after: change) == expected)
    }

    @Test func `a leaving server goes when it has no connection, and loses them when its time is over`() {
        let now = ContinuousClock.now
        let before = PlanFixture(["web@80: 1=10.0.0.5:80 2=10.0.0.6:80 3=10.0.0.7:80"]).running
        let next = PlanFixture(["web@80: 1=10.0.0.5:80"]).configuration
        var after = before.after(ConfigChange(from: .confirmed(before), to: next), until: now + .seconds(10))
        let open = ["web/1": 9, "web/2": 1, "web/3": 0]
        #expect(after.leavers(open, at: now) == ([], [server("web/3")]))
        #expect(after.leavers(open, at: now + .seconds(10)) == ([server("web/2")], [server("web/3")]))
        // Once is enough.
        #expect(after.leavers(open, at: now + .seconds(11)) == ([], [server("web/3")]))
        after.remove(server("web/3"))
        #expect(after.leavers([:], at: now) == ([], [server("web/2")]))
    }
}

extension RunningConfigTests {
    @Test(
        arguments: [
            ("Name: HAProxy\nPid: 17\nnode: vm\ndescription: docker-discover-aa\n", 17, "docker-discover-aa"),
            ("Pid: 17\n", 17, nil),
        ] as [(String, Int32, String?)])
    func `a worker tells who it is`(answer: String, pid: Int32, mark: String?) {
        #expect(HAProxyWorker(answer) == HAProxyWorker(pid: pid, mark: mark))
        #expect(HAProxyWorker("Unknown command\n") == nil)
    }

    @Test(arguments: [("Pid: 17\nStopping: 1\n", true), ("Pid: 17\nStopping: 0\n", false), ("", false)])
    func `a worker tells whether it stops`(answer: String, expected: Bool) {
        #expect(HAProxyWorker.isStopping(answer) == expected)
    }
}
