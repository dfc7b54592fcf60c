import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "docker-register's life, and drains",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "haproxy", "ip", "nsenter", "curl", asRoot: true),
        "needs root, Docker, etcd, HAProxy, curl and iproute2"),
    .serialized, .timeLimit(.minutes(5)))
struct AgentLifeTests {
    /// A backend host with an engine, etcd on another, and two hosts of consumers.
    private struct Fleet: Sendable {
        let laboratory: Laboratory
        let backend: Laboratory.Host
        let engine: Engine

        func register(_ environment: [String: String] = [:]) throws -> Agent {
            try laboratory.register(on: backend, engine: engine, environment)
        }

        func holds(_ containers: String...) async -> Bool {
            let keys = containers.map { "/backends/whoami/\($0)" }.sorted()
            return await eventually { (try? await laboratory.endpoints().keys.sorted()) == keys }
        }

        func meta(_ container: String) async throws -> Meta? {
            try await laboratory.entries()["/backends/whoami/\(container)/meta"].flatMap { Meta(json: $0.utf8) }
        }
    }

    private func withFleet(_ body: @Sendable (Fleet) async throws -> Void) async throws {
        try await Laboratory.with("etcd", "backend", "one", "two") { laboratory in
            let backend = try laboratory.host("backend")
            try await laboratory.startEtcd()
            let engine = try await Engine(in: laboratory, on: backend)
            try await engine.importWhoami("whoami")
            try await body(Fleet(laboratory: laboratory, backend: backend, engine: engine))
        }
    }

    @Test func `an agent that was suspended for longer than its TTL puts everything back, and touches nothing else`()
        async throws
    {
        try await withFleet { fleet in
            let container = try await fleet.engine.run("-P", "whoami")
            let agent = try fleet.register(["TTL": "2s"])
            #expect(await fleet.holds(container))
            try await fleet.laboratory.ctl("put", "/backends/whoami/by-hand", "10.0.0.1:1")
            agent.signal(SIGSTOP)
            #expect(await fleet.holds("by-hand"))
            agent.signal(SIGCONT)
            #expect(await fleet.holds(container, "by-hand"))
            #expect(agent.ending == nil)
        }
    }

    @Test func `an agent that is to withdraw on exit does, and says so`() async throws {
        try await withFleet { fleet in
            let container = try await fleet.engine.run("-P", "whoami")
            let agent = try fleet.register(["WITHDRAW_ON_EXIT": "true"])
            #expect(await fleet.holds(container))
            #expect(try await agent.stop() == .exited(0))
            #expect(await fleet.holds())
            #expect(try await fleet.meta(container)?.withdrawn == "docker-register was stopped")
            // The next one begins as ever.
            let next = try fleet.register()
            #expect(await fleet.holds(container))
            // By default the entries outlive the agent.
            #expect(try await next.stop() == .exited(0))
            #expect(try await fleet.laboratory.endpoints().count == 1)
            #expect(try await fleet.laboratory.entries("/backends-agents/").isEmpty)
        }
    }

    @Test func `two agents on one host by mistake name each other`() async throws {
        try await withFleet { fleet in
            let container = try await fleet.engine.run("-P", "whoami")
            let first = try fleet.register(["TTL": "4s"])
            #expect(await fleet.holds(container))
            let second = try fleet.register(["TTL": "4s", "CONTROL_SOCKET": "\(fleet.backend.folder)/second.sock"])
            let words = "another docker-register runs for this engine"
            #expect(await first.logs(words, "other_pid=\(second.pid)", "registers"))
            #expect(await second.logs(words, "other_pid=\(first.pid)", "stands by"))
            #expect(await fleet.holds(container))
            try await first.stop()
            let late = try await fleet.engine.run("-P", "whoami")
            #expect(await fleet.holds(container, late))
            #expect(await second.logs("the other docker-register has ended"))
        }
    }

    @Test func `a drained container stays out until it is undrained or restarted, and consumers confirm it`()
        async throws
    {
        try await withFleet { fleet in
            let (lab, backend) = (fleet.laboratory, fleet.backend)
            let drained = try await fleet.engine.run("-P", "--name", "drained", "whoami")
            let other = try await fleet.engine.run("-P", "--name", "other", "whoami")
            let agent = try fleet.register()
            #expect(await fleet.holds(drained, other))
            let consumers = [try lab.host("one"), try lab.host("two")]
            let discovers = try consumers.map { try lab.discover(on: $0) }
            for host in consumers {
                #expect(
                    await eventually { (try? await lab.requests(4, to: "http://localhost:8000/", from: host)) != nil })
            }

            let done = try await lab.command("drain", "drained", "--wait", on: backend)
            #expect(done.lines == ["drained is drained; 2 docker-discover confirmed it"])
            #expect(done.isSuccess)
            // Confirmed means that no further request arrives there.
            for host in consumers {
                let answers = try await lab.requests(20, to: "http://localhost:8000/", from: host)
                #expect(answers.allSatisfy { $0.contains(other) })
            }
            #expect(try await fleet.meta(drained)?.withdrawn == "drained")
            #expect(try await fleet.meta(drained)?.container == "drained")
            let why = try await lab.command("why", "drained", on: backend)
            #expect(why.lines.contains { $0.contains("it was drained") })
            // Again, with nothing left to withdraw.
            #expect(try await lab.command("drain", "drained", "--wait", on: backend).isSuccess)

            // It outlives the agent, and a pause.
            try await agent.kill()
            let next = try fleet.register()
            #expect(await next.logs("registered", other))
            try await fleet.engine.docker("pause", "drained")
            try await fleet.engine.docker("unpause", "drained")
            let late = try await fleet.engine.run("-P", "whoami")
            #expect(await fleet.holds(other, late))

            #expect(try await lab.command("undrain", "drained", on: backend).lines == ["drained is no longer drained"])
            #expect(await fleet.holds(other, late, drained))
            #expect(try await lab.command("drain", "drained", on: backend).lines == ["drained is drained"])
            #expect(await fleet.holds(other, late))
            try await fleet.engine.docker("restart", "-t", "0", "drained")
            #expect(await fleet.holds(other, late, drained))
            #expect(await eventually { (try? await lab.entries("/backends-drained/").isEmpty) == true })

            // A consumer that hangs is named.
            discovers[1].signal(SIGSTOP)
            let late2 = try await lab.command("drain", "drained", "--wait", "--timeout", "1s", on: backend)
            #expect(late2.ending == .exited(2))
            #expect(late2.lines.first?.contains("1 of 2 docker-discover have not confirmed it within 1s") == true)
            discovers[1].signal(SIGCONT)
            #expect(try await lab.command("drain", "nobody", on: backend).ending == .exited(1))
            try await next.stop()
            #expect(try await lab.command("drain", "other", on: backend).ending == .exited(1))
        }
    }
}
