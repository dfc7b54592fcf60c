import Shared
import Synchronization
import TestSupport
import Testing

@testable import Register

@Suite("Container source", .timeLimit(.minutes(1)))
struct ContainerWatcherTests {
    private static let web = StubContainer(letter: "a", name: "web")
    private static let api = StubContainer(letter: "b", name: "api", port: 9090)

    /// A source that follows an engine, with what it has handed over; it ends with the value.
    private final class Following: Sendable {
        let log = CapturedLines()
        private let looks = Held()
        private let task: Task<Void, any Error>

        private final class Held: Sendable {
            let all = Mutex<[Docker.ContainerList]>([])
        }

        init(
            _ origin: HTTPOrigin, deadline: Duration = .seconds(15), resync: Duration = .seconds(600),
            stopMargin: Duration = .seconds(600), shortestStream: Duration = .seconds(600)
        ) throws {
            let http = try #require(HTTPClient())
            let logger = Logger(level: .debug, format: .logfmt, write: log.add)
            let source = Docker.ContainerWatcher(
                http, origin, deadline: deadline, resync: resync, stopMargin: stopMargin,
                shortestStream: shortestStream, logger: logger)
            task = Task { [looks] in
                try await source.run { look in looks.all.withLock { $0.append(look) } }
            }
        }

        deinit { task.cancel() }

        /// How often something was handed over.
        var count: Int { looks.all.withLock { $0.count } }

        /// What was handed over last, by name and host port.
        var last: [String: Int]? {
            looks.all.withLock(\.last).map { look in
                Dictionary(
                    uniqueKeysWithValues: look.containers.map {
                        ($0.name, Int($0.bindings.first?.hostPort.number ?? 0))
                    })
            }
        }

        /// Why those without entries have none, by name.
        var idle: [String: Docker.StoppedContainer.Reason]? {
            looks.all.withLock(\.last).map { look in
                Dictionary(look.idle.map { ($0.subject.name, $0.reason) }) { first, _ in first }
            }
        }

        func leaves(_ expected: [String: Docker.StoppedContainer.Reason]) async -> Bool {
            await eventually { idle == expected }
        }

        /// The health of each container that was handed over last, by name.
        var healths: [String: Docker.Health]? {
            looks.all.withLock(\.last).map { look in
                Dictionary(
                    uniqueKeysWithValues: look.containers.compactMap { one in one.health.map { (one.name, $0) } })
            }
        }

        var unreadable: Set<InstanceID>? { looks.all.withLock(\.last)?.unreadable }

        func hands(_ expected: [String: Int]) async -> Bool { await eventually { last == expected } }

        func stop() async {
            task.cancel()
            _ = await task.result
        }
    }

    // MARK: When it looks

