import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "Health before traffic on a real engine",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "ip", "nsenter", asRoot: true),
        "needs root, Docker, etcd and iproute2"),
    .serialized, .timeLimit(.minutes(5)))
struct HealthTests {
    private func key(_ container: String) -> String { RegisterLab.key(container) }

    /// Flags for a container that is healthy while a file is there.
    private static let checked = [
        "-P", "--health-cmd", "/bin/busybox test -e /tmp/ok", "--health-interval", "200ms", "--health-retries", "2",
        "--health-start-period", "60s",
    ]

    private func setHealth(_ isHealthy: Bool, _ container: String, _ lab: RegisterLab) async throws {
        try await lab.engine.docker("exec", container, "/bin/busybox", isHealthy ? "touch" : "rm", "/tmp/ok")
    }

    private func health(_ container: String, _ lab: RegisterLab) async throws -> String? {
        try await lab.engine.docker("inspect", "-f", "{{.State.Health.Status}}", container).first
    }

    private func run(_ arguments: [String], _ lab: RegisterLab) async throws -> String {
        try await lab.engine.run(arguments + ["whoami"])
    }

    // MARK: HEALTHCHECK

    @Test func `a container is registered when it is healthy, withdrawn when it is not, and registered again`()
        async throws
    {
        try await RegisterLab.with { lab in
            // Only events can be what is followed.
            let agent = try lab.register(["RESYNC_INTERVAL": "3600"])
            let checked = try await run(Self.checked + ["--name", "checked"], lab)
            let careless = try await run(Self.checked + ["-l", "SERVICE_HEALTH=ignore"], lab)
            #expect(await lab.holdsKeys([key(careless)]))
            #expect(await agent.logs("container not registered", "container=checked", "its HEALTHCHECK has not passed"))
            let why = try await lab.laboratory.command("why", "checked", on: lab.host).lines
            #expect(why.first?.hasSuffix("running, starting") == true)
            #expect(why.contains { $0.contains("SERVICE_HEALTH=ignore does not wait") })
            try await setHealth(true, checked, lab)
            #expect(await lab.holdsKeys([key(checked), key(careless)]))

            try await setHealth(false, checked, lab)
            #expect(await lab.holdsKeys([key(careless)]))
            let reason = try await lab.meta(checked)?.withdrawn ?? ""
            #expect(reason.hasPrefix("unhealthy: its HEALTHCHECK failed") && reason.hasSuffix("times in a row"))
            #expect(agent.log.contain("withdrawn", "id=\(checked)", "unhealthy"))
            try await setHealth(true, checked, lab)
            #expect(await lab.holdsKeys([key(checked), key(careless)]))
            #expect(try await lab.meta(checked)?.withdrawn == nil)
            #expect(agent.log.count(of: "container=checked") == 1)

            // Its next life begins without health.
            try await setHealth(false, checked, lab)
            try await lab.engine.docker("restart", "-t", "0", checked)
            #expect(await lab.holdsKeys([key(careless)]))
            #expect(try await health(checked, lab) != "healthy")
        }
    }

    @Test func `what happens while the agent cannot look is found afterwards`() async throws {
        try await RegisterLab.with { lab in
            let checked = try await run(Self.checked, lab)
            try await setHealth(true, checked, lab)
            let agent = try lab.register(["RESYNC_INTERVAL": "1"])
            #expect(await lab.holdsKeys([key(checked)]))
            agent.signal(SIGSTOP)
            try await setHealth(false, checked, lab)
            #expect(try await eventually { try await health(checked, lab) == "unhealthy" })
            agent.signal(SIGCONT)
            #expect(await lab.holdsKeys([]))
        }
    }

