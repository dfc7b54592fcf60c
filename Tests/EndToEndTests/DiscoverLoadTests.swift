import FoundationEssentials
import Shared
import TestSupport
import Testing

/// Whether the machine is quiet enough to judge how long answers take.
private let isQuiet = ProcessInfo.processInfo.environment["SIDEKICK_QUIET"] != nil

@Suite(
    "docker-discover under load", .serialized, .timeLimit(.minutes(2)),
    .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct DiscoverLoadTests {
    /// Five hundred fresh connections a second and some long-lived ones; throws where one request of them fails.
    private func withLoad(on port: Int, _ body: () async throws -> Void) async throws {
        let fresh = LoadGenerator(port: port, clients: 20, requests: 1, rate: 500)
        let long = LoadGenerator(port: port, clients: 10, requests: .max, rate: 200)
        let begin = ContinuousClock.now
        try await body()
        let seconds = begin.duration(to: .now) / .seconds(1)
        let failures = await (fresh.stop(), long.stop())
        #expect(failures.0 == [])
        #expect(failures.1 == [])
        // A loaded machine does not come to all five hundred.
        #expect(Double(fresh.count) > 100 * seconds && long.count > 100)
        if isQuiet {
            #expect(fresh.longest < .milliseconds(250))
            #expect(long.longest < .milliseconds(250))
        }
    }

    @Test func `every one of twenty endpoints is replaced without a failed request and without a reload`() async throws
    {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            let client = try lab.client()
            let port = try FreePort.take()
            var backends = try (0..<20).map { try StubServer(answering: "old\($0)") }
            try await client.put(["web/port": "\(port)"])
            for (number, backend) in backends.enumerated() {
                try await client.put(["web/old\(number)": "127.0.0.1:\(backend.port)"])
            }
            #expect(await agent.applies("endpoints=20"))
            let reloads = agent.log.count(of: "by=\"reload")
            try await withLoad(on: port) {
                for number in 0..<20 {
                    let new = try StubServer(answering: "new\(number)")
                    try await client.put(["web/new\(number)": "127.0.0.1:\(new.port)"])
                    #expect(await agent.applies("endpoints=21"))
                    try await client.delete("web/old\(number)")
                    #expect(await agent.applies("endpoints=20"))
                    backends.append(new)
                    // Some time later it accepts no more, and goes on with the connections that it has. One that ended
                    // at once would lose those that it was given and has not accepted yet.
                    if backends.count > 30 { backends.removeFirst() }
                }
            }
            #expect(agent.log.count(of: "by=\"reload") == reloads)
            #expect(agent.log.count(of: "level=error") == 0)
            let answer = await DiscoverLab.get(port)
            #expect(answer?.hasPrefix("new") == true)
        }
    }

    @Test func `a hundred services come without a failed request, and share reloads`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            let client = try lab.client()
            let port = try FreePort.take()
            let backend = try StubServer(answering: "one")
            let address = "127.0.0.1:\(backend.port)"
            try await client.put(["web/port": "\(port)", "web/1": address, "web/2": address])
            #expect(await agent.applies("endpoints=2"))
            let places = try (0..<100).map { _ in try FreePort.take() }
            try await withLoad(on: port) {
                for (number, place) in places.enumerated() {
                    try await client.put(["s\(number)/config": "{\"port\": \(place)}", "s\(number)/1": address])
                    // About as fast as containers start one after another.
                    try await Task.sleep(for: .milliseconds(20))
                }
                #expect(await agent.applies("services=101"))
            }
            for place in [places[0], places[50], places[99]] { #expect(await DiscoverLab.get(place) == "one") }
            #expect(agent.log.count(of: "by=\"reload") < 60)
            withExtendedLifetime(backend) {}
        }
    }
}
