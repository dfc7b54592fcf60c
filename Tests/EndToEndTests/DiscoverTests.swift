import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

/// Whether docker-discover can be driven on this machine.
let canDiscover = RealParts.canRun("haproxy", "etcd", "etcdctl", "curl")

@Suite("docker-discover", .timeLimit(.minutes(2)), .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct DiscoverTests {
    @Test func `it serves the stats page at once, and services as they come, change and go`() async throws {
        try await withDiscoverLab { lab in
            try await lab.etcd.kill()
            let agent = try lab.start()
            #expect(await eventually { await DiscoverLab.get(lab.statsPort)?.contains("Statistics Report") == true })
            #expect(await DiscoverLab.get(lab.statsPort, "/metrics")?.contains("haproxy_") == true)
            #expect(await eventually { agent.log.contain("etcd unreachable") })
            try await lab.etcd.start()
            let one = try DiscoverLab.backend("one")
            let two = try DiscoverLab.backend("two")
            let port = try FreePort.take()
            try await lab.put(["web/1": "127.0.0.1:\(one.port)", "web/config": "{\"port\": \(port)}"])
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(agent.log.contain("etcd reachable again"))
            try await lab.put(["web/2": "127.0.0.1:\(two.port)"])
            #expect(await DiscoverLab.answers(port, "two"))
            #expect(await DiscoverLab.answers(port, "one"))
            try await lab.etcd.ctl("del", "/backends/web/1")
            #expect(await agent.applies("endpoints=1"))
            for _ in 0..<4 { #expect(await DiscoverLab.get(port) == "two") }
            let other = try FreePort.take()
            try await lab.put(["web/config": "{\"port\": \(other)}"])
            #expect(await DiscoverLab.answers(other, "two"))
            #expect(await DiscoverLab.falls(silent: port))
            try await lab.etcd.ctl("del", "/backends/web/2")
            #expect(await DiscoverLab.falls(silent: other))
            #expect(await DiscoverLab.get(lab.statsPort) != nil)
            #expect(try await agent.stop() == .exited(0))
            #expect(lab.haproxies().master == nil)
        }
    }

    @Test func `poll mode does the same, and never watches`() async throws {
        try await withDiscoverLab { lab in
            let proxy = try LossyProxy(before: lab.etcd.port)
            try lab.start([
                "ETCD_HOST": proxy.origin.name, "DISCOVER_MODE": "poll", "POLL_INTERVAL": "200ms",
            ])
            let one = try DiscoverLab.backend("one")
            let port = try FreePort.take()
            try await lab.put(["web/1": "127.0.0.1:\(one.port)", "web/port": "\(port)"])
            #expect(await DiscoverLab.answers(port, "one"))
            try await lab.etcd.ctl("del", "--prefix", "/backends/")
            #expect(await DiscoverLab.falls(silent: port))
            #expect(proxy.requests.contains { $0.contains("/v3/kv/range") })
            #expect(!proxy.requests.contains { $0.contains("/v3/watch") })
        }
    }

    @Test func `no request fails while endpoints and services change`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start(["LOG_LEVEL": "info"])
            let backends = try (0..<4).map { try DiscoverLab.backend("b\($0)") }
            let port = try FreePort.take()
            try await lab.put(["web/config": "{\"port\": \(port)}"])
            for (number, backend) in backends.enumerated() {
                try await lab.put(["web/b\(number)": "127.0.0.1:\(backend.port)"])
            }
            #expect(await eventually { agent.log.contain("endpoints=4") })
            let load = LoadGenerator(port: port, clients: 8)
            for round in 0..<10 {
                let place = "s\(round)"
                try await lab.etcd.ctl("del", "/backends/web/b\(round % 4)")
                try await lab.put(["\(place)/port": "\(try FreePort.take())", "\(place)/1": "127.0.0.1:1"])
                #expect(await agent.applies("services=\(round + 2)"))
                try await lab.put(["web/b\(round % 4)": "127.0.0.1:\(backends[round % 4].port)"])
            }
            #expect(await agent.applies("services=11 endpoints=14"))
            let answered = load.count
            #expect(await load.stop() == [])
            #expect(answered > 100)
            #expect(agent.log.count(of: "by=\"reload") > 5)
            withExtendedLifetime(backends) {}
        }
    }

    @Test func `what somebody waits for is confirmed when HAProxy runs it, and nothing else is`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            let port = try FreePort.take()
            let record = {
                try await lab.etcd.ctl("get", "--print-value-only", "--prefix", "/backends-consumers/").first
            }
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:1", "web/2": "127.0.0.1:2"])
            #expect(await agent.applies("endpoints=2"))
            #expect(await eventually { (try? await record())?.contains("\"revision\":0") == true })
            for name in ["2", "1"] {
                try await lab.put(["web/\(name)/meta": #"{"withdrawn":"drained","confirm":true}"#])
                let before = try await record()
                try await lab.etcd.ctl("del", "/backends/web/\(name)")
                try await lab.put(["web/\(name)/meta": #"{"withdrawn":"drained","confirm":true,"at":"now"}"#])
                #expect(await eventually { (try? await record()) != before })
                #expect(try await record()?.contains("\"revision\":0") == false)
            }
        }
    }

    @Test func `a removed endpoint keeps its connections until the time limit, and gets no new one`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start(["DRAIN_TIMEOUT": "3s"])
            let one = try DiscoverLab.backend("one")
            let two = try DiscoverLab.backend("two")
            let port = try FreePort.take()
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(port, "one"))
            let connection = try LongConnection(port: port)
            #expect(connection.answers("one"))
            try await lab.put(["web/2": "127.0.0.1:\(two.port)"])
            try await lab.etcd.ctl("del", "/backends/web/1")
            #expect(await eventually { !lab.configuration.contains("server 1 ") })
            #expect(connection.answers("one"))
            for _ in 0..<6 { #expect(await DiscoverLab.get(port) == "two") }
            #expect(await agent.logs("closing connections to a removed endpoint", "server=web/1", "open=1"))
            #expect(await eventually { !connection.answers("one") })
            // Where the agent was slow to start, the service was there before HAProxy.
            #expect(agent.log.count(of: "by=\"reload") <= 1)
        }
    }

    @Test func `several run side by side, each in its own folder, also in one with the longest path`() async throws {
        try await withDiscoverLab { lab in
            let prefixes = ["/one", "/two"]
            let places = try prefixes.map { _ in try FreePort.take() }
            let pages = try prefixes.map { _ in try FreePort.take() }
            let folders = prefixes.map { lab.folder.path + $0 + String(repeating: "x", count: 74) }
                .map { String($0.prefix(75)) }
            let backends = try prefixes.map { try DiscoverLab.backend($0) }
            for (number, prefix) in prefixes.enumerated() {
                try lab.start([
                    "ETCD_PREFIX": prefix, "STATE_DIR": folders[number], "STATS_BIND": "127.0.0.1:\(pages[number])",
                ])
                try await lab.etcd.ctl("put", "\(prefix)/web/port", "\(places[number])")
                try await lab.etcd.ctl("put", "\(prefix)/web/1", "127.0.0.1:\(backends[number].port)")
            }
            for (number, prefix) in prefixes.enumerated() {
                #expect(await DiscoverLab.answers(places[number], prefix))
                #expect(await DiscoverLab.get(pages[number]) != nil)
            }
        }
    }

    @Test func `what is wrong costs only itself, and is told once`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            let one = try DiscoverLab.backend("one")
            let good = "127.0.0.1:\(one.port)"
            let port = try FreePort.take()
            let shared = try FreePort.take()
            try await lab.put([
                "web/1": good, "web/port": "\(port)", "web/2": "", "web/3": "1.2.3.4", "web/4": ":80",
                "web/5": "1.2.3.4:99999", "web/6": "1.2.3.4:80\nserver x 1.2.3.4:81", "web/7/meta": "{",
                "bad name/1": good, "a/b/c/d": good, "web/8": String(repeating: "x", count: 100_000),
                "first/1": good, "first/port": "\(shared)", "second/1": good, "second/port": "\(shared)",
                "thief/1": good, "thief/port": "\(lab.statsPort)",
            ])
            try await lab.etcd.ctl("put", "--", "/backends/web/9", "\u{1}\u{2}")
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await DiscoverLab.answers(shared, "one"))
            #expect(await eventually { agent.log.contain("service=thief") })
            #expect(lab.configuration.contains("listen first\n"))
            #expect(agent.log.contain("level=error", "service=second", "belongs to service first"))
            #expect(await lab.claim(of: "second") != nil)
            for key in ["web/2", "web/3", "web/4", "web/5", "web/6", "web/7/meta", "bad name/1", "a/b/c/d", "web/8"] {
                #expect(
                    agent.log.count(of: "key=\"/backends/\(key)\"") + agent.log.count(of: "key=/backends/\(key) ") == 1)
            }
            try await lab.etcd.ctl("del", "--prefix", "/backends/first/")
            try await lab.etcd.ctl("del", "/backends-ports/second")
            #expect(await eventually { agent.log.contain("problem resolved", "service=second") })
            #expect(await DiscoverLab.answers(shared, "one"))
        }
    }

    @Test func `a large file follows changes within moments, and has all of them at the end`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            let client = try lab.client()
            let one = try DiscoverLab.backend("one")
            try await client.put(["web/port": "\(try FreePort.take())", "web/config": #"{"check":"none"}"#])
            for start in stride(from: 0, to: 3000, by: 100) {
                try await client.put((start..<start + 100).map { ("web/e\($0)", "127.0.0.1:\(one.port)") })
            }
            #expect(await agent.applies("endpoints=3000"))
            #expect(await eventually { lab.configuration.utf8.count > 64 << 10 })
            try await client.put(["web/later": "127.0.0.1:\(one.port)"])
            #expect(await agent.applies("endpoints=3001"))
            #expect(await eventually { lab.configuration.contains("server later ") })
            try await client.put(["web/last": "127.0.0.1:\(one.port)"])
            #expect(await agent.applies("endpoints=3002"))
            #expect(try await agent.stop() == .exited(0))
            #expect(lab.configuration.contains("server last "))
            withExtendedLifetime(one) {}
        }
    }
}
