import Shared
import TestSupport
import Testing

@Suite(
    "A docker-register that dies",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "haproxy", "ip", "nsenter", "curl", asRoot: true),
        "needs root, Docker, etcd, HAProxy, curl and iproute2"),
    .serialized, .timeLimit(.minutes(3)))
struct LostAgentTests {
    @Test func `while its host and containers live it costs no traffic, and dead containers are found all the same`()
        async throws
    {
        try await Laboratory.with("etcd", "backend", "client") { laboratory in
            let (backend, client) = (try laboratory.host("backend"), try laboratory.host("client"))
            try await laboratory.startEtcd()
            let engine = try await Engine(in: laboratory, on: backend)
            try await engine.importWhoami("whoami")
            var containers: [String] = []
            for _ in 0..<3 { containers.append(try await engine.run("-P", "whoami")) }
            let agent = try laboratory.register(on: backend, engine: engine, ["TTL": "3"])
            let discover = try laboratory.discover(on: client)
            #expect(await discover.logs("applied", "endpoints=3"))
            let load = try Load(to: "http://localhost:8000/", from: client, in: laboratory)
            #expect(await eventually { Set(load.answers).count == 3 })

            try await agent.kill()
            #expect(await eventually { (try? await laboratory.endpoints()) == [:] })
            #expect(await discover.logs("keeping lost endpoints that", "endpoints=3", "registered=0"))
            let lost = load.count
            #expect(await eventually { load.count > lost + 100 })
            try await load.stop()
            #expect(load.failures == [])

            // Nobody tells that a container has gone, and its check does.
            try await engine.docker("kill", containers[0])
            #expect(await discover.logs("no longer keeping lost endpoints", "endpoints=1", "reason=down"))
            let left = Set(containers.dropFirst().map { "I'm \($0)" })
            let answers = try await laboratory.requests(20, to: "http://localhost:8000/", from: client)
            #expect(Set(answers) == left)

            let more = try Load(to: "http://localhost:8000/", from: client, in: laboratory)
            #expect(await eventually { Set(more.answers) == left })
            let next = try laboratory.register(on: backend, engine: engine, ["TTL": "3"])
            #expect(await discover.logs("no longer keeping lost endpoints", "registered again"))
            let back = more.count
            #expect(await eventually { more.count > back + 100 })
            try await more.stop()
            #expect(more.failures == [])
            #expect(try await next.stop() == .exited(0))
            #expect(try await discover.stop() == .exited(0))
        }
    }
}
