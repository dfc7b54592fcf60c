import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

/// `docker-register status`, `why` and `--dry-run` on a real engine and etcd.
@Suite(
    "docker-register's questions",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "ip", "nsenter", asRoot: true),
        "needs root, Docker, etcd and iproute2"),
    .serialized, .timeLimit(.minutes(5)))
struct StatusTests {
    /// What `--json` prints, as far as it is looked at here.
    private struct Report: Decodable {
        struct Agent: Decodable {
            var running: Bool
            var process: Int32?
        }
        struct Part: Decodable {
            var lost: ErrorRecord?
            var lastError: ErrorRecord?
            var lease: Lease?
        }
        struct ErrorRecord: Decodable { var error: String }
        struct Lease: Decodable { var ttl: Int }
        struct Container: Decodable {
            var name: String
            var state: String
            var entries: [Entry]
            var reasons: [String]
            var warnings: [String]
        }
        struct Entry: Decodable, Equatable {
            var service: String
            var state: String
            var key: String
            var endpoint: String
            var foundEndpoint: String?
        }
        var agent: Agent
        var engine: Part
        var etcd: Part
        var containers: [Container]

        subscript(name: String) -> Container? { containers.first { $0.name == name } }
    }

    private struct NoAnswer: Error {
        var outcome: Program.Outcome
    }

    /// One backend host with an engine that knows the image `whoami`, and etcd on another.
    private struct Fleet: Sendable {
        let laboratory: Laboratory
        let host: Laboratory.Host
        let engine: Engine
        let etcd: RunningProgram

        /// What a command needs to do without an agent.
        var settings: [String: String] {
            ["HOST_IP": host.address, "ETCD_HOST": (try? laboratory.etcdAddress()) ?? "", "DOCKER_HOST": engine.url]
        }

        /// What a running agent says; it is asked without any setting but the socket.
        func status() async throws -> Report {
            let outcome = try await laboratory.command("status", "--json", on: host)
            guard outcome.isSuccess else { throw NoAnswer(outcome: outcome) }
            return try JSONDecoder().decode(Report.self, from: Data(outcome.lines.joined(separator: "\n").utf8))
        }

        /// What the command finds out itself.
        func statusWithoutAgent() async throws -> (complaint: String?, report: Report) {
            let outcome = try await laboratory.command("status", "--json", on: host, settings)
            let json = outcome.lines.drop { $0 != "{" }
            guard outcome.isSuccess else { throw NoAnswer(outcome: outcome) }
            let data = Data(json.joined(separator: "\n").utf8)
            return (outcome.lines.first, try JSONDecoder().decode(Report.self, from: data))
        }

        func eventuallySays(_ condition: (Report) -> Bool) async -> Bool {
            await eventually { (try? await status()).map(condition) ?? false }
        }

        func published(_ container: String) async throws -> String {
            let lines = try await engine.docker("port", container, "8000/tcp")
            let port = lines.first { $0.hasPrefix("0.0.0.0:") }?.split(separator: ":").last ?? ""
            return "\(host.address):\(port)"
        }

        func revision() async throws -> String {
            let json = try await laboratory.ctl("get", "-w", "json", "/none").joined()
            return String(json.split(separator: "\"revision\":").last?.prefix { $0.isNumber } ?? "")
        }
    }

    private func withFleet(_ body: @Sendable (Fleet) async throws -> Void) async throws {
        try await Laboratory.with("etcd", "backend") { laboratory in
            let host = try laboratory.host("backend")
            let etcd = try await laboratory.startEtcd()
            let engine = try await Engine(in: laboratory, on: host)
            try await engine.importWhoami("whoami")
            try await body(Fleet(laboratory: laboratory, host: host, engine: engine, etcd: etcd))
        }
    }

