import Shared
import TestSupport
import Testing

@Suite(
    "Agents in containers",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "haproxy", "ip", "nsenter", "curl", asRoot: true),
        "needs root, Docker, etcd, HAProxy, curl and iproute2"),
    .timeLimit(.minutes(3)))
struct ContainerTests {
    private static let service = "http://localhost:8000/"

    /// What deploy/compose.yaml gives both.
    private static let confined = [
        "--net", "host", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true",
    ]

    /// What compose.yaml gives docker-discover besides, and compose.haproxy.yaml HAProxy.
    private static let volume = [
        "-v", "discover:/var/lib/docker-discover", "--cap-add", "NET_BIND_SERVICE", "--ulimit", "nofile=8192",
    ]

    /// How compose.haproxy.yaml starts HAProxy.
    private static let haproxy = """
        trap exit USR1
        until [ -s /var/lib/docker-discover/system.cfg ]; do sleep 0.1; done
        exec haproxy -W -S /var/lib/docker-discover/system-master.sock,mode,600,level,admin \
          -f /var/lib/docker-discover/system.cfg
        """

    /// A host with an engine that has the images, and docker-register in a container.
    private func withHost(
        _ body: @Sendable (Laboratory, Laboratory.Host, Engine, _ discover: [String]) async throws -> Void
    ) async throws {
        try await Laboratory.with("etcd", "host") { laboratory in
            let host = try laboratory.host("host")
            try await laboratory.startEtcd()
            let engine = try await Engine(in: laboratory, on: host)
            try await engine.importWhoami("whoami")
            try await engine.importAgents()
            let etcd = "ETCD_HOST=\(try laboratory.etcdAddress())"
            let register = [
                "--name", "register", "--tmpfs", "/run/docker-register", "--cap-add", "DAC_OVERRIDE", "-v",
                "\(engine.socket):/var/run/docker.sock", "-e", "HOST_IP=\(host.address)", "-e", etcd,
            ]
            _ = try await engine.run(Self.confined + register + ["sidekick", "docker-register"])
            try await body(laboratory, host, engine, Self.confined + Self.volume + ["--name", "discover", "-e", etcd])
        }
    }

    @Test func `with the few rights that compose.yaml gives them both agents do their work, stop and start again`()
        async throws
    {
        try await withHost { laboratory, host, engine, discover in
            _ = try await engine.run(discover + ["sidekick", "docker-discover"])
            let one = try await engine.run("-P", "whoami")
            try await isServed([one], laboratory, host)

            // Only what publishes a port is registered, and each agent answers for itself.
            #expect(try await laboratory.endpoints().keys.sorted() == ["/backends/whoami/\(one)"])
            for agent in ["register", "discover"] {
                let status = try await engine.docker("exec", agent, "docker-\(agent)", "status")
                #expect(status.contains { $0.contains("whoami") }, "\(status)")
            }
            // It fails for what is not routed.
            try await engine.docker("exec", "discover", "docker-discover", "why", "whoami/\(one)")

            // A start of docker-discover brings back what it knew, and what came meanwhile.
            try await stops("discover", engine)
            await #expect(throws: Laboratory.Failure.self) {
                try await laboratory.requests(1, to: Self.service, from: host)
            }
            let two = try await engine.run("-P", "whoami")
            try await engine.docker("start", "discover")
            try await isServed([one, two], laboratory, host)

            // One of docker-register leaves entries as they are.
            try await stops("register", engine)
            try await engine.docker("start", "register")
            try await engine.docker("rm", "-f", two)
            try await isServed([one], laboratory, host)
            for agent in ["register", "discover"] {
                let errors = try await engine.docker("logs", agent).filter { $0.contains("level=error") }
                #expect(errors.isEmpty, "\(errors)")
            }
        }
    }

    @Test func `HAProxy in a container of its own serves on while docker-discover's is made anew`() async throws {
        try await withHost { laboratory, host, engine, discover in
            let haproxy = ["--name", "haproxy", "--stop-signal", "SIGUSR1", "sidekick", "sh", "-c", Self.haproxy]
            _ = try await engine.run(Self.confined + Self.volume + haproxy)
            let existing = [
                "-e", "HAPROXY_MASTER=/var/lib/docker-discover/system-master.sock",
                "-e", "HAPROXY_CONFIG=/var/lib/docker-discover/system.cfg", "sidekick", "docker-discover",
            ]
            _ = try await engine.run(discover + existing)
            let one = try await engine.run("-P", "whoami")
            try await isServed([one], laboratory, host)

            async let answers = laboratory.requests(1000, to: Self.service, from: host)
            try await stops("discover", engine)
            try await engine.docker("rm", "discover")
            let two = try await engine.run("-P", "whoami")
            _ = try await engine.run(discover + existing)
            try await isServed([one, two], laboratory, host)
            #expect(try await answers.count == 1000)

            try await engine.docker("stop", "-t", "20", "haproxy")
            #expect(try await engine.docker("inspect", "-f", "{{.State.ExitCode}}", "haproxy") == ["0"])
            try await engine.docker("start", "haproxy")
            try await isServed([one, two], laboratory, host)
            for container in ["discover", "haproxy"] {
                let log = try await engine.docker("logs", container)
                #expect(log.filter { $0.contains("level=error") || $0.contains("ALERT") } == [])
            }
        }
    }

    /// Waits until just these containers answer, in turn.
    private func isServed(_ containers: [String], _ laboratory: Laboratory, _ host: Laboratory.Host) async throws {
        let expected = Set(containers.map { "I'm \($0)" })
        #expect(
            await eventually {
                let answers = try? await laboratory.requests(2 * containers.count, to: Self.service, from: host)
                return answers.map { Set($0) } == expected
            })
    }

    /// Stops an agent as Docker does, with the time that compose.yaml gives it.
    private func stops(_ agent: String, _ engine: Engine) async throws {
        try await engine.docker("stop", "-t", "20", agent)
        #expect(try await engine.docker("inspect", "-f", "{{.State.ExitCode}}", agent) == ["0"])
    }
}
