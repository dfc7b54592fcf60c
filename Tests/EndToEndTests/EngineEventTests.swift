import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "What happens to containers on a real engine",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "ip", "nsenter", asRoot: true),
        "needs root, Docker, etcd and iproute2"),
    .serialized, .timeLimit(.minutes(5)))
struct EngineEventTests {
    private func key(_ container: String, _ service: String = "whoami") -> String {
        RegisterLab.key(container, service)
    }

    private func isRunning(_ container: String, _ lab: RegisterLab) async throws -> Bool {
        try await lab.engine.docker("inspect", "-f", "{{.State.Running}}", container) == ["true"]
    }

    /// Runs a script as the first process of a container whose ports are published.
    private func run(_ flags: [String] = [], script: String, _ lab: RegisterLab) async throws -> String {
        try await lab.engine.run(["-P", "--entrypoint", "/bin/sh"] + flags + ["whoami", "-c", script])
    }

    // MARK: What hangs

    @Test func `a container whose inspection hangs delays neither another one's start nor its end`() async throws {
        try await RegisterLab.with { lab in
            let proxy = try EngineProxy(at: "\(lab.host.folder)/proxy.sock", before: lab.engine.socket)
            let web = try await lab.engine.run("-P", "whoami")
            let stuck = try await lab.engine.run("-P", "--name", "stuck", "whoami")
            let agent = try lab.register(["DOCKER_HOST": proxy.url, "RESYNC_INTERVAL": "3600"])
            #expect(await lab.holdsKeys([key(web), key(stuck)]))
            proxy.hang(stuck)
            try await lab.engine.docker("rename", "stuck", "renamed")
            #expect(await agent.logs("cannot inspect a container", stuck))
            // From now on one inspection of it hangs after the other.
            for _ in 0..<3 {
                try await lab.engine.docker("rename", "renamed", "again")
                try await lab.engine.docker("rename", "again", "renamed")
                let start = ContinuousClock.now
                let late = try await lab.engine.run("-P", "whoami")
                #expect(await lab.holdsKeys([key(web), key(stuck), key(late)]))
                try await lab.engine.docker("kill", late)
                #expect(await lab.holdsKeys([key(web), key(stuck)]))
                // Each inspection that hangs takes two seconds.
                #expect(ContinuousClock.now - start < .seconds(2))
            }
            proxy.hang(stuck, false)
            try await lab.engine.docker("kill", stuck)
            #expect(await lab.holdsKeys([key(web)]))
        }
    }

    // MARK: What is no service

    @Test func `one-off containers and steps of a build are left out`() async throws {
        try await RegisterLab.with { lab in
            let oneOff = "com.docker.compose.oneoff=True"
            _ = try await lab.engine.run("-P", "--name", "run", "-l", oneOff, "whoami")
            let named = try await lab.engine.run("-P", "-l", oneOff, "-l", "SERVICE_NAME=web", "whoami")
            let agent = try lab.register(["INTERNAL": "true"])
            #expect(await lab.holdsKeys([key(named, "web")]))
            #expect(await agent.logs("container not registered", "container=run", "one-off container"))
            // The classic builder; its containers have the labels that the Dockerfile gives before the step.
            let script = """
                mkdir -p \(lab.host.folder)/build && cd \(lab.host.folder)/build
                printf 'FROM whoami\\nLABEL SERVICE_NAME=built\\nRUN /bin/busybox sleep 3\\n' > Dockerfile
                DOCKER_BUILDKIT=0 docker -H \(lab.engine.url) build -q .
                """
            let watched = try await lab.watch()
            try await lab.laboratory.run("/bin/sh", ["-c", script], on: lab.host)
            #expect(await agent.logs("container not registered", "it is a step of docker build"))
            #expect(!watched.lines.contain("built"))
        }
    }

    // MARK: Signals

    @Test func `the stop signal withdraws before the end, other signals do not, and who lives on comes back`()
        async throws
    {
        try await RegisterLab.with { lab in
            let deaf = "trap '' HUP USR1 TERM INT; while true; do /bin/busybox sleep 1; done"
            let plain = try await run(script: deaf, lab)
            let custom = try await run(["--stop-signal", "SIGINT"], script: deaf, lab)
            let agent = try lab.register(["RESYNC_INTERVAL": "3600"])
            #expect(await lab.holdsKeys([key(plain), key(custom)]))
            let changes = try await lab.watch()
            for signal in ["HUP", "USR1"] { try await lab.engine.docker("kill", "--signal", signal, plain, custom) }
            try await lab.engine.docker("kill", "--signal", "TERM", custom)
            try await lab.engine.docker("kill", "--signal", "INT", plain)
            // A later event is through: those before it have been looked at.
            let later = try await run(script: deaf, lab)
            #expect(await lab.holdsKeys([key(plain), key(custom), key(later)]))
            #expect(changes.lines.count(of: "DELETE") == 1)

            try await lab.engine.docker("kill", "--signal", "INT", custom)
            #expect(await lab.holdsKeys([key(plain), key(later)]))
            #expect(try await isRunning(custom, lab))
            // One second to stop, and the margin of five.
            let stubborn = try await run(["--stop-timeout", "1"], script: deaf, lab)
            #expect(await lab.holdsKeys([key(plain), key(later), key(stubborn)]))
            try await lab.engine.docker("kill", "--signal", "TERM", stubborn)
            #expect(await lab.holdsKeys([key(plain), key(later)]))
            let left = ContinuousClock.now
            #expect(await lab.holdsKeys([key(plain), key(later), key(stubborn)]))
            #expect(ContinuousClock.now - left > .seconds(4))

            // docker stop: the process ends seconds after its entry.
            let gentle = try await run(
                script: "trap '/bin/busybox sleep 3; exit' TERM; while true; do /bin/busybox sleep 0.1; done", lab)
            #expect(await lab.holdsKeys([key(plain), key(later), key(stubborn), key(gentle)]))
            async let stopped = lab.engine.docker("stop", "-t", "10", gentle)
            #expect(await lab.holdsKeys([key(plain), key(later), key(stubborn)]))
            #expect(try await isRunning(gentle, lab))
            _ = try await stopped
            #expect(agent.ending == nil)
        }
    }