    /// Containers of which some are registered, and the others not, each for another reason.
    private func start(in fleet: Fleet) async throws -> String {
        let web = try await fleet.engine.run("-P", "--name", "web", "-l", "SERVICE_PORT=x", "whoami")
        _ = try await fleet.engine.run("--name", "silent", "whoami")
        _ = try await fleet.engine.run("--name", "local", "-p", "127.0.0.1::8000", "whoami")
        _ = try await fleet.engine.run("--name", "ignored", "-P", "-e", "SERVICE_IGNORE=yes", "whoami")
        _ = try await fleet.engine.run("--name", "paused", "-P", "whoami")
        try await fleet.engine.docker("pause", "paused")
        try await fleet.engine.docker("create", "--name", "created", "-P", "whoami")
        _ = try await fleet.engine.run("--name", "ended", "-P", "whoami")
        try await fleet.engine.docker("kill", "ended")
        return web
    }

    private func expectReasons(_ report: Report) {
        #expect(report.containers.map(\.name) == ["created", "ended", "ignored", "local", "paused", "silent", "web"])
        #expect(report["web"]?.warnings.contains { $0.contains("SERVICE_PORT=x") } == true)
        #expect(report["silent"]?.reasons == ["not registered: it publishes no TCP port"])
        #expect(report["local"]?.reasons.first?.contains("127.0.0.1") == true)
        #expect(report["ignored"]?.reasons == ["not registered: SERVICE_IGNORE is set"])
        #expect(report["paused"]?.reasons == ["not registered: it is paused"])
        #expect(report["created"]?.reasons == ["not registered: it was never started"])
        #expect(report["ended"]?.reasons == ["not registered: it does not run (exited)"])
        #expect(report["ended"]?.state == "exited")
        #expect(report.containers.allSatisfy { $0.entries.isEmpty != ($0.name == "web") })
    }

    @Test func `status tells of each container what is registered or why not, with an agent and without`()
        async throws
    {
        try await withFleet { fleet in
            let web = try await start(in: fleet)
            let endpoint = try await fleet.published("web")
            let key = "/backends/whoami/\(web)"

            // Without an agent, and before there ever was one.
            let (complaint, before) = try await fleet.statusWithoutAgent()
            #expect(complaint?.hasPrefix("no docker-register runs here") == true)
            #expect(!before.agent.running)
            expectReasons(before)
            #expect(before["web"]?.entries.map(\.state) == ["missing"])

            let agent = try fleet.laboratory.register(on: fleet.host, engine: fleet.engine)
            #expect(await fleet.eventuallySays { $0["web"]?.entries.first?.state == "registered" })
            let report = try await fleet.status()
            #expect(report.agent.running && report.agent.process != nil)
            #expect(report.etcd.lease?.ttl == 15)
            #expect(report.engine.lost == nil && report.etcd.lost == nil)
            expectReasons(report)
            let entry = Report.Entry(service: "whoami", state: "registered", key: key, endpoint: endpoint)
            #expect(report["web"]?.entries == [entry])

            let table = try await fleet.laboratory.command("status", on: fleet.host)
            #expect(table.isSuccess)
            let row = table.lines.first { $0.hasPrefix("web ") }
            #expect(row?.contains(endpoint) == true && row?.contains("in etcd since 20") == true)
            #expect(table.lines.contains { $0.hasPrefix("paused ") && $0.hasSuffix("not registered: it is paused") })

            // The agent is gone, and its entries are not: another value is found by asking etcd.
            try await agent.kill()
            let (_, after) = try await fleet.statusWithoutAgent()
            #expect(after["web"]?.entries == [entry])
            try await fleet.laboratory.ctl("put", key, "10.0.0.9:1")
            let (_, changed) = try await fleet.statusWithoutAgent()
            #expect(changed["web"]?.entries.first?.foundEndpoint == "10.0.0.9:1")
            #expect(changed["web"]?.entries.first?.state == "differs")
        }
    }

