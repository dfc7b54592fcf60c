import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "docker-register on a real engine",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "ip", "nsenter", "curl", asRoot: true),
        "needs root, Docker, etcd, curl and iproute2"),
    .serialized, .timeLimit(.minutes(5)))
struct RegisterEndToEndTests {
    private typealias Fleet = RegisterLab

    private func withFleet(_ body: @Sendable (Fleet) async throws -> Void) async throws {
        try await RegisterLab.with(body)
    }

    private func key(_ container: String, _ service: String = "whoami") -> String {
        RegisterLab.key(container, service)
    }

    @Test func `the registry follows start, stop, restart, pause, kill and removal, and says why something went`()
        async throws
    {
        try await withFleet { fleet in
            let early = try await fleet.engine.run("-P", "--name", "early", "whoami")
            let agent = try fleet.register()
            #expect(await fleet.holds([key(early): try fleet.published(early)]))
            let late = try await fleet.engine.run("-P", "--name", "late", "whoami")
            #expect(await fleet.holds([key(early): try fleet.published(early), key(late): try fleet.published(late)]))
            #expect(try await fleet.meta(late)?.container == "late")

            try await fleet.engine.docker("stop", "early")
            #expect(await fleet.holdsKeys([key(late)]))
            #expect(try await fleet.meta(early)?.withdrawn == "container stopped")
            #expect(try await fleet.meta(early)?.at != nil)

            // A restart may change the port.
            try await fleet.engine.docker("restart", "late")
            #expect(await fleet.holds([key(late): try fleet.published(late)]))
            try await fleet.engine.docker("start", "early")
            #expect(await fleet.holdsKeys([key(early), key(late)]))
            #expect(try await fleet.meta(early)?.withdrawn == nil)

            // Told to stop, it leaves before its process has ended; other signals mean nothing.
            try await fleet.engine.docker("kill", "--signal", "HUP", "late")
            let slow = try await fleet.engine.run(
                "-P", "--entrypoint", "/bin/sh", "whoami", "-c", "trap '' TERM; while true; do sleep 1; done")
            #expect(await fleet.holdsKeys([key(early), key(late), key(slow)]))
            try await fleet.engine.docker("kill", "--signal", "TERM", slow)
            #expect(await fleet.holdsKeys([key(early), key(late)]))
            let state = try await fleet.engine.docker("inspect", "-f", "{{.State.Running}}", slow)
            #expect(state == ["true"])
            try await fleet.engine.docker("rm", "-f", slow)

            try await fleet.engine.docker("pause", "late")
            #expect(await fleet.holdsKeys([key(early)]))
            try await fleet.engine.docker("unpause", "late")
            #expect(await fleet.holdsKeys([key(early), key(late)]))

            try await fleet.engine.docker("kill", "early")
            #expect(await fleet.holdsKeys([key(late)]))
            try await fleet.engine.docker("rm", "-f", "late")
            #expect(await fleet.holdsKeys([]))
            #expect(agent.ending == nil)
        }
    }