    @Test func `it subscribes before it lists`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web)
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080]))
        let requests = engine.requests
        #expect(requests.first == "/_ping")
        #expect(requests.dropFirst().first?.hasPrefix("/v1.41/events?") == true)
        #expect(requests.dropFirst(2).first == "/v1.41/containers/json?all=1")
    }

    @Test func `a stream of events that ends after its time is opened again, and nobody is told`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web)
        let following = try Following(engine.origin, shortestStream: .zero)
        #expect(await following.hands(["web": 8080]))
        engine.run(Self.api)
        engine.endEvents()
        #expect(await following.hands(["api": 9090]))
        #expect(!following.log.contain("Docker Engine unreachable"))
        await following.stop()
    }

    @Test func `an event that comes during a look leads to another look`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web)
        engine.before("/containers/\(Self.web.id)/json") { [weak engine] in
            engine?.before("/containers/\(Self.web.id)/json", nil)
            // The list has been answered: this container is too late for it.
            engine?.run(Self.web, Self.api)
            engine?.event("start", Self.api)
        }
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080, "api": 9090]))
    }

    @Test func `an event leads to a look at once, and what it names is inspected again`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web, Self.api)
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080, "api": 9090]))
        let before = engine.count("/containers/\(Self.api.id)/json")
        var moved = Self.web
        moved.port = 8081
        engine.run(moved, Self.api)
        engine.event("start", moved)
        #expect(await following.hands(["web": 8081, "api": 9090]))
        #expect(engine.count("/containers/\(Self.api.id)/json") == before)
    }

    @Test(arguments: ["", "nonsense", "{}", "[]", #"{"Type":"container","Actor":null}"#, "\0", #"{"Type":1}"#])
    func `an event that cannot be read leads to a look all the same`(line: String) async throws {
        let engine = try StubEngine()
        let following = try Following(engine.origin)
        #expect(await following.hands([:]))
        engine.run(Self.web)
        engine.event(line)
        #expect(await following.hands(["web": 8080]))
    }

    @Test func `without any event it looks again after a while`() async throws {
        let engine = try StubEngine()
        let following = try Following(engine.origin, resync: .milliseconds(50))
        #expect(await following.hands([:]))
        engine.run(Self.web)
        #expect(await following.hands(["web": 8080]))
        engine.run()
        #expect(await following.hands([:]))
    }

    @Test func `a container that is paused or restarts vanishes, and comes back`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web, Self.api)
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080, "api": 9090]))
        for state in ["paused", "restarting"] {
            var stopped = Self.web
            stopped.state = state
            engine.run(stopped, Self.api)
            engine.event("pause", stopped)
            #expect(await following.hands(["api": 9090]))
            engine.run(Self.web, Self.api)
            engine.event("unpause", Self.web)
            #expect(await following.hands(["web": 8080, "api": 9090]))
        }
    }

    @Test func `what does not run is known with its state, also what ends or is removed between two full lists`()
        async throws
    {
        let engine = try StubEngine()
        var old = StubContainer(letter: "c", name: "old")
        old.state = "exited"
        engine.run(Self.web, Self.api, old)
        let following = try Following(engine.origin)
        #expect(await following.leaves(["old": .notRunning(state: "exited")]))
        engine.event("kill", Self.api, #"{"signal":"15"}"#)
        #expect(await following.leaves(["old": .notRunning(state: "exited"), "api": .stopping]))
        var ended = Self.api
        ended.state = "exited"
        engine.run(Self.web)
        engine.answer("/containers/\(Self.api.id)/json", .init(body: ended.inspected))
        engine.event("die", ended)
        #expect(
            await following.leaves(["old": .notRunning(state: "exited"), "api": .notRunning(state: "exited")]))
        engine.answer("/containers/\(old.id)/json", .init(status: 404, body: "gone"))
        engine.event("destroy", old)
        #expect(await following.leaves(["api": .notRunning(state: "exited")]))
        var again = Self.api
        again.started = "2024-05-01T12:00:09Z"
        engine.run(Self.web, again)
        engine.event("start", again)
        #expect(await following.leaves([:]))
        // Only the first list was a full one.
        #expect(engine.requests.count { $0.hasSuffix("?all=1") } == 1)
    }

    @Test func `the health is followed by its events`() async throws {
        let engine = try StubEngine()
        var web = Self.web
        web.health = "starting"
        engine.run(web, Self.api)
        let following = try Following(engine.origin)
        #expect(await eventually { following.healths == ["web": .starting] })
        for (word, health) in [("healthy", Docker.Health.healthy), ("unhealthy", .unhealthy(failures: 3))] {
            web.health = word
            engine.run(web, Self.api)
            // The list is late by a moment.
            engine.answer("/containers/json", .init(body: "[\(Self.web.listed),\(Self.api.listed)]"))
            engine.event("health_status: \(word)", web)
            #expect(await eventually { following.healths == ["web": health] })
        }
    }

    @Test func `a change of health whose event was lost is found at the next look`() async throws {
        let engine = try StubEngine()
        var web = Self.web
        web.health = "healthy"
        engine.run(web)
        let following = try Following(engine.origin, resync: .milliseconds(50))
        #expect(await eventually { following.healths == ["web": .healthy] })
        web.health = "unhealthy"
        engine.run(web)
        #expect(await eventually { following.healths == ["web": .unhealthy(failures: 3)] })
    }

    // MARK: What hangs

    @Test func `a container whose inspection hangs delays neither another one's start nor its end`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web)
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080]))
        let stuck = (0..<10).map { StubContainer(letter: Character("\($0)"), name: "stuck\($0)") }
        for one in stuck { engine.answer("/containers/\(one.id)/json", .init(body: "{", hangs: true)) }
        let all = [Self.web, Self.api] + stuck
        engine.answer("/containers/\(Self.api.id)/json", .init(body: Self.api.inspected))
        engine.answer("/containers/json", .init(body: "[\(all.map(\.listed).joined(separator: ","))]"))
        let start = ContinuousClock.now
        for one in stuck { engine.event("start", one) }
        engine.event("start", Self.api)
        #expect(await following.hands(["web": 8080, "api": 9090]))
        #expect(following.unreadable == Set(stuck.compactMap { InstanceID(containerID: $0.id) }))
        var ended = Self.web
        ended.state = "exited"
        engine.answer("/containers/\(Self.web.id)/json", .init(body: ended.inspected))
        engine.answer("/containers/json", .init(body: "[\(all.dropFirst().map(\.listed).joined(separator: ","))]"))
        engine.event("die", ended)
        #expect(await following.hands(["api": 9090]))
        // Both before the first inspection that hangs has run into its limit of two seconds.
        #expect(ContinuousClock.now - start < .seconds(2))
        #expect(!following.log.contain("cannot inspect a container"))
    }

    @Test func `an inspection that breaks off concerns its container alone`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web)
        engine.answer(
            "/containers/\(Self.web.id)/json", .init(body: Self.web.inspected, headers: ["Content-Length: x"]))
        engine.answer("/containers/\(Self.api.id)/json", .init(body: Self.api.inspected))
        engine.answer("/containers/json", .init(body: "[\(Self.web.listed),\(Self.api.listed)]"))
        let following = try Following(engine.origin)
        #expect(await following.hands(["api": 9090]))
        #expect(await eventually { following.log.contain("cannot inspect a container", "aaaaaaaaaaaa") })
        #expect(!following.log.contain("Docker Engine unreachable"))
    }

    @Test func `which inspections run, and which wait`() {
        var queue = Docker.InspectionQueue()
        let start = ContinuousClock.now
        let all = Set((10..<30).map(String.init))
        queue.add(all, of: all)
        #expect(queue.begin(now: start).sorted() == (10..<18).map(String.init))
        #expect(queue.begin(now: start) == [])
        queue.end("10")
        #expect(queue.begin(now: start) == ["18"])
        // Those that run take long now: they hold up no other.
        let later = start + Docker.InspectionQueue.patience
        #expect(queue.begin(now: later).count == 8)
        #expect(!queue.isSettled(now: later))
        // What has gone is not inspected, and what changed meanwhile is inspected again.
        queue.add(["11", "12"], of: ["11", "12", "29"])
        #expect(queue.begin(now: later + Docker.InspectionQueue.patience) == ["29"])
        queue.end("11")
        #expect(queue.ids.contains("11"))
        #expect(queue.begin(now: later + .seconds(1)) == ["11"])
        for id in queue.ids { queue.end(id) }
        #expect(queue.ids == ["12"] && !queue.isSettled(now: later))
    }

    // MARK: What goes wrong

    @Test func `a failed look hands nothing over, and what comes after the engine's return is handed over`()
        async throws
    {
        let engine = try StubEngine()
        engine.run(Self.web)
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080]))
        #expect(await eventually { following.count == 1 })
        engine.answer("/containers/json", .init(status: 500, body: #"{"message":"out of order"}"#))
        let before = engine.count("/containers/json")
        engine.event("die", Self.web)
        #expect(await eventually { engine.count("/containers/json") > before + 2 })
        #expect(following.count == 1)
        #expect(following.log.count(of: "Docker Engine unreachable") == 1)
        #expect(following.log.contain("out of order"))
        engine.run(Self.api)
        #expect(await following.hands(["api": 9090]))
        #expect(await eventually { following.log.contain("Docker Engine reachable again") })
    }

    @Test func `an engine that ends its events again and again is told as lost, and once more as back`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web)
        let following = try Following(engine.origin)
        for round in 1...6 {
            #expect(await eventually { engine.count("/containers/json") >= round && following.count >= round })
            engine.endEvents()
        }
        #expect(await eventually { following.count >= 7 })
        #expect(following.log.count(of: "Docker Engine unreachable") == 2)
        #expect(following.log.count(of: "Docker Engine reachable again") == 1)
    }

    @Test func `what the log is told of an engine that comes and goes`() {
        var loss = Docker.EngineConnection(shortestStream: .seconds(5))
        var told: [String] = []
        func looked(after seconds: Int) { if loss.looked(inStreamOf: .seconds(seconds)) { told.append("back") } }
        func ended(after seconds: Int, hasLooked: Bool = true) {
            if loss.ended(after: .seconds(seconds), hasLooked: hasLooked) { told.append("lost") }
        }
        looked(after: 0)
        // A stream that has lasted may end.
        ended(after: 6)
        looked(after: 0)
        #expect(told == [])
        ended(after: 1)
        ended(after: 0, hasLooked: false)
        looked(after: 0)
        #expect(told == ["lost", "back"])
        for _ in 0..<4 {
            ended(after: 1)
            looked(after: 0)
        }
        #expect(told == ["lost", "back", "lost"] && loss.isFlapping)
        looked(after: 6)
        #expect(told == ["lost", "back", "lost", "back"] && !loss.isFlapping)
    }

    @Test func `when the events end it subscribes again and lists again`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web)
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080]))
        engine.run(Self.api)
        engine.endEvents()
        #expect(await following.hands(["api": 9090]))
        #expect(engine.requests.count { $0.contains("/events?") } == 2)
    }

    @Test func `an engine that comes late is found, and one that is replaced too`() async throws {
        let folder = try ScratchFolder()
        let following = try Following(.unix("\(folder.path)/docker.sock"))
        #expect(await eventually { following.log.contain("Docker Engine unreachable") })
        let engine = try StubEngine(in: folder)
        engine.run(Self.web)
        #expect(await following.hands(["web": 8080]))
    }

    @Test(arguments: [
        StubEngine.Answer(status: 500, body: #"{"message":"cannot read its state"}"#),
        StubEngine.Answer(body: "nonsense"),
        StubEngine.Answer(body: "{}"), StubEngine.Answer(body: #"{"Id":"x","State":{"Running":true}}"#),
        StubEngine.Answer(body: "{", hangs: true),
    ])
    func `a container that cannot be inspected hides no other, and keeps its last known state`(
        answer: StubEngine.Answer
    ) async throws {
        let engine = try StubEngine()
        engine.run(Self.web, Self.api)
        let following = try Following(engine.origin, deadline: .milliseconds(500))
        #expect(await following.hands(["web": 8080, "api": 9090]))
        var moved = Self.api
        moved.port = 9091
        engine.answer("/containers/\(Self.api.id)/json", .init(body: moved.inspected))
        engine.answer("/containers/\(Self.web.id)/json", answer)
        engine.event("start", Self.web)
        engine.event("start", moved)
        #expect(await following.hands(["web": 8080, "api": 9091]))
        // Also what is known from before the stream of events was lost.
        engine.endEvents()
        #expect(await eventually { engine.requests.count { $0.contains("/events?") } == 2 })
        moved.port = 9092
        engine.answer("/containers/\(Self.api.id)/json", .init(body: moved.inspected))
        engine.event("start", moved)
        #expect(await following.hands(["web": 8080, "api": 9092]))
        #expect(await eventually { following.log.contain("cannot inspect a container", "aaaaaaaaaaaa") })
        var back = Self.web
        back.port = 8082
        engine.run(back, moved)
        engine.event("start", back)
        #expect(await following.hands(["web": 8082, "api": 9092]))
    }

    @Test func `a container that could never be inspected is told apart from one that is gone`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web, Self.api)
        engine.answer("/containers/\(Self.web.id)/json", .init(status: 500, body: "no"))
        let following = try Following(engine.origin, deadline: .milliseconds(300))
        #expect(await following.hands(["api": 9090]))
        #expect(following.unreadable == [try #require(InstanceID("aaaaaaaaaaaa"))])
        #expect(following.idle == ["web": .unreadable])
        // No event says that it is well again.
        engine.run(Self.web, Self.api)
        #expect(await following.hands(["web": 8080, "api": 9090]))
        #expect(following.unreadable == [])
    }

    @Test func `a container that goes between list and inspection is simply not there`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web, Self.api)
        engine.answer(
            "/containers/\(Self.web.id)/json", .init(status: 404, body: #"{"message":"No such container: x"}"#))
        let following = try Following(engine.origin)
        #expect(await following.hands(["api": 9090]))
        #expect(following.unreadable == [])
        #expect(!following.log.contain("cannot inspect"))
    }

    @Test func `it ends at once when it is told to, in the middle of a look`() async throws {
        let engine = try StubEngine()
        engine.answer("/containers/json", .init(body: "[", hangs: true))
        let following = try Following(engine.origin, deadline: .seconds(600))
        #expect(await eventually { engine.count("/containers/json") == 1 })
        let start = ContinuousClock.now
        await following.stop()
        #expect(ContinuousClock.now - start < .seconds(5))
        #expect(following.count == 0)
    }

    // MARK: Stops

    @Test(arguments: [("SIGTERM", 15), ("SIGTERM", 9), ("INT", 2), ("SIGRTMIN+3", 37), ("3", 3)])
    func `a container that is told to stop leaves at once, although it still runs`(stop: String, sent: Int) async throws
    {
        let engine = try StubEngine()
        var web = Self.web
        web.stopSignal = stop
        engine.run(web, Self.api)
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080, "api": 9090]))
        engine.event("kill", web, #"{"signal":"\#(sent)"}"#)
        #expect(await following.hands(["api": 9090]))
        // It stays away at further looks.
        let count = following.count
        engine.event("start", Self.api)
        #expect(await eventually { following.count > count + 1 })
        #expect(following.last == ["api": 9090])
        // Its next life counts anew.
        web.started = "2024-05-01T12:00:09Z"
        engine.run(web, Self.api)
        engine.event("start", web)
        #expect(await following.hands(["web": 8080, "api": 9090]))
    }

    @Test func `a container that is told to stop leaves before the engine has answered anything`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web, Self.api)
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080, "api": 9090]))
        #expect(await eventually { following.count == 1 })
        engine.answer("/containers/json", .init(body: "[", hangs: true))
        engine.event("kill", Self.web, #"{"signal":"15"}"#)
        #expect(await following.hands(["api": 9090]))
    }

    @Test func `a signal to an earlier life does not count for one that begins during the look`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web)
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080]))
        let again = StubContainer(letter: "a", name: "web", started: "2024-05-01T12:00:09Z")
        engine.before("/containers/json") { [weak engine] in
            engine?.before("/containers/json", nil)
            // What is inspected is the new life already, of which no event has told yet.
            engine?.run(again)
        }
        engine.event("kill", Self.web, #"{"signal":"15"}"#)
        #expect(await following.hands([:]))
        engine.event("start", again)
        #expect(await following.hands(["web": 8080]))
    }

    @Test(arguments: [("SIGTERM", 1), ("SIGTERM", 10), ("SIGINT", 15), ("nonsense", 2)])
    func `a signal that is no stop changes nothing`(stop: String, sent: Int) async throws {
        let engine = try StubEngine()
        var web = Self.web
        web.stopSignal = stop
        engine.run(web)
        let following = try Following(engine.origin)
        #expect(await following.hands(["web": 8080]))
        let count = following.count
        engine.event("kill", web, #"{"signal":"\#(sent)"}"#)
        #expect(await eventually { following.count > count })
        #expect(following.last == ["web": 8080])
    }

    @Test func `one that lives on past its stop timeout comes back`() async throws {
        let engine = try StubEngine()
        engine.run(Self.web)
        let following = try Following(engine.origin, stopMargin: .milliseconds(300))
        #expect(await following.hands(["web": 8080]))
        engine.event("kill", Self.web, #"{"signal":"15"}"#)
        #expect(await following.hands([:]))
        #expect(await following.hands(["web": 8080]))
    }
}
