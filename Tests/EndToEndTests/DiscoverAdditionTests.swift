import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "docker-discover's added files", .timeLimit(.minutes(2)),
    .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct DiscoverAdditionTests {
    private let files: ScratchFolder
    private let one: StubServer
    private let port: Int
    private let place: Int

    init() throws {
        files = try ScratchFolder()
        one = try DiscoverLab.backend("one")
        port = try FreePort.take()
        place = try FreePort.take()
    }

    private func write(_ text: String, to name: String) throws {
        try Data(text.utf8).write(to: URL(filePath: files.path + "/" + name))
    }

    private var settings: [String: String] {
        [
            "GLOBAL_FILE": files.path + "/global", "DEFAULTS_FILE": files.path + "/defaults",
            "EXTRA_FILE": files.path + "/extra",
        ]
    }

    private func extra(_ answer: String) -> String {
        "listen mine\n    mode http\n    bind 127.0.0.1:\(place)\n    http-request return status 200 content-type text/plain string \(answer)\n"
    }

    @Test func `files are added as they are, read again at SIGHUP, and a wrong one changes nothing`() async throws {
        try await withDiscoverLab { lab in
            try write("tune.maxaccept 50\r\ntune.comp.maxlevel 2", to: "global")
            try write("option dontlognull\n", to: "defaults")
            try write(extra("first"), to: "extra")
            let agent = try lab.start(settings)
            #expect(await DiscoverLab.answers(place, "first"))
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(lab.configuration.contains("\ntune.maxaccept 50\ntune.comp.maxlevel 2\n"))
            try write(extra("second") + "    nonsense\n", to: "extra")
            try write("tune.maxaccept 60\n", to: "global")
            agent.signal(SIGHUP)
            #expect(await agent.logs("keeping the previous one", "EXTRA_FILE", "\(files.path)/extra:5", "nonsense"))
            #expect(await eventually { lab.configuration.contains("\ntune.maxaccept 60\n") })
            #expect(await DiscoverLab.get(place) == "first")
            // The registry goes on.
            try await lab.etcd.ctl("del", "/backends/web/1")
            #expect(await DiscoverLab.falls(silent: port))
            try write(extra("second"), to: "extra")
            agent.signal(SIGHUP)
            #expect(await DiscoverLab.answers(place, "second"))
            try FileManager.default.removeItem(atPath: files.path + "/defaults")
            agent.signal(SIGHUP)
            #expect(await agent.logs("keeping the previous one", "DEFAULTS_FILE", "there is no file"))
            #expect(lab.configuration.contains("option dontlognull\n"))
            #expect(agent.log.count(of: "level=error") == 2)
        }
    }

    @Test func `a start with a wrong file is one without it`() async throws {
        try await withDiscoverLab { lab in
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            try write("\u{1}", to: "global")
            try write("timeout client 7m\nnonsense many\n", to: "defaults")
            try write(extra("mine"), to: "extra")
            let agent = try lab.start(settings)
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await DiscoverLab.answers(place, "mine"))
            #expect(agent.log.contain("snippet rejected; left out", "GLOBAL_FILE", "line 1: it is not text"))
            #expect(
                agent.log.contain("snippet rejected; left out", "DEFAULTS_FILE", "\(files.path)/defaults:2", "nonsense")
            )
            #expect(try await agent.stop() == .exited(0))
            try write("listen mine\n    bind nonsense\n", to: "extra")
            let next = try lab.start(settings)
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(next.log.contain("snippet rejected; left out", "EXTRA_FILE"))
            #expect(await DiscoverLab.falls(silent: place))
            try write(extra("mine"), to: "extra")
            next.signal(SIGHUP)
            #expect(await DiscoverLab.answers(place, "mine"))
        }
    }

    @Test(arguments: ["pidfile /nonexistent/pid", "chroot /nonexistent"])
    func `what only a start shows to be wrong costs no more than that start`(line: String) async throws {
        try await withDiscoverLab { lab in
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            try write("tune.maxaccept 50\n", to: "global")
            let settings = settings.filter { $0.key == "GLOBAL_FILE" }
            let agent = try lab.start(settings)
            #expect(await DiscoverLab.answers(port, "one"))
            try write("\(line)\n", to: "global")
            agent.signal(SIGHUP)
            #expect(await agent.logs("keeping the previous one", "GLOBAL_FILE", "/nonexistent"))
            // Other changes go on.
            try await lab.put(["more/port": "\(place)", "more/1": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(place, "one"))
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(lab.configuration.contains("\ntune.maxaccept 50\n"))
            #expect(agent.log.count(of: "keeping the previous one") == 1)
            #expect(agent.log.count(of: "HAProxy exited") <= 1)
            // The next start has no more than one try either, and is one without the file.
            #expect(try await agent.stop() == .exited(0))
            let next = try lab.start(settings)
            #expect(await DiscoverLab.answers(place, "one"))
            #expect(await next.logs("snippet rejected; left out", "GLOBAL_FILE", "/nonexistent"))
            #expect(next.log.count(of: "snippet rejected") == 1)
            #expect(await eventually { !lab.configuration.contains("/nonexistent") })
            try write("tune.maxaccept 50\n", to: "global")
            next.signal(SIGHUP)
            #expect(await eventually { lab.configuration.contains("\ntune.maxaccept 50\n") })
            #expect(await DiscoverLab.answers(port, "one"))
        }
    }

    @Test func `an HAProxy that dies is started without a file that has become wrong since`() async throws {
        try await withDiscoverLab { lab in
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            let folder = files.path + "/run"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
            try write("pidfile \(folder)/pid\n", to: "global")
            let agent = try lab.start(settings.filter { $0.key == "GLOBAL_FILE" })
            #expect(await agent.applies("services=1"))
            #expect(lab.configuration.contains("pidfile "))
            try FileManager.default.removeItem(atPath: folder)
            kill(try #require(lab.haproxies().master), SIGKILL)
            #expect(await agent.logs("level=error", "snippet rejected; left out", "GLOBAL_FILE", "pid"))
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await eventually { !lab.configuration.contains("pidfile ") })
            #expect(agent.log.count(of: "HAProxy exited") == 1)
        }
    }

    @Test func `a service that a file leads to may have no endpoint yet, or none any more`() async throws {
        try await withDiscoverLab { lab in
            let tcp = try FreePort.take()
            try write(
                """
                frontend edge
                    mode http
                    bind 127.0.0.1:\(place)
                    use_backend web if { path_beg /web } { nbsrv(web) ge 0 }
                frontend plain
                    bind 127.0.0.1:\(tcp)
                    default_backend db

                """, to: "extra")
            let agent = try lab.start(settings.filter { $0.key == "EXTRA_FILE" })
            #expect(await eventually { await DiscoverLab.status(place, "/web") == "503" })
            // A connection in mode tcp is closed, and not kept until a time limit.
            let begin = ContinuousClock.now
            #expect(await DiscoverLab.status(tcp, "/") == nil)
            #expect(begin.duration(to: .now) < .seconds(4))
            try await lab.put([
                "web/port": "\(port)", "web/1/meta": #"{"mode":"http"}"#, "web/1": "127.0.0.1:\(one.port)",
            ])
            #expect(await eventually { await DiscoverLab.get(place, "/web") == "one" })
            try await lab.etcd.ctl("del", "/backends/web/1")
            #expect(await eventually { await DiscoverLab.status(place, "/web") == "503" })
            #expect(await agent.logs("service has no endpoint", "service=web"))
            // The registry is followed.
            let other = try FreePort.take()
            try await lab.put(["more/port": "\(other)", "more/1": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(other, "one"))
            // In a mode that the section cannot lead to, it costs only itself.
            try await lab.put(["web/1/meta": #"{"mode":"tcp"}"#, "web/1": "127.0.0.1:\(one.port)"])
            #expect(await agent.logs("service not served", "service=web", "HAProxy says"))
            #expect(await DiscoverLab.status(place, "/web") == "503")
            #expect(await DiscoverLab.get(other) == "one")
            // Nor does it cost the file, where both are read at the same time.
            try await agent.kill()
            let next = try lab.start(settings.filter { $0.key == "EXTRA_FILE" })
            #expect(await next.logs("service not served", "service=web", "HAProxy says"))
            #expect(await eventually { await DiscoverLab.status(place, "/web") == "503" })
            // A name that can be no service is the file's mistake.
            try write("frontend edge\n    bind 127.0.0.1:\(place)\n    default_backend _web\n", to: "extra")
            next.signal(SIGHUP)
            #expect(await next.logs("keeping the previous one", "line 3", "'_web' is no section of this file"))
        }
    }

    @Test func `services make way for sections and ports that are added`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start(settings.filter { $0.key == "EXTRA_FILE" })
            #expect(await agent.logs("snippet rejected; left out", "there is no file"))
            try await lab.put([
                "web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)", "mine/port": "\(try FreePort.take())",
                "mine/1": "127.0.0.1:1", "third/port": "\(place)", "third/1": "127.0.0.1:\(one.port)",
            ])
            #expect(await DiscoverLab.answers(place, "one"))
            try write(extra("mine"), to: "extra")
            agent.signal(SIGHUP)
            #expect(await DiscoverLab.answers(place, "mine"))
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await agent.logs("service not served", "service=third", "EXTRA_FILE listens on port \(place)"))
            #expect(
                await agent.logs("service not served", "service=mine", "EXTRA_FILE has a section of the same name"))
            var holder: StubServer? = try DiscoverLab.backend("other")
            try write(extra("mine") + "    bind 127.0.0.1:\(holder?.port ?? 0)\n", to: "extra")
            agent.signal(SIGHUP)
            #expect(await agent.logs("keeping the previous one", "which is in use by process"))
            #expect(await DiscoverLab.get(place) == "mine")
            holder = nil
        }
    }
}