    @Test func `what cannot be registered is left out, told once by name, and disturbs nothing`() async throws {
        try await withFleet { fleet in
            try await fleet.engine.importWhoami("registry.example:5000/team/web:1.2")
            let id = try await fleet.engine.docker("images", "-q", "--no-trunc", "whoami").first ?? ""
            _ = try await fleet.engine.run("--name", "silent", "whoami")
            _ = try await fleet.engine.run("--name", "local", "-p", "127.0.0.1::8000", "whoami")
            _ = try await fleet.engine.run("--name", "nameless", "-P", id)
            _ = try await fleet.engine.run("--name", "udp", "-p", "9000:9000/udp", "whoami")
            _ = try await fleet.engine.run("--name", "ignored", "-P", "-l", "SERVICE_IGNORE=1", "whoami")
            _ = try await fleet.engine.run("--name", "wrong", "-P", "-l", "SERVICE_NAME=a b", "whoami")
            let dns = try await fleet.engine.run(
                "--name", "dns", "-p", "9053:53/udp", "-l", "SERVICE_NAME=dns", "-l", "SERVICE_UDP=true", "whoami")
            let web = try await fleet.engine.run(
                "--name", "web", "-p", "8100:8000", "-p", "127.0.0.1:8101:8000", "-p", "8102:8000", "-p", "9100:9000",
                "-e", "SERVICE_TAGS=blue", "registry.example:5000/team/web:1.2")
            let agent = try fleet.register(["RESYNC_INTERVAL": "1s"])
            #expect(
                await fleet.holds([
                    key(web, "web"): "\(fleet.host.address):8100",
                    key(web, "web-9000"): "\(fleet.host.address):9100",
                    key(dns, "dns-53-udp"): "\(fleet.host.address):9053",
                ]))
            #expect(try await fleet.meta(web, service: "web")?.tags == ["blue"])
            #expect(await agent.logs("container=silent", "publishes no TCP port"))
            #expect(await agent.logs("container=local", "127.0.0.1"))
            #expect(await agent.logs("container=nameless", "SERVICE_NAME"))
            #expect(await agent.logs("container=udp", "publishes no TCP port"))
            #expect(await agent.logs("container=ignored", "SERVICE_IGNORE"))
            #expect(await agent.logs("container=wrong", "SERVICE_NAME=a b"))
            // Two more looks say nothing again.
            let another = try await fleet.engine.run("-P", "whoami")
            #expect(
                await fleet.holdsKeys([key(another), key(web, "web"), key(web, "web-9000"), key(dns, "dns-53-udp")]))
            try await fleet.engine.docker("rm", "-f", another)
            #expect(await fleet.holdsKeys([key(web, "web"), key(web, "web-9000"), key(dns, "dns-53-udp")]))
            for name in ["silent", "local", "nameless", "udp", "ignored", "wrong"] {
                #expect(agent.log.count(of: "container=\(name)") == 1)
            }
        }
    }

    @Test func `what somebody else does to the entries or the lease is put right`() async throws {
        try await withFleet { fleet in
            let container = try await fleet.engine.run("-P", "whoami")
            // Long enough that only the watch can be what notices.
            let agent = try fleet.register(["TTL": "600", "RESYNC_INTERVAL": "3600"])
            let right = [key(container): try await fleet.published(container)]
            #expect(await fleet.holds(right))

            try await fleet.laboratory.ctl("del", key(container))
            #expect(await fleet.holds(right))
            try await fleet.laboratory.ctl("put", key(container), "10.0.0.1:1")
            #expect(await fleet.holds(right))
            try await fleet.laboratory.ctl("del", key(container) + "/meta")
            #expect(await eventually { (try? await fleet.meta(container))??.container != nil })
            try await fleet.laboratory.ctl("put", "/backends/other/1", "10.0.0.1:1")
            try await fleet.laboratory.ctl("del", "--prefix", "/backends/")
            #expect(await fleet.holds(right))
            let leases = try await fleet.laboratory.ctl("lease", "list").dropFirst()
            for lease in leases { try await fleet.laboratory.ctl("lease", "revoke", lease) }
            #expect(await fleet.holds(right))
            #expect(await agent.logs("lease lost"))
        }
    }

    @Test func `etcd may go away, come back as it was or come back empty`() async throws {
        try await withFleet { fleet in
            let first = try await fleet.engine.run("-P", "whoami")
            let agent = try fleet.register(["TTL": "6"])
            #expect(await fleet.holdsKeys([key(first)]))

            fleet.etcd.signal(SIGKILL)
            _ = try await fleet.etcd.wait()
            #expect(await agent.logs("etcd unreachable"))
            let second = try await fleet.engine.run("-P", "whoami")
            let again = try await fleet.laboratory.startEtcd()
            #expect(await fleet.holdsKeys([key(first), key(second)]))
            #expect(await agent.logs("etcd reachable again"))

            again.signal(SIGKILL)
            _ = try await again.wait()
            try await fleet.laboratory.run(
                "rm", "-rf", "\(try fleet.laboratory.host("etcd").folder)/data", on: fleet.host)
            _ = try await fleet.laboratory.startEtcd()
            #expect(await fleet.holdsKeys([key(first), key(second)]))
            #expect(agent.ending == nil)
        }
    }

    @Test func `the engine may crash, and be restarted, with containers that live on or do not`() async throws {
        try await withFleet { fleet in
            let stays = try await fleet.engine.run("-P", "--restart", "always", "whoami")
            let agent = try fleet.register(["TTL": "6"])
            #expect(await fleet.holdsKeys([key(stays)]))

            // After a crash the containers live on, and so do their entries.
            try await fleet.engine.end(SIGKILL)
            #expect(await agent.logs("Docker Engine unreachable"))
            #expect(try await fleet.laboratory.endpoints().count == 1)
            try await fleet.engine.start()
            #expect(await agent.logs("Docker Engine reachable again"))
            #expect(await fleet.holds([key(stays): try fleet.published(stays)]))

            // An engine that is stopped takes its containers down without a word: it closes its events first.
            let goes = try await fleet.engine.run("-P", "whoami")
            #expect(await fleet.holdsKeys([key(stays), key(goes)]))
            try await fleet.engine.end(SIGTERM)
            try await fleet.engine.start()
            #expect(await fleet.holds([key(stays): try fleet.published(stays)]))
            #expect(agent.ending == nil)
        }
    }

    @Test func `a stopped agent leaves its entries, and the next one takes them over without a gap`() async throws {
        try await withFleet { fleet in
            let container = try await fleet.engine.run("-P", "whoami")
            let first = try fleet.register(["TTL": "4"])
            #expect(await fleet.holdsKeys([key(container)]))
            let watched = CapturedLines()
            let watch = try fleet.laboratory.start(
                "etcdctl", ["watch", "--prefix", "/backends/"], on: fleet.host,
                ["ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": try fleet.laboratory.etcdAddress()], onLine: watched.add)
            #expect(try await first.stop() == .exited(0))
            let gone = try await fleet.engine.run("-P", "whoami")
            try await fleet.engine.docker("rm", "-f", gone)
            let second = try fleet.register(["TTL": "4"])
            // The old lease runs out in the meantime.
            #expect(await second.logs("registered", container))
            let late = try await fleet.engine.run("-P", "whoami")
            #expect(await fleet.holdsKeys([key(container), key(late)]))
            try await Task.sleep(for: .seconds(7))
            #expect(await fleet.holdsKeys([key(container), key(late)]))
            watch.signal(SIGKILL)
            #expect(!watched.contain("DELETE"))

            // Killed, and its container gone before the next one starts: that one withdraws it.
            try await second.kill()
            try await fleet.engine.docker("rm", "-f", late)
            let third = try fleet.register(["TTL": "600"])
            #expect(await third.logs("withdrawn", late))
            #expect(await fleet.holdsKeys([key(container)]))
        }
    }

    @Test func `while nothing happens nothing is written, and short-lived containers leave nothing behind`()
        async throws
    {
        try await withFleet { fleet in
            let container = try await fleet.engine.run("-P", "whoami")
            // Many keep-alives and resyncs in a few seconds.
            let agent = try fleet.register(["TTL": "3", "RESYNC_INTERVAL": "1"])
            #expect(await fleet.holdsKeys([key(container)]))
            let before = try await revision(fleet)
            try await Task.sleep(for: .seconds(5))
            #expect(try await revision(fleet) == before)
            for _ in 0..<5 {
                _ = try await fleet.engine.docker(
                    "run", "--rm", "-P", "--entrypoint", "/bin/sh", "whoami", "-c", "exit 0")
            }
            #expect(await fleet.holdsKeys([key(container)]))
            // Their withdrawals are forgotten after three TTLs.
            #expect(await eventually { (try? await fleet.laboratory.entries().count) == 2 })
            #expect(agent.ending == nil)
        }
    }

    private func revision(_ fleet: Fleet) async throws -> String {
        let json = try await fleet.laboratory.ctl("get", "-w", "json", "/none").joined()
        return String(json.split(separator: "\"revision\":").last?.prefix { $0.isNumber } ?? "")
    }
}