    @Test func `status follows what happens, and answers at once while etcd hangs or the engine is away`()
        async throws
    {
        try await withFleet { fleet in
            let agent = try fleet.laboratory.register(on: fleet.host, engine: fleet.engine, ["TTL": "6"])
            #expect(await fleet.eventuallySays { $0.containers.isEmpty && $0.etcd.lease != nil })
            _ = try await fleet.engine.run("-P", "--name", "web", "whoami")
            #expect(await fleet.eventuallySays { $0["web"]?.entries.first?.state == "registered" })
            let slow = try await fleet.engine.run(
                "-P", "--name", "slow", "--entrypoint", "/bin/sh", "whoami", "-c",
                "trap '' TERM; while true; do sleep 1; done")
            #expect(await fleet.eventuallySays { $0["slow"]?.entries.first?.state == "registered" })
            try await fleet.engine.docker("kill", "--signal", "TERM", slow)
            #expect(await fleet.eventuallySays { $0["slow"]?.reasons == ["not registered: it was told to stop"] })
            try await fleet.engine.docker("rm", "-f", slow)
            #expect(await fleet.eventuallySays { $0["slow"] == nil })

            fleet.etcd.signal(SIGSTOP)
            #expect(await agent.logs("etcd unreachable"))
            _ = try await fleet.engine.run("-P", "--name", "late", "whoami")
            // The loop waits for etcd for seconds; the answer does not.
            #expect(await fleet.eventuallySays { $0["late"]?.entries.first?.state == "missing" })
            let start = ContinuousClock.now
            let lost = try await fleet.status()
            #expect(ContinuousClock.now - start < .seconds(2))
            #expect(lost.etcd.lost?.error.isEmpty == false)
            fleet.etcd.signal(SIGCONT)
            #expect(
                await fleet.eventuallySays { $0.etcd.lost == nil && $0["late"]?.entries.first?.state == "registered" })
            #expect(try await fleet.status().etcd.lastError != nil)

            try await fleet.engine.end(SIGKILL)
            #expect(await fleet.eventuallySays { $0.engine.lost?.error.isEmpty == false })
            try await fleet.engine.start()
            #expect(await fleet.eventuallySays { $0.engine.lost == nil })
        }
    }

    @Test func `why shows one container in full, by name and by id`() async throws {
        try await withFleet { fleet in
            let web = try await fleet.engine.run(
                "-P", "--name", "web", "-l", "SERVICE_NAME=shop", "-e", "SERVICE_TAGS=blue", "-l",
                "SERVICE_WEIGHT=many",
                "whoami")
            _ = try await fleet.engine.run("--name", "silent", "whoami")
            let endpoint = try await fleet.published("web")
            let agent = try fleet.laboratory.register(on: fleet.host, engine: fleet.engine)
            #expect(await agent.logs("registered", web))
            for name in ["web", web, String(web.prefix(6))] {
                let outcome = try await fleet.laboratory.command("why", name, on: fleet.host)
                #expect(outcome.isSuccess)
                let text = outcome.lines.joined(separator: "\n")
                for part in [
                    "web (\(web)), image whoami, running", "SERVICE_NAME=shop", "SERVICE_TAGS=blue",
                    "SERVICE_WEIGHT=many", "not understood; expected", "variable;", "8000, published at 0.0.0.0:",
                    "/backends/shop/\(web) = \(endpoint)", "/backends/shop/\(web)/meta = {", "in etcd since",
                ] {
                    #expect(text.contains(part), "\(part) is not in \(text)")
                }
            }
            let silent = try await fleet.laboratory.command("why", "silent", on: fleet.host)
            #expect(silent.lines.contains { $0.contains("not registered: it publishes no TCP port") })
            let nobody = try await fleet.laboratory.command("why", "nobody", on: fleet.host)
            #expect(nobody.ending == .exited(1))
            #expect(nobody.lines == ["no container of this host has the name or id nobody"])
            try await agent.stop()
            let direct = try await fleet.laboratory.command("why", "nobody", on: fleet.host, fleet.settings)
            #expect(direct.ending == .exited(1))
            #expect(direct.lines.last == "no container of this host has the name or id nobody")
        }
    }

    @Test func `a dry run prints what the agent then does, and changes nothing`() async throws {
        try await withFleet { fleet in
            let gone = try await fleet.engine.run("-P", "whoami")
            let stays = try await fleet.engine.run("-P", "whoami")
            let first = try fleet.laboratory.register(on: fleet.host, engine: fleet.engine, ["TTL": "600"])
            #expect(await first.logs("registered", gone))
            #expect(await first.logs("registered", stays))
            let nothing = try await fleet.laboratory.command("--dry-run", on: fleet.host, fleet.settings)
            #expect(nothing.isSuccess && nothing.lines.isEmpty)
            try await first.kill()
            try await fleet.engine.docker("rm", "-f", gone)
            let new = try await fleet.engine.run("-P", "-l", "SERVICE_NAME=shop", "whoami")

            let before = try await fleet.revision()
            let dry = try await fleet.laboratory.command("--dry-run", on: fleet.host, fleet.settings)
            #expect(dry.isSuccess)
            #expect(try await fleet.revision() == before)

            let second = try fleet.laboratory.register(on: fleet.host, engine: fleet.engine)
            #expect(await second.logs("withdrawn", gone))
            #expect(await second.logs("registered", new))
            let entries = try await fleet.laboratory.entries()
            let key = "/backends/shop/\(new)"
            #expect(
                dry.lines == [
                    "put \(key) \(entries[key] ?? "") \(entries[key + "/meta"] ?? "")",
                    "delete /backends/whoami/\(gone) (container stopped)",
                ])
            #expect(entries["/backends/whoami/\(gone)"] == nil)
        }
    }

    @Test func `without an engine or etcd the commands say what is missing`() async throws {
        try await withFleet { fleet in
            _ = try await fleet.engine.run("-P", "--name", "web", "whoami")
            let unset = try await fleet.laboratory.command("status", on: fleet.host)
            #expect(unset.ending == .exited(64))
            #expect(unset.lines.contains { $0.contains("HOST_IP") })
            var settings = fleet.settings
            settings["ETCD_HOST"] = "127.0.0.1:1"
            let noEtcd = try await fleet.laboratory.command("status", on: fleet.host, settings)
            #expect(noEtcd.isSuccess)
            #expect(noEtcd.lines.contains { $0.hasPrefix("web ") && $0.hasSuffix("unknown: etcd unreachable") })
            #expect(try await fleet.laboratory.command("--dry-run", on: fleet.host, settings).ending == .exited(1))
            settings["DOCKER_HOST"] = "unix:///nonexistent"
            let noEngine = try await fleet.laboratory.command("why", "web", on: fleet.host, settings)
            #expect(noEngine.ending == .exited(1))
            #expect(noEngine.lines.contains { $0.contains("unix:///nonexistent") })
        }
    }

    @Test func `an agent whose socket is taken goes on without, and one that was killed leaves room`() async throws {
        try await withFleet { fleet in
            let web = try await fleet.engine.run("-P", "whoami")
            let first = try fleet.laboratory.register(on: fleet.host, engine: fleet.engine)
            #expect(await first.logs("registered", web))
            let other = try fleet.laboratory.register(
                on: fleet.host, engine: fleet.engine, ["HOST_IP": "10.9.9.9", "ETCD_PREFIX": "/other"])
            #expect(
                await other.logs(
                    "cannot listen on the control socket; commands will not find this agent", "CONTROL_SOCKET",
                    "another process listens"))
            #expect(await other.logs("registered", web))
            #expect(try await fleet.status().agent.process != nil)
            try await other.stop()

            // One too many for the same engine and address stands by, and says for whom.
            let socket = "\(fleet.host.folder)/third.sock"
            let third = try fleet.laboratory.register(
                on: fleet.host, engine: fleet.engine, ["CONTROL_SOCKET": socket, "TTL": "3"])
            let standsBy = await eventually {
                let outcome = try? await fleet.laboratory.command(
                    "status", on: fleet.host, ["CONTROL_SOCKET": socket])
                return outcome?.lines.contains { $0.contains("kept by process \(first.pid) ") } == true
                    && outcome?.lines.contains { $0.hasSuffix("left to another docker-register of this engine") }
                        == true
            }
            #expect(standsBy)
            try await third.stop()
            try await first.kill()
            let second = try fleet.laboratory.register(on: fleet.host, engine: fleet.engine)
            #expect(await fleet.eventuallySays { $0.agent.running })
            try await second.stop()
            #expect(!FileManager.default.fileExists(atPath: Laboratory.controlSocket(on: fleet.host)))
        }
    }
}