    // MARK: Changes

    @Test func `restart, rename, update and changes of networks are followed`() async throws {
        try await RegisterLab.with { lab in
            // Ports are published through the network whose name comes first, and "bridge" is the other one.
            try await lab.engine.docker("network", "create", "another")
            let first = try await lab.engine.run("-P", "--name", "first", "whoami")
            let second = try await lab.engine.run("-P", "--name", "second", "whoami")
            let agent = try lab.register(["RESYNC_INTERVAL": "3600"])
            #expect(await lab.holds([key(first): try lab.published(first), key(second): try lab.published(second)]))

            // What another container takes meanwhile, a restart does not get back.
            try await lab.engine.docker("restart", "-t", "0", "first", "second")
            #expect(await lab.holds([key(first): try lab.published(first), key(second): try lab.published(second)]))
            try await lab.engine.docker("rename", "first", "renamed")
            #expect(await eventually { (try? await lab.meta(first))??.container == "renamed" })
            let changes = try await lab.watch()
            try await lab.engine.docker("update", "--cpu-shares", "512", "renamed")
            try await lab.engine.docker("rename", "second", "other")
            #expect(await eventually { (try? await lab.meta(second))??.container == "other" })
            #expect(!changes.lines.contain("/backends/whoami/\(first)"))

            // The engine publishes its ports anew, and sends no event of the container's.
            for change in ["connect", "disconnect"] {
                let before = try await lab.published(first)
                try await lab.engine.docker("network", change, "another", "renamed")
                #expect(try await lab.published(first) != before)
                #expect(
                    await lab.holds([key(first): try lab.published(first), key(second): try lab.published(second)]))
            }
            #expect(agent.ending == nil)
        }
    }

    @Test func `a container that the kernel kills for its memory leaves, and one that goes on stays`() async throws {
        try await RegisterLab.with { lab in
            let agent = try lab.register(["RESYNC_INTERVAL": "3600"])
            // More than runc needs to start a container, which counts too.
            let flags = ["-m", "32m", "--memory-swap", "32m"]
            // A shell that fills a variable when it is told to, itself or in a child that alone is killed.
            let hog = "until [ -e /tmp/go ]; do /bin/busybox sleep 0.1; done; x=x; while true; do x=$x$x; done"
            let dies = try await run(flags, script: hog, lab)
            let stays = try await run(
                flags, script: "( \(hog) ) & while true; do /bin/busybox sleep 1; done", lab)
            #expect(await lab.holdsKeys([key(dies), key(stays)]))
            for container in [stays, dies] {
                try await lab.engine.docker("exec", container, "/bin/busybox", "touch", "/tmp/go")
            }
            #expect(await lab.holdsKeys([key(stays)]))
            let state = try await lab.engine.docker("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", dies)
            #expect(state == ["true 137"])
            let later = try await lab.engine.run("-P", "whoami")
            #expect(await lab.holdsKeys([key(stays), key(later)]))
            #expect(try await lab.meta(dies)?.withdrawn == "container stopped")
            #expect(agent.log.count(of: stays) == 1)
        }
    }

    @Test func `containers that start and die within a tenth of a second leave nothing behind`() async throws {
        try await RegisterLab.with { lab in
            let agent = try lab.register(["TTL": "3", "RESYNC_INTERVAL": "3600"])
            let stays = try await lab.engine.run("-P", "whoami")
            #expect(await lab.holdsKeys([key(stays)]))
            for time in ["0", "0", "0.02", "0.05", "0.08"] {
                _ = try await run(["--rm"], script: "/bin/busybox sleep \(time)", lab)
            }
            let last = try await lab.engine.run("-P", "whoami")
            #expect(await lab.holdsKeys([key(stays), key(last)]))
            // Those that were registered for a moment are told as withdrawn for three TTLs.
            let keys = [key(stays), key(stays) + "/meta", key(last), key(last) + "/meta"].sorted()
            #expect(await eventually { (try? await lab.laboratory.entries().keys.sorted()) == keys })
            #expect(agent.ending == nil)
        }
    }
}
