import Shared
import Synchronization
import TestSupport
import Testing

@Suite("Check load", .timeLimit(.minutes(2)), .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct CheckLoadTests {
    @Test func `an endpoint is checked as often as the number of consumers allows, whatever it asks for`() async throws
    {
        try await withDiscoverLab { lab in
            let checks = Atomic(0)
            // A check that only connects is over before its server knows of it, so this one asks.
            let endpoint = try StubServer { connection in
                guard connection.request() != nil else { return }
                checks.add(1, ordering: .relaxed)
                connection.send("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
            }
            // Records of other docker-discovers; what is in them does not matter.
            let others = 20
            try await lab.etcd.transact((1...others).map { "put /backends-consumers/other\($0) x" })
            let agent = try lab.start()
            #expect(await agent.logs("health check interval changed", "min_interval=500ms"))
            try await lab.put([
                "web/config": #"{"port":\#(try FreePort.take()),"check":"http:/","check_interval":"100ms"}"#,
                "web/1": "127.0.0.1:\(endpoint.port)",
            ])
            #expect(await eventually { lab.configuration.contains("inter 500ms") })
            #expect(await eventually { checks.load(ordering: .relaxed) > 0 })
            let before = checks.load(ordering: .relaxed)
            let begin = ContinuousClock.now
            try await Task.sleep(for: .seconds(4))
            let made = Double(checks.load(ordering: .relaxed) - before)
            let rate = made / (begin.duration(to: .now) / .seconds(1))
            // Two a second, each up to a fifth sooner or later.
            #expect(rate > 1 && rate < 3)
            #expect(rate * Double(others + 1) < Double(1.5 * 50))
        }
    }
}
