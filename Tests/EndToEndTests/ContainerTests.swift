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

    @Test func `with the few rights that compose.yaml gives them both agents do their work, stop and start again`()
        async throws
    {
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
            let discover = [
                "--name", "discover", "-v", "discover:/var/lib/docker-discover", "--cap-add", "NET_BIND_SERVICE",
                "--ulimit", "nofile=8192", "-e", etcd,
            ]
            _ = try await engine.run(Self.confined + register + ["sidekick", "docker-register"])
            _ = try await engine.run(Self.confined + discover + ["sidekick", "docker-discover"])
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
