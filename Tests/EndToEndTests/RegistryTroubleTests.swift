import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "Trouble with a registry of three members", .timeLimit(.minutes(3)), .serialized,
    .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct RegistryTroubleTests {
    /// A cluster with one service of three endpoints under a lease, docker-discover, and requests all the time.
    private struct Scene {
        let cluster: EtcdCluster
        let lab: DiscoverLab
        let agent: Agent
        let port: Int
        let backends: [StubServer]

        /// Puts the entries as docker-register does, under a new lease, and gives the lease.
        @discardableResult
        func register(_ numbers: ClosedRange<Int>) async throws -> String {
            let words = try await cluster.ctl("lease", "grant", "600").first?.split(separator: " ") ?? []
            let lease = String(words[1])
            for number in numbers {
                let key = "/backends/web/\(number)"
                try await cluster.ctl("put", "--lease=\(lease)", key, "127.0.0.1:\(backends[number - 1].port)")
                try await cluster.ctl("put", "--lease=\(lease)", key + "/meta", "{\"port\":\(port)}")
            }
            return lease
        }

        /// Whether just these answer before long, one of several numbers.
        func answers(_ numbers: ClosedRange<Int>) async -> Bool {
            let expected = Set(numbers.map { "b\($0)" })
            return await eventually {
                var seen: Set<String> = []
                for _ in 0..<12 { seen.insert(await DiscoverLab.get(port) ?? "nobody") }
                return seen == expected
            }
        }

        /// Whether a change that is made now arrives.
        func learns(_ name: String) async throws -> Bool {
            let port = try FreePort.take()
            try await cluster.ctl("put", "/backends/\(name)/1", "127.0.0.1:\(backends[0].port)")
            try await cluster.ctl("put", "/backends/\(name)/port", "\(port)")
            return await DiscoverLab.answers(port, "b1")
        }
    }

    private func withScene(_ body: (Scene) async throws -> Void) async throws {
        let cluster = try await EtcdCluster()
        try await withDiscoverLab { lab in
            let agent = try lab.start(["ETCD_HOST": cluster.hosts])
            let scene = Scene(
                cluster: cluster, lab: lab, agent: agent, port: try FreePort.take(),
                backends: try (1...3).map { try DiscoverLab.backend("b\($0)") })
            try await scene.register(1...3)
            #expect(await scene.answers(1...3))
            let load = LoadGenerator(port: scene.port, clients: 1)
            try await body(scene)
            let before = load.count
            #expect(await eventually { load.count > before })
            #expect(await load.stop() == [])
        }
    }

    @Test func `a member that is killed, another leader, and a lost quorum cost nothing`() async throws {
        try await withScene { scene in
            let leader = try await scene.cluster.leader()
            for (number, name) in [((leader + 1) % 3, "follower"), (leader, "leader")] {
                try await scene.cluster.kill(number)
                #expect(await eventually { (try? await scene.learns(name)) == true })
                try scene.cluster.start(number)
                try await scene.cluster.becomesHealthy()
            }
            try await scene.cluster.moveLeader()
            #expect(try await scene.learns("moved"))
            try await scene.cluster.kill(0)
            try await scene.cluster.kill(1)
            #expect(await scene.agent.logs("etcd unreachable"))
            #expect(await scene.answers(1...3))
            try scene.cluster.start(0)
            try scene.cluster.start(1)
            try await scene.cluster.becomesHealthy()
            #expect(try await scene.learns("quorum"))
            #expect(await scene.answers(1...3))
            #expect(!scene.agent.log.contain("lost endpoints"))
        }
    }

    @Test func `changes that were compacted while it was away are found by listing`() async throws {
        try await withScene { scene in
            scene.agent.signal(SIGSTOP)
            try await scene.cluster.ctl("del", "/backends/web/1", "/backends/web/10")
            for number in 0..<20 { try await scene.cluster.ctl("put", "/elsewhere", "\(number)") }
            try await scene.cluster.ctl("compact", "\(try await scene.cluster.revision())")
            // No connection is left in which the changes would wait.
            try await scene.cluster.killAll()
            try await scene.cluster.startAll()
            scene.agent.signal(SIGCONT)
            #expect(await scene.answers(2...3))
            #expect(try await scene.learns("after"))
            #expect(await scene.answers(2...3))
        }
    }

    @Test func `a store that goes back to an earlier state is read anew`() async throws {
        try await withScene { scene in
            let snapshot = try await scene.cluster.saveSnapshot()
            try await scene.cluster.ctl("put", "/backends/late/1", "127.0.0.1:\(scene.backends[0].port)")
            let late = try FreePort.take()
            try await scene.cluster.ctl("put", "/backends/late/port", "\(late)")
            #expect(await DiscoverLab.answers(late, "b1"))
            for number in 0..<20 { try await scene.cluster.ctl("put", "/elsewhere", "\(number)") }
            try await scene.cluster.killAll()
            try await scene.cluster.restore(snapshot)
            try await scene.cluster.startAll()
            // What the snapshot did not have yet was lost, port and all, and nobody deleted it.
            #expect(await scene.agent.logs("keeping lost endpoints that", "service=late", "store was replaced"))
            #expect(await DiscoverLab.get(late) == "b1")
            #expect(try await scene.learns("after"))
            try await scene.register(1...3)
            #expect(await scene.answers(1...3))
        }
    }

    @Test(arguments: ["first", "second"])
    func `an emptied store, the same cluster or another one, takes nothing away that answers`(token: String)
        async throws
    {
        try await withScene { scene in
            for number in 0..<20 { try await scene.cluster.ctl("put", "/elsewhere", "\(number)") }
            try await scene.cluster.killAll()
            #expect(await scene.agent.logs("etcd unreachable"))
            try scene.cluster.wipe(token: token)
            try await scene.cluster.startAll()
            #expect(
                await scene.agent.logs("keeping lost endpoints that", "service=web", "endpoints=3", "registered=0"))
            #expect(await scene.answers(1...3))
            #expect(try await scene.learns("after"))
            // The agents put their entries back one after another.
            try await scene.register(1...1)
            #expect(await scene.agent.logs("no longer keeping lost endpoints", "endpoints=1", "registered again"))
            #expect(await scene.answers(1...3))
            try await scene.register(2...3)
            #expect(await eventually { scene.agent.log.count(of: "registered again") == 3 })
            #expect(await scene.answers(1...3))
            #expect(scene.agent.log.count(of: "by=\"reload") <= 2)
        }
    }

    @Test func `keys that somebody deletes all at once are held as well, and come back`() async throws {
        try await withScene { scene in
            try await scene.cluster.ctl("del", "--prefix", "/backends/")
            #expect(await scene.agent.logs("keeping lost endpoints that", "the lease is gone"))
            #expect(await scene.answers(1...3))
            try await scene.register(1...3)
            #expect(await eventually { scene.agent.log.count(of: "registered again") > 0 })
            #expect(await scene.answers(1...3))
        }
    }
}
