import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "docker-discover's stats page", .timeLimit(.minutes(3)),
    .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct StatsPageTests {
    private let one: StubServer
    private let port: Int
    private let folder: ScratchFolder

    init() throws {
        one = try DiscoverLab.backend("one")
        port = try FreePort.take()
        folder = try ScratchFolder()
    }

    private func write(_ text: String, to name: String) throws -> String {
        let path = folder.path + "/" + name
        try Data(text.utf8).write(to: URL(filePath: path))
        return path
    }

    private func metricsAreThere() async throws -> Bool {
        let outcome = try await Program(RealParts.haproxy, ["-vv"]).run(deadline: .seconds(10))
        return outcome.lines.contains { $0.hasPrefix("Available services") && $0.contains("prometheus-exporter") }
    }

    @Test func `the page says who it is, where services listen, and where else to look`() async throws {
        try await withDiscoverLab { lab in
            try lab.start()
            try await lab.put([
                "web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)", "web/config": #"{"mode":"http"}"#,
            ])
            #expect(await DiscoverLab.answers(port, "one"))
            let host = ProcessInfo.processInfo.hostName
            #expect(await eventually { await DiscoverLab.get(lab.statsPort)?.contains("http://\(host)") == true })
            let page = try #require(await DiscoverLab.get(lab.statsPort))
            #expect(page.contains("on \(host): docker-discover \(Version.current)"))
            #expect(page.contains("<a href=\"/healthz\">") && page.contains("<a href=\"/;csv\">"))
            #expect(page.contains("<a href=\"http://\(host):\(port)/\">\(port)</a>"))
            #expect(page.contains("127.0.0.1:\(one.port)"))
            let metrics = await DiscoverLab.get(lab.statsPort, "/metrics")
            let areThere = try await metricsAreThere()
            #expect((metrics?.contains("haproxy_backend_status") == true) == areThere)
            #expect(page.contains("<a href=\"/metrics\">") == areThere)
        }
    }

    @Test func `users come from a file, read again at SIGHUP, and no password is told`() async throws {
        try await withDiscoverLab { lab in
            let file = try write("me:it's $HOME \"#\\\n", to: "users")
            let agent = try lab.start(["STATS_AUTH": file])
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await HealthPage.status(lab) == 200)
            let areThere = try await metricsAreThere()
            for path in ["/", "/;csv"] + (areThere ? ["/metrics"] : []) {
                #expect(await HealthPage.status(lab, path) == 401)
                #expect(await HealthPage.status(lab, path, user: "me:it's $HOME") == 401)
                #expect(await HealthPage.status(lab, path, user: "me:it's $HOME \"#\\") == 200)
            }
            let attributes = try FileManager.default.attributesOfItem(atPath: lab.statePath + "/haproxy.cfg")
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            _ = try write("me:second-secret\nyou second-secret\n", to: "users")
            agent.signal(SIGHUP)
            #expect(await agent.logs("cannot read STATS_AUTH; keeping the previous users", "\(file), line 2"))
            #expect(await HealthPage.status(lab, "/", user: "me:it's $HOME \"#\\") == 200)
            _ = try write("you:third-secret\n", to: "users")
            agent.signal(SIGHUP)
            #expect(await eventually { await HealthPage.status(lab, "/", user: "you:third-secret") == 200 })
            #expect(await HealthPage.status(lab, "/", user: "me:it's $HOME \"#\\") == 401)
            #expect(!agent.log.all.contains { $0.contains("secret") || $0.contains("$HOME") })
            #expect(try await agent.stop() == .exited(0))
            _ = try write("you-third-secret\n", to: "users")
            let wrong = try lab.start(["STATS_AUTH": file])
            #expect(try await wrong.wait() == .exited(64))
            #expect(wrong.log.contain("STATS_AUTH", "line 1") && !wrong.log.contain("secret"))
        }
    }

    @Test func `healthz is 503 while HAProxy does not run what was last asked for`() async throws {
        let haproxy = try await RefusingHAProxy(in: folder)
        try await withDiscoverLab { lab in
            let agent = try lab.start(["HAPROXY": haproxy.path, "EXTRA_FILE": try write("", to: "extra")])
            let isBehind = {
                (try? await lab.command("status", "--json"))?.lines.contains { $0.contains("\"behindSince\"") } == true
            }
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(port, "one"), "\(agent.log.all)")
            #expect(await HealthPage.turns(200, lab))
            // What is left out is not asked for: a wrong file, a service that is refused, a port that is taken.
            _ = try write("listen broken\n    nonsense\n", to: "extra")
            agent.signal(SIGHUP)
            #expect(await agent.logs("snippet rejected", "nonsense"))
            try await lab.put(["late/port": "\(one.port)", "late/1": "127.0.0.1:\(one.port)"])
            #expect(await agent.logs("service not served", "in use by process"))
            #expect(await HealthPage.status(lab) == 200)
            try haproxy.refuse(true)
            try await lab.put(["next/port": "\(try FreePort.take())", "next/1": "127.0.0.1:\(one.port)"])
            #expect(await HealthPage.turns(503, lab))
            #expect(await DiscoverLab.get(port) == "one")
            #expect(await eventually { await isBehind() })
            try haproxy.refuse(false)
            #expect(await HealthPage.turns(200, lab))
            #expect(await agent.applies("services=2"))
            #expect(await eventually { await !isBehind() })
        }
    }

    @Test func `healthz turns to 503 some time after docker-discover has died`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(port, "one"))
            // The worker has to have been told once: a fresh one is right by itself.
            let socket = LineSocket(path: lab.statePath + "/haproxy-stats.sock")
            #expect(
                await eventually {
                    (try? await socket.send("show table -stats", deadline: .seconds(5)))?.contains("applied") == true
                })
            try await agent.kill()
            #expect(await HealthPage.status(lab) == 200)
            #expect(await HealthPage.turns(503, lab, within: .seconds(90)))
            #expect(await DiscoverLab.get(port) == "one")
            try lab.start()
            #expect(await HealthPage.turns(200, lab))
        }
    }
}