    @Test func `an engine that is restarted below running containers takes none of them out`() async throws {
        try await RegisterLab.with(engine: ["--live-restore"]) { lab in
            let slow = ["-P", "--health-cmd", "/bin/busybox true", "--health-interval", "1s"]
            let checked = try await run(slow, lab)
            let plain = try await run(["-P"], lab)
            let agent = try lab.register(["TTL": "6", "RESYNC_INTERVAL": "1"])
            #expect(await lab.holdsKeys([key(checked), key(plain)]))
            let changes = try await lab.watch()
            for signal in [SIGTERM, SIGKILL] {
                try await lab.engine.end(signal)
                #expect(await agent.logs("Docker Engine unreachable"))
                try await lab.engine.start()
                #expect(
                    await eventually {
                        agent.log.count(of: "Docker Engine reachable again") == (signal == SIGTERM ? 1 : 2)
                    })
            }
            // Not for a moment has one been away.
            #expect(!changes.lines.all.contains { $0.contains("withdrawn") })
            #expect(changes.lines.count(of: "DELETE") == 1)
            #expect(await lab.holdsKeys([key(checked), key(plain)]))
            // What ended while the engine was away is found.
            try await lab.engine.end(SIGTERM)
            let pids = try await lab.laboratory.run("pgrep", "-f", "whoami-server", on: lab.host)
            #expect(pids.count >= 2)
            try await lab.engine.start()
            try await lab.engine.docker("rm", "-f", checked)
            #expect(await lab.holdsKeys([key(plain)]))
        }
    }

    @Test func `an agent and an engine that are restarted together take nothing out`() async throws {
        try await RegisterLab.with(engine: ["--live-restore"]) { lab in
            let slow = ["-P", "--health-cmd", "/bin/busybox true", "--health-interval", "2s"]
            let checked = try await run(slow, lab)
            let first = try lab.register()
            #expect(await lab.holdsKeys([key(checked)]))
            let changes = try await lab.watch()
            try await first.stop()
            try await lab.engine.end(SIGTERM)
            try await lab.engine.start()
            let second = try lab.register()
            #expect(await second.logs("registered", checked))
            #expect(changes.lines.count(of: "DELETE") == 1)
            // Restarted itself while nobody looked, it has to be healthy first.
            try await second.stop()
            try await lab.engine.docker("restart", "-t", "0", checked)
            let third = try lab.register()
            #expect(await third.logs("withdrawn", checked, "not healthy yet"))
            #expect(await lab.holdsKeys([key(checked)]))
        }
    }

    // MARK: The agent's own checks

    /// A program that listens only while a file is there, and answers `/` with 200 and everything else with 404.
    private static let moody = [
        "-P", "--entrypoint", "/bin/sh", "-l", "SERVICE_REGISTER_CHECK_INTERVAL=200ms", "-l",
        "SERVICE_REGISTER_CHECK_FALL=2",
    ]
    private static let moodyProgram = [
        "whoami", "-c",
        """
        bb=/bin/busybox; $bb mkdir -p /www; echo hello >/www/index.html; trap 'exit 0' TERM
        while true; do
            if [ -e /tmp/ok ]; then $bb pidof httpd >/dev/null || /bin/httpd -p 8000 -h /www
            else $bb killall httpd 2>/dev/null; fi
            $bb usleep 50000
        done
        """,
    ]

    @Test func `a port is registered while the agent's own check passes, and a restart of the agent changes nothing`()
        async throws
    {
        try await RegisterLab.with { lab in
            let agent = try lab.register(["TTL": "600"])
            let tcp = try await lab.engine.run(
                Self.moody + ["--name", "tcp", "-l", "SERVICE_REGISTER_CHECK=tcp"] + Self.moodyProgram)
            let http = try await lab.engine.run(
                Self.moody + ["--name", "http", "-l", "SERVICE_REGISTER_CHECK=http:/"] + Self.moodyProgram)
            let wrong = try await lab.engine.run(
                Self.moody + ["--name", "wrong", "-l", "SERVICE_REGISTER_CHECK=http:/none"] + Self.moodyProgram)
            #expect(await agent.logs("container=tcp", "SERVICE_REGISTER_CHECK has not passed"))
            for container in [tcp, http, wrong] { try await setHealth(true, container, lab) }
            #expect(await lab.holdsKeys([key(tcp), key(http)]))
            #expect(await agent.logs("container not registered, action required", "container=wrong", "HTTP status 404"))

            // Without an agent the command checks once, and what stands needs no check.
            try await agent.stop()
            let late = try await lab.engine.run("-P", "-l", "SERVICE_REGISTER_CHECK=tcp", "whoami")
            let settings = [
                "HOST_IP": lab.host.address, "ETCD_HOST": try lab.laboratory.etcdAddress(),
                "DOCKER_HOST": lab.engine.url,
            ]
            #expect(
                try await eventually {
                    let dry = try await lab.laboratory.command("--dry-run", on: lab.host, settings).lines
                    return dry.count == 1 && dry[0].hasPrefix("put \(key(late)) ")
                })
            try await lab.engine.docker("rm", "-f", late)
            let changes = try await lab.watch()
            let second = try lab.register(["TTL": "600"])
            #expect(await second.logs("registered", tcp))
            #expect(await second.logs("registered", http))
            #expect(changes.lines.count(of: "DELETE") == 1)

            for container in [tcp, http] { try await setHealth(false, container, lab) }
            #expect(await lab.holdsKeys([]))
            #expect(try await lab.meta(tcp)?.withdrawn == "register check failed: no connection: Connection refused")
            try await setHealth(true, http, lab)
            #expect(await lab.holdsKeys([key(http)]))
            // Paused, it leaves as any other, and is checked before it comes back.
            try await lab.engine.docker("pause", http)
            #expect(await lab.holdsKeys([]))
            try await lab.engine.docker("unpause", http)
            #expect(await lab.holdsKeys([key(http)]))
            // Each change is told once, and no check is.
            #expect(second.log.count(of: "id=\(tcp)") == 2)
            #expect(second.log.count(of: "container=tcp") == 0)
        }
    }

    @Test func `a container that is up soon after its start is registered soon after that`() async throws {
        try await RegisterLab.with { lab in
            let agent = try lab.register()
            let program = [
                "-P", "--entrypoint", "/bin/sh", "-l", "SERVICE_REGISTER_CHECK=http", "whoami", "-c",
                "/bin/busybox usleep 300000; exec /bin/whoami-server",
            ]
            let container = try await lab.engine.run(program)
            let started = ContinuousClock.now
            #expect(await lab.holdsKeys([key(container)]))
            // Far less than the interval of its checks.
            #expect(ContinuousClock.now - started < .seconds(2))
            #expect(agent.log.count(of: "registered") >= 1)
        }
    }
}
