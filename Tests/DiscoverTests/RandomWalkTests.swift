import FoundationEssentials
import Shared
import TestSupport
import Testing

@testable import Discover

/// How many changes: `SIDEKICK_WALK` says otherwise.
private let steps = ProcessInfo.processInfo.environment["SIDEKICK_WALK"].flatMap { Int($0) } ?? 300

@Suite(
    "Random walk", .timeLimit(.minutes(10)), .enabled(if: RealParts.canRun("haproxy"), "haproxy is not installed"))
struct RandomWalkTests {
    /// Five services whose endpoints change at random; each keeps one at least.
    private struct Walk {
        private(set) var services: [[Int: DesiredState.Server]] = Array(repeating: [:], count: 5)
        let ports: [Port]
        let backends: [Port]

        init(backends: [Port]) throws {
            self.backends = backends
            ports = try services.map { _ in port(try FreePort.take()) }
            for service in services.indices { services[service][0] = server(0) }
        }

        private func server(_ id: Int) -> DesiredState.Server {
            var keywords = ServerOptions()
            // Some with what only a new server takes, always the same for one id.
            if id % 4 == 3 { keywords.slowStart = .milliseconds(100) }
            keywords.weight = Bool.random() ? 100 : .random(in: 1...256)
            keywords.maxConnections = Bool.random() ? nil : .random(in: 50...99)
            let place = Endpoint(address: Self.localhost, port: backends.randomElement() ?? backends[0])
            return DesiredState.Server(id: instance("i\(id)"), endpoint: place, keywords: keywords)
        }

        private static let localhost = endpoint("127.0.0.1:1").address

        mutating func change() {
            for _ in 0..<(Int.random(in: 0..<4) == 0 ? Int.random(in: 2...12) : 1) {
                let service = services.indices.randomElement() ?? 0
                let id = Int.random(in: 0..<8)
                let isGoing = services[service][id] != nil && services[service].count > 1 && Bool.random()
                services[service][id] = isGoing ? nil : server(id)
            }
        }

        var plan: DesiredState {
            DesiredState(
                listeners: services.enumerated().map { number, servers in
                    DesiredState.Listener(
                        service: service("s\(number)"), port: ports[number],
                        servers: servers.sorted { $0.key < $1.key }.map(\.value))
                })
        }
    }

    @Test func `after each of many changes HAProxy has just the plan's servers, without one reload`() async throws {
        let backends = try (0..<6).map { try StubServer(answering: "b\($0)") }
        var walk = try Walk(backends: backends.map { port($0.port) })
        try await withDriverLab { lab in
            try await lab.apply(lab.configuration(walk.plan))
            let worker = try await lab.worker()
            var open: [LongConnection] = []
            for step in 0..<steps {
                walk.change()
                let next = lab.configuration(walk.plan)
                let updates = try await lab.apply(next)
                try #require(updates.allSatisfy { $0.isRuntime }, "step \(step): \(updates)")
                let states = try await lab.states()
                let differences = differences(states, walk.plan, lab.driver.current)
                try #require(differences == [], "step \(step): \(updates)")
                #expect(lab.file == next.text)
                _ = await lab.driver.finishDrains()
                try visit(&open, walk.ports)
            }
            open = []
            #expect(await lab.drains())
            #expect(differences(try await lab.states(), walk.plan, nil) == [])
            #expect(try await lab.worker() == worker)
            try await lab.restartDriver()
            #expect(try await lab.apply(lab.configuration(walk.plan)) == [])
        }
        withExtendedLifetime(backends) {}
    }

    /// Opens a connection or ends one, which has worked until then whatever became of its server.
    private func visit(_ open: inout [LongConnection], _ ports: [Port]) throws {
        let index = Int.random(in: 0..<12)
        if index < open.count {
            #expect(try open[index].exchange().hasPrefix("HTTP/1.1 200 "))
            open.remove(at: index)
        } else {
            let connection = try LongConnection(port: Int((ports.randomElement() ?? ports[0]).number))
            #expect(try connection.exchange().hasPrefix("HTTP/1.1 200 "))
            open.append(connection)
        }
    }

    /// What HAProxy tells otherwise than the plan says; servers that are leaving may be there.
    private func differences(_ states: [String: ServerState], _ plan: DesiredState, _ running: RunningConfig?)
        -> [String]
    {
        var told = states
        var wrong: [String] = []
        for listener in plan.listeners {
            for server in listener.servers {
                let state = told.removeValue(forKey: "\(listener.service)/\(server.id)")
                let isRight =
                    state.map {
                        $0.endpoint == server.endpoint && $0.weight == server.keywords.weight && $0.admin == 0
                            && !$0.isDown
                    } ?? false
                if !isRight { wrong.append("\(listener.service)/\(server): \(state.map { "\($0)" } ?? "missing")") }
            }
        }
        for (name, _) in running?.leaving ?? [:] {
            if told.removeValue(forKey: name.description)?.isLeaving == false { wrong.append("\(name) is not leaving") }
        }
        return wrong + told.keys.map { "there is \($0)" }
    }
}
