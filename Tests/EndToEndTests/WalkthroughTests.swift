import Shared
import TestSupport
import Testing

@Suite(
    "Walkthrough",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "haproxy", "ip", "nsenter", "curl", asRoot: true),
        "needs root, Docker, etcd, HAProxy, curl and iproute2"),
    .serialized, .timeLimit(.minutes(5)))
struct WalkthroughTests {
    private static let service = "http://localhost:8000/"

    @Test func `containers on two hosts are found and balanced from a third, join and leave without a failed request`()
        async throws
    {
        try await Laboratory.with("etcd", "backend1", "backend2", "client") { laboratory in
            let client = try laboratory.host("client")
            let backends = [try laboratory.host("backend1"), try laboratory.host("backend2")]
            try await laboratory.startEtcd()
            let engines = [
                try await Engine(in: laboratory, on: backends[0]), try await Engine(in: laboratory, on: backends[1]),
            ]
            var containers: [String] = []
            for engine in engines {
                try await engine.importWhoami("whoami")
                containers.append(try await engine.run("-P", "whoami"))
            }
            let ttl = ["TTL": "4"]
            let agents = [
                try laboratory.register(on: backends[0], engine: engines[0], ttl),
                try laboratory.register(on: backends[1], engine: engines[1], ttl),
            ]
            let discover = try laboratory.discover(on: client)
            try await everyEndpointIsServed(containers, laboratory, client)
            try await keysAreExactly(containers, on: [backends[0], backends[1]], laboratory)

            // Requests alternate.
            let answers = try await laboratory.requests(10, to: Self.service, from: client)
            #expect(Set(answers) == Set(containers.map { "I'm \($0)" }))
            #expect(zip(answers, answers.dropFirst()).allSatisfy { $0 != $1 })

            let load = try Load(to: Self.service, from: client, in: laboratory)

            // Two join.
            for engine in engines { containers.append(try await engine.run("-P", "whoami")) }
            try await everyEndpointIsServed(containers, laboratory, client)
            try await keysAreExactly(
                containers, on: [backends[0], backends[1], backends[0], backends[1]], laboratory)
            try await everyServerIsUp(containers, laboratory, client)

            try await load.stop()
            #expect(load.count > 20)
            #expect(load.failures == [])

            // Three are killed. Whatever asks afterwards, from the same moment on, gets its answer from those left.
            var left = containers
            for (engine, container) in [
                (engines[0], containers[0]), (engines[1], containers[1]), (engines[0], containers[2]),
            ] {
                try await engine.docker("kill", container)
                left.removeAll { $0 == container }
                let answers = try await laboratory.requests(20, to: Self.service, from: client)
                #expect(Set(answers).isSubset(of: left.map { "I'm \($0)" }))
            }
            try await everyEndpointIsServed([containers[3]], laboratory, client)
            try await keysAreExactly([containers[3]], on: [backends[1]], laboratory)

            // One that is stopped, as deployers do, costs nobody a request.
            let stopped = try await engines[0].run("-P", "-e", "LINGER=3000", "whoami")
            let survivor = try await engines[0].run("-P", "whoami")
            try await everyEndpointIsServed([containers[3], stopped, survivor], laboratory, client)
            let more = try Load(to: Self.service, from: client, in: laboratory)
            #expect(await eventually { more.answers.contains("I'm \(stopped)") })
            try await engines[0].docker("stop", stopped)
            let before = more.count
            #expect(await eventually { more.count > before + 30 })
            try await more.stop()
            #expect(more.failures == [])

            // A host's entries go when its agent dies, and only those.
            try await everyEndpointIsServed([containers[3], survivor], laboratory, client)
            try await agents[0].kill()
            #expect(
                await eventually {
                    let keys = try? await laboratory.endpoints().keys.sorted()
                    return keys == ["/backends/whoami/\(containers[3])"]
                })
            try await keysAreExactly([containers[3]], on: [backends[1]], laboratory)
            #expect(try await discover.stop() == .exited(0))
            #expect(try await agents[1].stop() == .exited(0))
        }
    }

    /// Waits until just these containers answer.
    private func everyEndpointIsServed(
        _ containers: [String], _ laboratory: Laboratory, _ client: Laboratory.Host
    ) async throws {
        let expected = Set(containers.map { "I'm \($0)" })
        let isServed = await eventually {
            let answers = try? await laboratory.requests(4 * containers.count, to: Self.service, from: client)
            return Set(answers ?? []) == expected
        }
        #expect(isServed, "expected just \(expected) to answer")
    }

    /// The entries are `HOST_IP:port` for these containers, with their metas, and no others.
    private func keysAreExactly(
        _ containers: [String], on hosts: [Laboratory.Host], _ laboratory: Laboratory
    ) async throws {
        let entries = try await laboratory.entries()
        let metas = entries.filter { $0.key.hasSuffix("/meta") && !$0.value.contains("withdrawn") }
        let endpoints = entries.filter { !$0.key.hasSuffix("/meta") }
        #expect(Set(endpoints.keys) == Set(containers.map { "/backends/whoami/\($0)" }))
        #expect(Set(metas.keys) == Set(containers.map { "/backends/whoami/\($0)/meta" }))
        for (container, host) in zip(containers, hosts) {
            let value = endpoints["/backends/whoami/\(container)"] ?? ""
            #expect(value.hasPrefix("\(host.address):"))
            #expect(Endpoint(value) != nil)
        }
    }

    /// HAProxy's stats page lists these containers, all of them UP.
    private func everyServerIsUp(
        _ containers: [String], _ laboratory: Laboratory, _ client: Laboratory.Host
    ) async throws {
        let areUp = await eventually {
            let states = (try? await laboratory.serverStates(of: "whoami", on: client)) ?? [:]
            return Set(states.keys) == Set(containers) && states.values.allSatisfy { $0 == "UP" }
        }
        #expect(areUp)
        let page = try await laboratory.run("curl", "-sS", "http://localhost:1936/", on: client)
        #expect(page.contains { $0.contains("Statistics Report") })
    }
}
