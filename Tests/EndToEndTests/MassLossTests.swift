import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "Mass loss", .timeLimit(.minutes(3)), .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct MassLossTests {
    /// A service of three endpoints under a lease, and docker-discover.
    private struct Scene {
        let lab: DiscoverLab
        let agent: Agent
        let port: Int
        let backends: [StubServer]

        /// Puts the entries in one transaction under a new lease, and gives the lease.
        func register() async throws -> String {
            let words = try await lab.etcd.ctl("lease", "grant", "600").first?.split(separator: " ") ?? []
            let lease = String(words[1])
            for (number, backend) in backends.enumerated() {
                let key = "/backends/web/\(number)"
                try await lab.etcd.ctl("put", "--lease=\(lease)", key + "/meta", "{\"port\":\(port)}")
                try await lab.etcd.ctl("put", "--lease=\(lease)", key, "127.0.0.1:\(backend.port)")
            }
            return lease
        }

        /// Puts the entries under a lease that nobody keeps alive.
        func moveToLease(ttl: Int) async throws {
            let words = try await lab.etcd.ctl("lease", "grant", "\(ttl)").first?.split(separator: " ") ?? []
            try await lab.etcd.transact(
                backends.enumerated().flatMap { number, backend in
                    [
                        #"put /backends/web/\#(number) "127.0.0.1:\#(backend.port)" --lease=\#(words[1])"#,
                        #"put /backends/web/\#(number)/meta "{\"port\":\#(port)}" --lease=\#(words[1])"#,
                    ]
                })
        }

        func expire(_ lease: String) async throws { try await lab.etcd.ctl("lease", "revoke", lease) }

        func isHeld(by agent: Agent) async -> Bool {
            await agent.logs("keeping lost endpoints that", "service=web", "endpoints=3", "registered=0")
        }
    }

    private func withScene(_ settings: [String: String] = [:], _ body: (Scene) async throws -> Void) async throws {
        try await withDiscoverLab { lab in
            let scene = Scene(
                lab: lab, agent: try lab.start(settings), port: try FreePort.take(),
                backends: try (1...3).map { try DiscoverLab.backend("b\($0)") })
            try await body(scene)
        }
    }

    @Test func `an agent's lease that runs out costs no request, and its return none either`() async throws {
        try await withScene { scene in
            _ = try await scene.register()
            #expect(await scene.agent.applies("endpoints=3"))
            let load = LoadGenerator(port: scene.port, clients: 2)
            try await scene.moveToLease(ttl: 5)
            #expect(await scene.isHeld(by: scene.agent))
            let reloads = scene.agent.log.count(of: "by=\"reload")
            let held = load.count
            #expect(await eventually { load.count > held + 50 })
            _ = try await scene.register()
            #expect(await eventually { scene.agent.log.count(of: "registered again") > 0 })
            #expect(await eventually { load.count > held + 100 })
            #expect(await load.stop() == [])
            #expect(scene.agent.log.count(of: "by=\"reload") == reloads)
            #expect(scene.agent.log.count(of: "keeping lost endpoints that") == 1)
        }
    }

    @Test func `a held endpoint whose check fails is dropped, and the others stay`() async throws {
        try await withScene { scene in
            let lease = try await scene.register()
            var doomed: StubServer? = try DiscoverLab.backend("doomed")
            let place = "127.0.0.1:\(try #require(doomed?.port))"
            try await scene.lab.etcd.ctl("put", "--lease=\(lease)", "/backends/web/9", place)
            #expect(await scene.agent.applies("endpoints=4"))
            try await scene.expire(lease)
            #expect(await scene.agent.logs("keeping lost endpoints that", "endpoints=4", "registered=0"))
            #expect(await scene.agent.applies("endpoints=4"))
            doomed = nil
            #expect(await scene.agent.logs("no longer keeping lost endpoints", "reason=down", "first=\(place)"))
            #expect(await eventually { !scene.lab.configuration.contains("server 9 ") })
            for number in 0..<3 { #expect(scene.lab.configuration.contains("server \(number) ")) }
        }
    }

    @Test func `a service that is turned off on purpose goes at once, however it is turned off`() async throws {
        try await withScene { scene in
            let lease = try await scene.register()
            #expect(await scene.agent.applies("endpoints=3"))
            // One transaction with all withdrawals, as when all containers of a host are stopped.
            let words = (0..<3).flatMap { number in
                [
                    #"put /backends/web/\#(number)/meta "{\"withdrawn\":\"stopped\"}" --lease=\#(lease)"#,
                    "del /backends/web/\(number)",
                ]
            }
            try await scene.lab.etcd.transact(words)
            #expect(await DiscoverLab.falls(silent: scene.port))
            for number in 0..<3 {
                try await scene.lab.put(["web/h\(number)": "127.0.0.1:\(scene.backends[number].port)"])
            }
            try await scene.lab.put(["web/port": "\(scene.port)"])
            #expect(await eventually { await DiscoverLab.get(scene.port) != nil })
            try await scene.lab.etcd.ctl("del", "--prefix", "/backends/web/h")
            #expect(await DiscoverLab.falls(silent: scene.port))
            #expect(!scene.agent.log.contain("lost endpoints"))
        }
    }

    @Test func `release lets go, and so does the end of the hold time, for the next docker-discover too`() async throws
    {
        try await withScene { scene in
            let lease = try await scene.register()
            #expect(await scene.agent.applies("endpoints=3"))
            let nothing = try await scene.lab.command("release", "web")
            #expect(nothing.lines == ["nothing is held of web"])
            try await scene.expire(lease)
            #expect(await scene.isHeld(by: scene.agent))
            #expect(await DiscoverLab.get(scene.port) != nil)
            let released = try await scene.lab.command("release", "web")
            #expect(released.isSuccess && released.lines.count == 3)
            #expect(released.lines.first == "released web/0 127.0.0.1:\(scene.backends[0].port)")
            #expect(await DiscoverLab.falls(silent: scene.port))
            let before = scene.agent.log.count(of: "services=1 endpoints=3")
            let second = try await scene.register()
            // What HAProxy has never had up is not held.
            #expect(await eventually { scene.agent.log.count(of: "services=1 endpoints=3") > before })
            #expect(await eventually { await DiscoverLab.get(scene.port) != nil })
            try await scene.expire(second)
            #expect(await eventually { scene.agent.log.count(of: "keeping lost endpoints that") == 2 })
            #expect(await eventually { scene.lab.catalog.contains("\"held\":[") })
            // Over a restart the hold goes on, but no longer than it may.
            try await scene.agent.kill()
            let next = try scene.lab.start()
            #expect(await scene.isHeld(by: next))
            #expect(await DiscoverLab.get(scene.port) != nil)
            try await next.kill()
            let last = try scene.lab.start(["HOLD_TIME": "1ms"])
            #expect(await last.logs("no longer keeping lost endpoints", "hold time over"))
            #expect(await DiscoverLab.falls(silent: scene.port))
            try await last.kill()
            let nobody = try await scene.lab.command("release")
            #expect(nobody.ending == .exited(1))
            #expect(nobody.lines.first?.contains("no docker-discover runs") == true)
        }
    }

    @Test func `what was lost while docker-discover was down is held at its start`() async throws {
        try await withScene { scene in
            let lease = try await scene.register()
            #expect(await scene.agent.applies("endpoints=3"))
            #expect(try await scene.agent.stop() == .exited(0))
            try await scene.expire(lease)
            let next = try scene.lab.start()
            #expect(await scene.isHeld(by: next))
            #expect(await eventually { await DiscoverLab.get(scene.port) != nil })
        }
    }

    @Test func `with a hold time of 0 nothing is held`() async throws {
        try await withScene(["HOLD_TIME": "0"]) { scene in
            let lease = try await scene.register()
            #expect(await scene.agent.applies("endpoints=3"))
            try await scene.expire(lease)
            #expect(await DiscoverLab.falls(silent: scene.port))
        }
    }
}
