import Glibc
import Shared
import TestSupport
import Testing

/// A host that is everything: its containers are backends, and its programs clients.
@Suite(
    "One host that is everything",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "haproxy", "ip", "nsenter", "curl", asRoot: true),
        "needs root, Docker, etcd, HAProxy, curl and iproute2"),
    .serialized, .timeLimit(.minutes(5)))
struct OneHostTests {
    private static let published = ["--name", "web", "--restart", "always", "-p", "8000:8000", "whoami"]

    /// Two engines, each with its docker-register, and one of them beside docker-discover.
    private struct Scene: Sendable {
        let laboratory: Laboratory
        let host: Laboratory.Host
        let engine: Engine
        let discover: Agent

        /// Waits until docker-discover has applied all that the registry says now.
        ///
        /// A service of its own comes after it and is served.
        func settles(_ marker: Int) async throws -> Bool {
            try await laboratory.ctl("put", "/backends/marker-\(marker)/1", "192.0.2.1:\(9000 + marker)")
            return await eventually { await listens(on: 9000 + marker) }
        }

        /// Whether anything listens on a port of the host.
        func listens(on port: Int) async -> Bool {
            let words = ["-s", "-o", "/dev/null", "-m", "2", "telnet://127.0.0.1:\(port)"]
            let outcome = try? await laboratory.program("curl", words, on: host).run(deadline: .seconds(10))
            // 7: no connection; 28: there was one, and nothing came.
            return outcome.map { $0.ending != .exited(7) } ?? false
        }

        /// Whether the container of that name runs.
        func isRunning() async -> Bool {
            (try? await engine.docker("inspect", "-f", "{{.State.Running}}", "web"))?.first == "true"
        }

        /// Whether the registry has an entry at the host's published port.
        func isRegistered() async -> Bool {
            (try? await laboratory.endpoints().values.contains("\(host.address):8000")) == true
        }
    }

    private func withScene(_ body: @Sendable (Scene) async throws -> Void) async throws {
        try await Laboratory.with("etcd", "one", "two") { laboratory in
            let (host, other) = (try laboratory.host("one"), try laboratory.host("two"))
            try await laboratory.startEtcd()
            let engines = [
                try await Engine(in: laboratory, on: host), try await Engine(in: laboratory, on: other),
            ]
            for engine in engines { try await engine.importWhoami("whoami") }
            _ = try await engines[0].run(Self.published)
            _ = try await engines[1].run("-P", "whoami")
            let agents = [
                try laboratory.register(on: host, engine: engines[0], ["TTL": "4"]),
                try laboratory.register(on: other, engine: engines[1], ["TTL": "4"]),
            ]
            #expect(await eventually { (try? await laboratory.endpoints().count) == 2 })
            let discover = try laboratory.discover(on: host)
            try await body(Scene(laboratory: laboratory, host: host, engine: engines[0], discover: discover))
            withExtendedLifetime(agents) {}
        }
    }

    @Test func `deployments and a restart of the engine find the published port free`() async throws {
        try await withScene { scene in
            let message = "port 8000 is published on this host by its own container whoami/"
            #expect(await scene.discover.logs("service not served", message, "SERVICE_PORT"))
            for marker in 1...3 {
                try await scene.engine.docker("rm", "-f", "web")
                #expect(await eventually { await !scene.isRegistered() })
                #expect(try await scene.settles(marker))
                #expect(await !scene.listens(on: 8000))
                _ = try await scene.engine.run(Self.published)
                #expect(await eventually { await scene.isRegistered() })
            }
            try await scene.engine.end(SIGTERM)
            #expect(try await scene.settles(4))
            #expect(await !scene.listens(on: 8000))
            try await scene.engine.start()
            #expect(await eventually { await scene.isRunning() })
            #expect(await eventually { await scene.isRegistered() })
        }
    }

    @Test func `a docker-discover that starts meanwhile leaves the port alone too`() async throws {
        try await withScene { scene in
            #expect(await scene.discover.logs("service not served", "port 8000 is published on this host"))
            try await scene.engine.docker("rm", "-f", "web")
            #expect(await eventually { await !scene.isRegistered() })
            #expect(try await scene.settles(1))
            #expect(try await scene.discover.stop() == .exited(0))
            let next = try scene.laboratory.discover(on: scene.host)
            #expect(await next.logs("service not served", "port 8000 was published on this host"))
            #expect(try await scene.settles(2))
            #expect(await !scene.listens(on: 8000))
            _ = try await scene.engine.run(Self.published)
            #expect(await eventually { await scene.isRunning() })
        }
    }

    @Test func `a host without IPv6 is served over IPv4`() async throws {
        try await Laboratory.with("etcd", "client") { laboratory in
            let client = try laboratory.host("client")
            try await laboratory.startEtcd()
            try await laboratory.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", on: client)
            let discover = try laboratory.discover(on: client)
            try await laboratory.ctl("put", "/backends/web/1", "192.0.2.1:9000")
            #expect(await discover.logs("applied", "services=1"))
            let page = try await laboratory.run("curl", "-sS", "http://127.0.0.1:1936/healthz", on: client)
            #expect(!page.isEmpty)
            #expect(!discover.log.contain("::1"))
        }
    }
}
