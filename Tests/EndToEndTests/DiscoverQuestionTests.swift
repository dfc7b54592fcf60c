import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

/// `docker-discover status`, `why`, `plan` and `render` on a real etcd and HAProxy.
@Suite(
    "docker-discover's questions", .timeLimit(.minutes(3)),
    .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct DiscoverQuestionTests {
    /// What `status --json` prints, as far as it is looked at here.
    private struct Report: Decodable {
        struct Agent: Decodable { var running: Bool }
        struct Etcd: Decodable {
            var revision: Int?
            var applied: Int?
            var copy: Bool?
            var lost: Lost?
        }
        struct Lost: Decodable { var error: String }
        struct Proxy: Decodable {
            var running: Bool
            var worker: Int?
            var reloads: Int?
        }
        struct Service: Decodable {
            var name: String
            var state: String
            var listener: String?
            var endpoints: [Endpoint]
        }
        struct Endpoint: Decodable {
            var id: String
            var endpoint: String
            var state: String
            var haproxy: Server?
            var held: Held?
        }
        struct Server: Decodable { var lastCheck: String? }
        struct Held: Decodable { var because: String }
        var agent: Agent
        var etcd: Etcd
        var haproxy: Proxy
        var services: [Service]

        func endpoint(_ service: String, _ id: String) -> Endpoint? {
            services.first { $0.name == service }?.endpoints.first { $0.id == id }
        }
    }

    /// A lab with docker-discover and a service of two endpoints, the second of which nobody answers at.
    private func withScene(_ body: (DiscoverLab, Agent, Int) async throws -> Void) async throws {
        try await withDiscoverLab { lab in
            let one = try DiscoverLab.backend("one")
            let port = try FreePort.take()
            let agent = try lab.start()
            try await lab.put([
                "web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)", "web/2": "127.0.0.1:1",
                "web/2/meta": #"{"container":"dead"}"#,
            ])
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await agent.applies("endpoints=2"))
            try await body(lab, agent, port)
            withExtendedLifetime(one) {}
        }
    }

    /// The settings of a lab, with which commands answer without an agent.
    private func settings(_ lab: DiscoverLab) -> [String: String] {
        [
            "ETCD_HOST": "127.0.0.1:\(lab.etcd.port)", "STATE_DIR": lab.statePath, "STATS_BIND": ":\(lab.statsPort)",
            "PORT_RANGE": lab.portRange, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HAPROXY": RealParts.haproxy,
        ]
    }

    private func run(_ lab: DiscoverLab, _ words: [String], _ settings: [String: String]) async throws
        -> Program.Outcome
    {
        try await Program("\(Laboratory.programFolder)/docker-discover", words, environment: settings)
            .run(deadline: .seconds(60))
    }

    private func report(_ outcome: Program.Outcome) throws -> Report {
        let json = outcome.lines.drop { $0 != "{" }.joined(separator: "\n")
        return try JSONDecoder().decode(Report.self, from: Data(json.utf8))
    }

    private func isDown(_ lab: DiscoverLab) async -> Bool {
        await eventually {
            guard let outcome = try? await lab.command("status", "--json"), let report = try? report(outcome)
            else { return false }
            return report.endpoint("web", "2")?.state == "down"
        }
    }

    @Test func `the running agent tells what HAProxy says of each endpoint`() async throws {
        try await withScene { lab, _, port in
            #expect(await isDown(lab))
            let found = try report(try await lab.command("status", "--json"))
            #expect(found.agent.running && found.haproxy.running && found.etcd.revision == found.etcd.applied)
            #expect(found.services.map(\.listener) == [":\(port)"] && found.services.map(\.state) == ["served"])
            #expect(found.endpoint("web", "1")?.state == "serving")
            // Until the next check, its words may be about a connection that failed.
            #expect(
                await eventually {
                    let found = try? report(try await lab.command("status", "--json"))
                    return found?.endpoint("web", "2")?.haproxy?.lastCheck?.hasPrefix("L4CON") == true
                })
            let words = "  web/2: DOWN for "
            #expect(
                await eventually {
                    let text = (try? await lab.command("status"))?.lines ?? []
                    return text.contains { $0.hasPrefix(words) }
                })
        }
    }

    @Test func `why answers with words and an exit status`() async throws {
        try await withScene { lab, _, _ in
            #expect(await isDown(lab))
            #expect(
                await eventually {
                    guard let routed = try? await lab.command("why", "web") else { return false }
                    return routed.ending == .exited(0) && routed.lines.contains("1 of 2 endpoints get connections.")
                })
            for question in ["web/2", "dead", "127.0.0.1:1"] {
                // A reload under load may let it be up for a moment.
                #expect(
                    await eventually {
                        guard let answer = try? await lab.command("why", question) else { return false }
                        let words = "gets no connections: DOWN for "
                        return answer.ending == .exited(1) && answer.lines.contains { $0.contains(words) }
                    }, "\(question)")
            }
            let unknown = try await lab.command("why", "nobody")
            #expect(unknown.ending == .exited(2))
            #expect(unknown.lines.first?.hasPrefix("nobody is not in the registry") == true)
        }
    }

    @Test func `why of a port tells the service, of an unknown field what is meant, of a check what came`() async throws
    {
        try await withScene { lab, agent, port in
            for question in ["\(port)", "localhost:\(port)", "127.0.0.1:\(port)"] {
                let answer = try await lab.command("why", question)
                #expect(answer.ending == .exited(0), "\(answer.lines)")
                #expect(answer.lines.first?.hasPrefix("web is served at :\(port)") == true)
            }
            let free = try FreePort.take()
            #expect(try await lab.command("why", "localhost:\(free)").ending == .exited(2))
            try await lab.put(["web/config": #"{"check":"http:/health","check_status":"404","blance":"source"}"#])
            let unknown = "blance: there is no such field; did you mean balance?"
            #expect(await agent.logs("level=warning", "key=/backends/web/config", unknown))
            #expect(try await lab.command("status").lines.contains("  /backends/web/config: \(unknown)"))
            #expect(
                await eventually {
                    let answer = try? await lab.command("why", "web/1")
                    let words = "GET /health answered 200, check_status wants 404"
                    return answer?.ending == .exited(1) && answer?.lines.contains { $0.contains(words) } == true
                })
            #expect(try await lab.command("why", "web").lines.contains { $0.contains(unknown) })
        }
    }

    @Test func `an endpoint that is down is warned of once, also after reloads`() async throws {
        try await withScene { lab, agent, _ in
            #expect(await agent.logs("level=warning", "Server web/2 is DOWN"))
            let isWarning = { (line: String) in line.contains("level=warning") && line.contains("Server web/2 is DOWN")
            }
            let warnings = { agent.log.all.count(where: isWarning) }
            let before = warnings()
            for number in 0..<3 {
                try await lab.put(["other\(number)/port": "\(try FreePort.take())", "other\(number)/1": "10.0.0.1:1"])
                #expect(await agent.applies("services=\(number + 2)"))
                #expect(await eventually { lab.haproxies().workers.count == 1 })
            }
            #expect(warnings() == before)
            #expect(await agent.logs("level=debug", "Server web/2 is DOWN, changed from server-state"))
        }
    }

    @Test func `a service without a port tells which process has it`() async throws {
        try await withScene { lab, _, _ in
            let other = try DiscoverLab.backend("other")
            try await lab.put(["busy/1": "127.0.0.1:1", "busy/port": "\(other.port)"])
            let words = "busy: port \(other.port) is in use by process \(getpid())"
            #expect(
                await eventually {
                    let answer = try? await lab.command("why", "busy")
                    return answer?.ending == .exited(1) && answer?.lines.contains { $0.hasPrefix(words) } == true
                })
        }
    }

    @Test func `an endpoint that was lost is told to be held, and until when`() async throws {
        try await withDiscoverLab { lab in
            let one = try DiscoverLab.backend("one")
            let agent = try lab.start()
            let words = try await lab.etcd.ctl("lease", "grant", "600").first?.split(separator: " ") ?? []
            let lease = String(try #require(words.dropFirst().first))
            try await lab.etcd.ctl("put", "--lease=\(lease)", "/backends/web/1", "127.0.0.1:\(one.port)")
            try await lab.put(["web/port": "\(try FreePort.take())"])
            #expect(await agent.applies("endpoints=1"))
            try await lab.etcd.ctl("lease", "revoke", lease)
            #expect(await agent.logs("keeping lost endpoints that"))
            let answer = try await lab.command("why", "web/1")
            #expect(answer.isSuccess)
            #expect(answer.lines.contains { $0.contains("its entry was lost at") && $0.contains("it is held until") })
            try await agent.kill()
            let found = try report(try await run(lab, ["status", "--json"], settings(lab)))
            #expect(!found.agent.running && found.endpoint("web", "1")?.held?.because == "the lease is gone")
        }
    }

    @Test func `an agent that hangs is left, and etcd and HAProxy are asked`() async throws {
        try await withScene { lab, agent, _ in
            agent.signal(SIGSTOP)
            defer { agent.signal(SIGCONT) }
            let begin = ContinuousClock.now
            let outcome = try await run(lab, ["status", "--json"], settings(lab))
            #expect(begin.duration(to: .now) < .seconds(30))
            #expect(outcome.lines.first?.hasPrefix("docker-discover runs here and does not answer") == true)
            let found = try report(outcome)
            #expect(!found.agent.running && found.haproxy.running)
            #expect(found.endpoint("web", "1")?.state == "serving")
        }
    }

    @Test func `an HAProxy that hangs is told as such`() async throws {
        try await withScene { lab, _, _ in
            // In the middle of a turn, which waits for HAProxy, the agent would answer from what it knew before.
            #expect(
                await eventually {
                    (try? report(try await lab.command("status", "--json")))?.endpoint("web", "2") != nil
                })
            let worker = try #require(lab.haproxies().workers.first)
            kill(worker, SIGSTOP)
            defer { kill(worker, SIGCONT) }
            let found = try report(try await lab.command("status", "--json"))
            #expect(found.agent.running && !found.haproxy.running)
            #expect(found.services.map(\.state) == ["unknown"])
            let answer = try await lab.command("why", "web")
            #expect(answer.ending == .exited(1))
            #expect(answer.lines.contains { $0.hasPrefix("HAProxy does not answer: no complete answer from") })
        }
    }

    @Test func `without an agent etcd is asked, and without etcd the copy`() async throws {
        try await withScene { lab, agent, _ in
            #expect(await eventually { lab.catalog.contains("/backends/web/2") })
            try await agent.kill()
            let direct = try await run(lab, ["status", "--json"], settings(lab))
            #expect(direct.lines.first?.hasPrefix("no docker-discover runs here") == true)
            #expect(try report(direct).endpoint("web", "1")?.state == "serving")
            try await lab.etcd.kill()
            let copy = try report(try await run(lab, ["status", "--json"], settings(lab)))
            #expect(copy.etcd.copy == true && copy.etcd.lost != nil)
            #expect(copy.endpoint("web", "1")?.state == "serving")
            var elsewhere = settings(lab)
            elsewhere["STATE_DIR"] = lab.folder.path + "/other"
            let nothing = try await run(lab, ["status"], elsewhere)
            #expect(nothing.ending == .exited(1))
            #expect(nothing.lines.last?.contains("etcd does not answer, and STATE_DIR has no copy") == true)
        }
    }

    @Test func `an agent tells since when etcd is lost`() async throws {
        try await withScene { lab, agent, _ in
            try await lab.etcd.kill()
            #expect(await agent.logs("etcd unreachable"))
            let found = try report(try await lab.command("status", "--json"))
            #expect(found.agent.running && found.etcd.lost?.error.isEmpty == false)
            let plan = try await lab.command("plan")
            #expect(plan.ending == .exited(1) && plan.lines.first?.hasPrefix("etcd does not answer") == true)
        }
    }

    @Test func `plan tells what would change, and changes nothing`() async throws {
        try await withScene { lab, agent, port in
            #expect(await eventually { (try? await lab.command("plan"))?.ending == .exited(0) })
            let before = lab.configuration
            let claims = try await lab.etcd.ctl("get", "--prefix", "/backends-ports/")
            // HAProxy goes on without it.
            try await agent.kill()
            try await lab.put(["web/3": "127.0.0.1:2"])
            let commands = try await run(lab, ["plan"], settings(lab))
            #expect(commands.ending == .exited(2))
            #expect(commands.lines.contains { $0.hasPrefix("+    server 3 127.0.0.1:2 ") })
            #expect(commands.lines.contains { $0.hasPrefix("  add server web/3 127.0.0.1:2 ") })
            #expect(!commands.lines.contains { $0.contains("reloaded") })
            try await lab.put(["api/port": "\(port)", "api/1": "127.0.0.1:3", "db/1": "127.0.0.1:4"])
            let reload = try await run(lab, ["plan"], settings(lab))
            #expect(reload.lines.contains("HAProxy would be reloaded: services changed."))
            #expect(reload.lines.contains { $0.hasPrefix("  put /backends-ports/api ") })
            #expect(lab.configuration == before)
            #expect(try await lab.etcd.ctl("get", "--prefix", "/backends-ports/") == claims)
            let names = try FileManager.default.contentsOfDirectory(atPath: lab.statePath)
            #expect(!names.contains { $0.hasPrefix("question-") })
            let next = try lab.start()
            #expect(await next.applies("services=3"))
            #expect(await eventually { (try? await lab.command("plan"))?.ending == .exited(0) })
        }
    }

    @Test func `render gives the very file that HAProxy runs`() async throws {
        try await withScene { lab, _, _ in
            let dump = lab.folder.path + "/dump.json"
            let json = try await lab.etcd.ctl("get", "--prefix", "/backends", "-w", "json").joined()
            try Data(json.utf8).write(to: URL(filePath: dump))
            let outcome = try await run(lab, ["render", "--from", dump, "--probe", "--strict"], settings(lab))
            #expect(outcome.isSuccess)
            #expect(outcome.lines.joined(separator: "\n") + "\n" == lab.configuration)
        }
    }

    @Test func `render needs nothing, and names what is wrong`() async throws {
        let folder = try ScratchFolder()
        let path = folder.path + "/registry.json"
        let text = #"{"/backends/web/1": "10.0.0.5:80", "/backends/web/2": "nonsense"}"#
        try Data(text.utf8).write(to: URL(filePath: path))
        let program = "\(Laboratory.programFolder)/docker-discover"
        let lenient = try await Program(program, ["render", "--from", path], environment: [:]).run(
            deadline: .seconds(10))
        #expect(lenient.isSuccess && lenient.lines.contains { $0.hasPrefix("    server 1 10.0.0.5:80 ") })
        #expect(lenient.lines.contains("    stats show-node localhost"), "the same on every machine")
        let mistake = "\(path):1:36: /backends/web/2: the value 'nonsense' is not IP:PORT"
        #expect(lenient.lines.contains { $0.hasPrefix(mistake) })
        let strict = try await Program(program, ["render", "--strict", "--from", path], environment: [:]).run(
            deadline: .seconds(10))
        #expect(strict.ending == .exited(1))
        let missing = try await Program(program, ["render"], environment: [:]).run(deadline: .seconds(10))
        #expect(missing.ending == .exited(64) && missing.lines.first?.contains("--from: must be given") == true)
        let piped = try await Program(
            "sh", ["-c", "cat \"$1\" | \"$0\" render --from -", program, path],
            environment: ["PATH": "/usr/bin:/bin"]
        ).run(deadline: .seconds(10))
        #expect(piped.lines.contains { $0.hasPrefix("standard input:1:36: ") })
    }

    @Test func `ten thousand endpoints are told of soon, while the loop goes on`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start(["LOG_LEVEL": "info"])
            let client = try lab.client()
            let ports = try (0..<100).map { _ in try FreePort.take() }
            for (number, port) in ports.enumerated() { try await client.fill(service: "s\(number)", port: port) }
            #expect(await agent.applies("endpoints=10000"))
            for words in [["status"], ["status", "--json"], ["why", "s7"], ["why", "s7/42"]] {
                let begin = ContinuousClock.now
                let outcome = try await run(lab, words, ["STATE_DIR": lab.statePath])
                let took = begin.duration(to: .now)
                #expect(outcome.omitted > 0 || outcome.lines.contains { $0.contains("s7") })
                // A release build takes 1.6 s on a busy machine; a debug build may have to be left by the command.
                #expect(took < .seconds(Self.isOptimized ? 5 : 40), "\(words): \(took)")
            }
            async let question = run(lab, ["status", "--json"], ["STATE_DIR": lab.statePath])
            try await client.put(["s0/late": "127.0.0.1:2"])
            #expect(await agent.applies("endpoints=10001"))
            _ = try await question
        }
    }

    /// Whether this is a release build.
    private static var isOptimized: Bool {
        #if DEBUG
            false
        #else
            true
        #endif
    }
}

extension FastClient {
    /// Puts a hundred endpoints of a service that are not checked.
    fileprivate func fill(service: String, port: Int) async throws {
        try await put(["\(service)/config": #"{"port":\#(port),"check":"none"}"#])
        for start in stride(from: 0, to: 100, by: 50) {
            let entries = (start..<(start + 50)).map { ("\(service)/\($0)", "127.0.0.1:\(10000 + $0)") }
            try await put(entries)
        }
    }
}
