import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "Faults of HAProxy and of its files", .timeLimit(.minutes(3)),
    .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct HAProxyFaultTests {
    private let one: StubServer
    private let two: StubServer
    private let port: Int

    init() throws {
        one = try DiscoverLab.backend("one")
        two = try DiscoverLab.backend("two")
        port = try FreePort.take()
    }

    /// Puts a service, which answers `one`, and waits until it does.
    private func addService(_ lab: DiscoverLab, _ agent: Agent) async throws {
        try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
        #expect(await DiscoverLab.answers(port, "one"))
        #expect(await agent.applies("services=1"))
    }

    @Test func `a worker that hangs is named and replaced`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            try await addService(lab, agent)
            let before = lab.haproxies()
            let worker = try #require(before.workers.first)
            kill(worker, SIGSTOP)
            #expect(await agent.logs("HAProxy worker does not answer", "worker=\(worker)"))
            #expect(await agent.logs("HAProxy worker hangs", "worker=\(worker)"))
            #expect(await agent.logs("killed an HAProxy worker that did not answer", "worker=\(worker)"))
            #expect(await agent.logs("by=\"reload: the worker does not answer\""))
            // As long as the old one was there it had its share of connections, and served none.
            #expect(await eventually { lab.haproxies().workers.count == 1 })
            for _ in 0..<20 { #expect(await DiscoverLab.get(port) == "one") }
            #expect(lab.haproxies().master == before.master)
            #expect(!agent.log.contain("HAProxy exited"))
        }
    }

    @Test func `a worker that pauses for a moment is left alone`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            try await addService(lab, agent)
            let worker = try #require(lab.haproxies().workers.first)
            kill(worker, SIGSTOP)
            #expect(await agent.logs("HAProxy worker does not answer"))
            kill(worker, SIGCONT)
            #expect(await agent.logs("HAProxy worker answers again", "worker=\(worker)"))
            #expect(lab.haproxies().workers == [worker])
            #expect(await DiscoverLab.get(port) == "one")
        }
    }

    @Test func `what HAProxy prints is in the log of the docker-discover that took it over`() async throws {
        try await withDiscoverLab { lab in
            let first = try lab.start()
            try await lab.put(["web/config": #"{"access_log": true}"#])
            try await addService(lab, first)
            #expect(await first.logs("msg=\"connection\"", "service=web"))
            try await first.kill()
            #expect(await DiscoverLab.get(port) == "one")
            let next = try lab.start()
            #expect(await next.logs("took over the running HAProxy"))
            #expect(await DiscoverLab.get(port) == "one")
            #expect(await next.logs("msg=\"connection\"", "service=web", "endpoint=1"))
            try await lab.put(["web/2": "127.0.0.1:1"])
            #expect(await next.logs("haproxy output", "web/2 is DOWN"))
            #expect(next.log.count(of: "by=\"reload") == 0)
        }
    }

    @Test func `an HAProxy whose files are gone is taken over without a request lost`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            try await addService(lab, agent)
            let master = try #require(lab.haproxies().master)
            let load = LoadGenerator(port: port, clients: 2)
            try await agent.kill()
            for name in try FileManager.default.contentsOfDirectory(atPath: lab.statePath) {
                try FileManager.default.removeItem(atPath: lab.statePath + "/" + name)
            }
            let next = try lab.start()
            #expect(await next.logs("took over the running HAProxy", "pid=\(master)"))
            #expect(await next.applies("services=1"))
            let count = load.count
            #expect(await eventually { load.count > count + 100 })
            #expect(await load.stop() == [])
            #expect(lab.haproxies().master == master)
            #expect(!next.log.contain("service not served"))
            #expect(lab.configuration.contains("listen web"))
            // It has made its sockets anew.
            try await lab.put(["web/2": "127.0.0.1:\(two.port)"])
            #expect(await next.logs("msg=\"applied\"", "endpoints=2", "by=\"runtime"))
        }
    }

    @Test(.enabled(if: RealParts.canRun("unshare", "mount", asRoot: true), "needs root and unshare"))
    func `with a full disk what can be done is done at once, and the rest when there is room`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start(stateSize: "1m")
            try await addService(lab, agent)
            let folder = "/proc/\(agent.pid)/root\(lab.statePath)"
            let filler = folder + "/filler"
            let fill = Program("/bin/sh", ["-c", "cat /dev/zero >\(filler)"])
            #expect(try await !fill.run(deadline: .seconds(20)).isSuccess)
            // Endpoints need no file.
            try await lab.put(["web/2": "127.0.0.1:\(two.port)"])
            try await lab.etcd.ctl("del", "/backends/web/1")
            #expect(await eventually { await DiscoverLab.get(port) == "two" })
            #expect(await agent.logs("cannot write haproxy.cfg; retrying", "No space left"))
            let other = try FreePort.take()
            try await lab.put(["other/port": "\(other)", "other/1": "127.0.0.1:\(one.port)"])
            #expect(await agent.logs("HAProxy rejected the new configuration", "No space left"))
            // With waits that grow, the next one would be long now.
            #expect(await eventually { agent.log.count(of: "HAProxy still rejects the configuration") >= 4 })
            let master = try #require(lab.haproxies().master)
            kill(master, SIGKILL)
            #expect(await eventually { lab.haproxies().master.map { $0 != master } == true })
            #expect(await eventually(within: .seconds(8)) { await DiscoverLab.get(port) == "two" })
            #expect(await DiscoverLab.get(port) == "two")
            try FileManager.default.removeItem(atPath: filler)
            #expect(await eventually(within: .seconds(8)) { await DiscoverLab.get(other) == "one" })
            #expect(await agent.logs("HAProxy accepts the configuration again"))
        }
    }

    @Test(.enabled(if: RealParts.canRun("unshare", "mount", asRoot: true), "needs root and unshare"))
    func `an HAProxy that has the same path in another mount namespace is another's`() async throws {
        try await withDiscoverLab { lab in
            let first = try lab.start(stateSize: "8m")
            #expect(await first.logs("HAProxy started"))
            // What stands against it is named.
            let second = try lab.start()
            #expect(try await second.wait() == .exited(1))
            #expect(second.log.contain("STATS_BIND", "in use by process", "(haproxy)"))
            let third = try lab.start(["STATS_BIND": ":\(try FreePort.take())"])
            #expect(await third.logs("HAProxy started"))
            #expect(!third.log.contain("took over"))
            #expect(try await third.stop() == .exited(0))
            #expect(await HealthPage.turns(200, lab))
        }
    }

    @Test func `a state directory in which others may write is refused`() async throws {
        try await withDiscoverLab { lab in
            try FileManager.default.createDirectory(atPath: lab.statePath, withIntermediateDirectories: true)
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: lab.statePath)
            let refused = try lab.start()
            #expect(try await refused.wait() == .exited(1))
            #expect(refused.log.contain("STATE_DIR", "chmod go-w \(lab.statePath)"))
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: lab.statePath)
            let agent = try lab.start()
            #expect(await agent.logs("HAProxy started"))
        }
    }
}
