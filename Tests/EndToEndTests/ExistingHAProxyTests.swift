import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "An HAProxy that something else runs", .timeLimit(.minutes(3)),
    .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct ExistingHAProxyTests {
    private let one: StubServer
    private let two: StubServer
    private let port: Int

    init() throws {
        one = try DiscoverLab.backend("one")
        two = try DiscoverLab.backend("two")
        port = try FreePort.take()
    }

    /// A lab with docker-discover, the system's HAProxy, and one service, which answers `one`.
    private func withService(
        _ form: ExistingForm, _ settings: [String: String] = [:],
        _ body: (DiscoverLab, SystemHAProxy, RunningProgram, Agent) async throws -> Void
    ) async throws {
        try await withDiscoverLab { lab in
            let system = try SystemHAProxy(form, in: lab.folder)
            // Before, so that the first file has it.
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            let agent = try lab.start(system.settings().merging(settings) { $1 })
            try await system.withStart { running in
                #expect(await DiscoverLab.answers(port, "one"))
                #expect(
                    await eventually {
                        agent.log.contain("external HAProxy is running")
                            || agent.log.contain("took over the running HAProxy")
                    })
                try await body(lab, system, running, agent)
            }
        }
    }

    private func addService(_ name: String, _ lab: DiscoverLab) async throws -> Int {
        let port = try FreePort.take()
        try await lab.put(["\(name)/port": "\(port)", "\(name)/1": "127.0.0.1:\(two.port)"])
        return port
    }

    /// A case that is left out would not be told.
    @Test(
        .enabled(
            if: ExistingForm.possible.contains(.container),
            "unshare or root is missing: no test here has an HAProxy with process ids of its own"))
    func `every form is tested`() { #expect(ExistingForm.possible == ExistingForm.allCases) }

    @Test(arguments: ExistingForm.possible)
    func `endpoints change without a reload, services with one, and it outlives docker-discover`(
        form: ExistingForm
    ) async throws {
        try await withService(form) { lab, system, running, agent in
            let load = LoadGenerator(port: port, clients: 2)
            // It may have come up in the middle of a try to have it load the file.
            #expect(await HealthPage.turns(200, lab))
            let first = agent.log.count(of: "by=\"reload")
            try await lab.put(["web/2": "127.0.0.1:\(two.port)"])
            #expect(await DiscoverLab.answers(port, "two"))
            #expect(agent.log.count(of: "by=\"reload") == first)
            let other = try await addService("other", lab)
            #expect(await DiscoverLab.answers(other, "two"))
            #expect(await agent.logs("by=\"reload: services changed\""))
            #expect(await HealthPage.turns(200, lab))
            // Somebody else reloads it, with the file that is there.
            let reloads = agent.log.count(of: "by=\"reload")
            #expect(
                await eventually {
                    // The socket is away for a moment after each reload.
                    (try? await LineSocket(path: system.socket).send("reload", deadline: .seconds(10))) != nil
                })
            #expect(await agent.logs("HAProxy was reloaded or restarted externally"))
            try await lab.put(["other/2": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(other, "one"))
            #expect(agent.log.count(of: "by=\"reload") == reloads)
            #expect(try await agent.stop() == .exited(0))
            #expect(agent.log.contain("leaving the external HAProxy running"))
            #expect(running.ending == nil)
            #expect(await load.stop() == [])
            let next = try lab.start(system.settings())
            #expect(await next.logs("took over the running HAProxy"))
            try await lab.etcd.ctl("del", "/backends/web/1")
            #expect(await next.applies("by=\"runtime"))
            #expect(next.log.count(of: "by=\"reload") == 0)
            #expect(lab.haproxies().master == nil)
            #expect(running.ending == nil)
        }
    }

    @Test(arguments: ExistingForm.possible)
    func `it may be restarted, and changed meanwhile`(form: ExistingForm) async throws {
        try await withService(form) { lab, system, running, agent in
            let before = agent.log.count(of: "external HAProxy is not running")
            try await system.stop(running)
            // More than once where it was in the middle of a reload, and came back from that before it ended.
            #expect(await eventually { agent.log.count(of: "external HAProxy is not running") > before })
            let other = try await addService("other", lab)
            #expect(await eventually { DiscoverLab.text(system.file)?.contains("listen other") == true })
            try await system.withStart { again in
                #expect(
                    await eventually {
                        agent.log.all.last { $0.contains("external HAProxy is") }?.contains("is running") == true
                    })
                #expect(await DiscoverLab.answers(port, "one"))
                #expect(await DiscoverLab.answers(other, "two"))
                let absences = agent.log.count(of: "external HAProxy is not running")
                try await lab.put(["web/2": "127.0.0.1:\(two.port)"])
                #expect(await DiscoverLab.answers(port, "two"))
                #expect(agent.log.count(of: "external HAProxy is not running") == absences)
                #expect(await HealthPage.turns(200, lab))
                // Both end while the other is away.
                try await agent.kill()
                try await system.stop(again)
            }
            try await lab.put(["other/2": "127.0.0.1:\(one.port)"])
            let next = try lab.start(system.settings())
            #expect(await next.logs("external HAProxy is not running"))
            try await system.withStart { _ in
                #expect(await DiscoverLab.answers(other, "one"))
                #expect(next.log.count(of: "level=error") == 0)
            }
        }
    }

    @Test func `while it finishes its connections to stop it is not brought back`() async throws {
        try await withService(.master) { lab, system, running, agent in
            // It may have come up in the middle of a try to have it load the file.
            #expect(await system.isSettled())
            let absences = agent.log.count(of: "external HAProxy is not running")
            let arrivals = agent.log.count(of: "external HAProxy is running")
            let connection = try LongConnection(port: port)
            #expect(connection.answers("one"))
            running.signalGroup(SIGUSR1)
            #expect(await eventually { agent.log.count(of: "external HAProxy is not running") > absences })
            // For longer than docker-discover waits for one that may just be starting.
            let isBack = await eventually(within: .seconds(2)) {
                agent.log.count(of: "external HAProxy is running") > arrivals
            }
            #expect(!isBack)
            #expect(connection.answers("one"))
            #expect(running.ending == nil)
            connection.end()
            #expect(await eventually { running.ending != nil })
            try await system.withStart { _ in
                #expect(await eventually { agent.log.count(of: "external HAProxy is running") > arrivals })
                #expect(await DiscoverLab.answers(port, "one"))
            }
        }
    }

    @Test func `nor is it when it is told to stop while a file for it is checked`() async throws {
        let folder = try ScratchFolder()
        let haproxy = try await RefusingHAProxy(in: folder)
        try await withService(.master, ["HAPROXY": haproxy.path]) { lab, system, running, agent in
            #expect(await HealthPage.turns(200, lab))
            #expect(await system.isSettled())
            let arrivals = agent.log.count(of: "external HAProxy is running")
            let connection = try LongConnection(port: port)
            #expect(connection.answers("one"))
            try haproxy.wait(true)
            let other = try await addService("other", lab)
            #expect(await eventually { haproxy.hasWaited })
            running.signalGroup(SIGUSR1)
            #expect(await DiscoverLab.falls(silent: port))
            try haproxy.wait(false)
            #expect(await agent.logs("external HAProxy is not running", "it is being stopped"))
            #expect(await eventually { DiscoverLab.text(system.file)?.contains("listen other") == true })
            #expect(await DiscoverLab.get(port) == nil)
            #expect(agent.log.count(of: "level=error") == 0)
            connection.end()
            #expect(await eventually { running.ending != nil })
            try await system.withStart { _ in
                #expect(await eventually { agent.log.count(of: "external HAProxy is running") > arrivals })
                #expect(await DiscoverLab.answers(other, "two"))
            }
        }
    }

    @Test(arguments: ExistingForm.possible)
    func `a file of somebody else's is never replaced`(form: ExistingForm) async throws {
        try await withDiscoverLab { lab in
            let system = try SystemHAProxy(form, in: lab.folder)
            let text = "defaults\n  timeout client 1s\nfrontend mine\n  bind 127.0.0.1:\(try FreePort.take())\n"
            try Data(text.utf8).write(to: URL(filePath: system.file))
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            try await system.withStart { running in
                let refused = try lab.start(system.settings())
                #expect(try await refused.wait() == .exited(1))
                #expect(refused.log.contain("HAPROXY_CONFIG", system.file, "was not written by docker-discover"))
                #expect(DiscoverLab.text(system.file) == text)
                // As the message says.
                try FileManager.default.moveItem(atPath: system.file, toPath: system.file + ".before")
                let agent = try lab.start(system.settings())
                #expect(await DiscoverLab.answers(port, "one"))
                #expect(running.ending == nil)
                try Data(text.utf8).write(to: URL(filePath: system.file))
                let other = try await addService("other", lab)
                #expect(
                    await agent.logs("HAProxy rejected the new configuration", "was not written by docker-discover"))
                #expect(await HealthPage.turns(503, lab))
                #expect(DiscoverLab.text(system.file) == text)
                #expect(await DiscoverLab.get(port) == "one")
                try FileManager.default.removeItem(atPath: system.file)
                #expect(await DiscoverLab.answers(other, "two"))
                #expect(await HealthPage.turns(200, lab))
            }
        }
    }

    @Test(.enabled(if: RealParts.canRun("haproxy", asRoot: true), "needs root"))
    func `it may give up root and the rest of the file system`() async throws {
        let folder = try ScratchFolder()
        let cage = folder.path + "/empty"
        try FileManager.default.createDirectory(atPath: cage, withIntermediateDirectories: true)
        let global = folder.path + "/global"
        try Data("uid 65534\ngid 65534\nchroot \(cage)\n".utf8).write(to: URL(filePath: global))
        try await withService(.master, ["GLOBAL_FILE": global]) { lab, system, _, agent in
            #expect(DiscoverLab.text(system.file)?.contains("chroot \(cage)") == true)
            let other = try await addService("other", lab)
            #expect(await DiscoverLab.answers(other, "two"))
            #expect(await agent.applies("services=2"))
            let reloads = agent.log.count(of: "by=\"reload")
            try await lab.put(["other/2": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(other, "one"))
            #expect(agent.log.count(of: "by=\"reload") == reloads)
            #expect(await HealthPage.turns(200, lab))
            #expect(agent.log.count(of: "level=error") == 0)
        }
    }

    @Test func `an HAProxy of its own that is left has to go first`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            #expect(await HealthPage.turns(200, lab))
            try await agent.kill()
            let master = try #require(lab.haproxies().master)
            let system = try SystemHAProxy(.master, in: lab.folder)
            let refused = try lab.start(system.settings())
            #expect(try await refused.wait() == .exited(1))
            #expect(refused.log.contain("started itself", "kill \(master)"))
        }
    }

    @Test(arguments: ExistingForm.possible)
    func `a file that is refused as a whole changes nothing`(form: ExistingForm) async throws {
        let folder = try ScratchFolder()
        let haproxy = try await RefusingHAProxy(in: folder)
        try await withService(form, ["HAPROXY": haproxy.path]) { lab, system, _, agent in
            try haproxy.refuse(true)
            let before = DiscoverLab.text(system.file)
            let other = try await addService("other", lab)
            #expect(await agent.logs("HAProxy rejected the new configuration"))
            #expect(await HealthPage.turns(503, lab))
            #expect(DiscoverLab.text(system.file) == before)
            #expect(await DiscoverLab.get(port) == "one")
            try haproxy.refuse(false)
            #expect(await DiscoverLab.answers(other, "two"))
            #expect(await HealthPage.turns(200, lab))
        }
    }

    @Test(
        arguments: [
            ("echo no luck today; exit 3", "exit status 3: no luck today"),
            ("exec sleep 300", "did not end within 10s"),
            ("exit 0", "did not confirm within"),
        ])
    func `a reload command that fails, hangs or lies is told, and what runs is kept`(
        script: String, told: String
    ) async throws {
        let folder = try ScratchFolder()
        let path = folder.path + "/reload"
        try Data(script.utf8).write(to: URL(filePath: path))
        try await withService(.command, ["RELOAD_COMMAND": "sh \(path)"]) { lab, system, _, agent in
            let other = try await addService("other", lab)
            #expect(
                await eventually(within: .seconds(30)) {
                    agent.log.contain("HAProxy rejected the new configuration", told)
                })
            // It is in place while a try lasts.
            #expect(await eventually { DiscoverLab.text(system.file)?.contains("listen other") == false })
            #expect(await DiscoverLab.get(port) == "one")
            #expect(await HealthPage.turns(503, lab))
            try Data(system.reloadCommand.utf8).write(to: URL(filePath: path))
            #expect(await eventually(within: .seconds(45)) { await DiscoverLab.get(other) == "two" })
            #expect(await HealthPage.turns(200, lab))
        }
    }

    @Test func `a reload command that fails although it reloads is only told`() async throws {
        let folder = try ScratchFolder()
        let path = folder.path + "/reload"
        try await withService(.command, ["RELOAD_COMMAND": "sh \(path)"]) { lab, system, _, agent in
            let script = "\(system.reloadCommand); sleep 1; exit 4"
            try Data(script.utf8).write(to: URL(filePath: path))
            #expect(await DiscoverLab.answers(try await addService("other", lab), "two"))
            #expect(await agent.logs("RELOAD_COMMAND failed, although HAProxy has reloaded", "exit status 4"))
            #expect(await agent.applies("services=2"))
            #expect(agent.log.count(of: "level=error") == 0)
        }
    }
}
