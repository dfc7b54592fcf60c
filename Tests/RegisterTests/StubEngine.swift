import FoundationEssentials
import Shared
import Synchronization
import TestSupport

/// A Docker Engine that answers what the test tells it to, where the real one cannot be brought to.
final class StubEngine: Sendable {
    /// One answer.
    struct Answer: Sendable {
        var status = 200
        var body: String
        var headers: [String] = []
        /// Whether nothing comes after the head, until the client goes.
        var hangs = false
    }

    private struct State {
        var answers: [String: Answer] = [:]
        var requests: [String] = []
        var streams: [StubServer.Connection] = []
        var beforeAnswer: [String: @Sendable () -> Void] = [:]
    }

    let socket: String
    private let folder: ScratchFolder
    private let server: StubServer
    private let state: Held

    /// Held by the server's threads, which may outlive the engine.
    private final class Held: Sendable {
        let state: Mutex<State>
        init(_ state: State) { self.state = Mutex(state) }
    }

    /// Speaks this version, and has no containers yet; refuses requests that name one of `refusing`.
    init(version: String = "1.41", refusing: [String] = [], in folder: ScratchFolder? = nil) throws {
        let folder = try folder ?? ScratchFolder()
        self.folder = folder
        socket = "\(folder.path)/docker.sock"
        var first = State()
        first.answers["/_ping"] = Answer(body: "OK", headers: ["Api-Version: \(version)"])
        first.answers["/containers/json"] = Answer(body: "[]")
        first.answers["/events"] = Answer(body: "")
        let state = Held(first)
        self.state = state
        server = try StubServer(path: socket) { client in
            while let request = client.request() {
                let target = String(request.split(separator: " ").dropFirst().first ?? "")
                let route = Self.route(target)
                let hook = state.state.withLock { state in
                    state.requests.append(target)
                    return state.beforeAnswer[route]
                }
                hook?()
                var answer = state.state.withLock { $0.answers[route] }
                if refusing.contains(where: { target.hasPrefix("/v\($0)/") }) { answer = Self.tooOld }
                if route == "/events", answer?.status == 200 {
                    Self.open(client, state)
                    return client.waitForEnd()
                }
                guard Self.send(answer ?? Self.missing(route), client) else { return client.waitForEnd() }
            }
        }
    }

    /// How a client reaches it.
    var origin: HTTPOrigin { .unix(socket) }

    /// Answers a route, named without version and query, with this from now on.
    func answer(_ route: String, _ answer: Answer) { state.state.withLock { $0.answers[route] = answer } }

    /// Calls `hook` with each request to a route, before it is answered.
    func before(_ route: String, _ hook: (@Sendable () -> Void)?) {
        state.state.withLock { $0.beforeAnswer[route] = hook }
    }

    /// The requests so far, as path with query.
    var requests: [String] { state.state.withLock { $0.requests } }

    /// How many requests there were to a route.
    func count(_ route: String) -> Int { requests.count { Self.route($0) == route } }

    /// Sends a line to all that have subscribed to the events.
    func event(_ line: String) {
        for stream in state.state.withLock({ $0.streams }) { Self.chunk(line + "\n", stream) }
    }

    /// Ends the streams of events.
    func endEvents() {
        let streams = state.state.withLock { state in
            defer { state.streams = [] }
            return state.streams
        }
        for stream in streams { stream.send("0\r\n\r\n") }
    }

    private static func open(_ client: StubServer.Connection, _ state: Held) {
        // Under the lock: who has seen the head gets every event from then on.
        state.state.withLock { state in
            client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
            state.streams.append(client)
        }
    }

    private static func chunk(_ text: String, _ client: StubServer.Connection) {
        client.send("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n")
    }

    private static func send(_ answer: Answer, _ client: StubServer.Connection) -> Bool {
        let length = answer.hangs ? 1_000_000 : answer.body.utf8.count
        let fields = (answer.headers + ["Content-Length: \(length)"]).joined(separator: "\r\n")
        client.send("HTTP/1.1 \(answer.status) Stub\r\n\(fields)\r\n\r\n\(answer.body)")
        return !answer.hangs
    }

    private static func missing(_ route: String) -> Answer {
        Answer(status: 404, body: #"{"message":"page not found: \#(route)"}"#)
    }

    /// As engine 29 says it of a version below its DOCKER_MIN_API_VERSION.
    private static let tooOld = Answer(
        status: 400, body: #"{"message":"client version is too old. Minimum supported API version is 1.52"}"#)

    /// The path without version and query.
    private static func route(_ target: String) -> String {
        let path = target.prefix { $0 != "?" }
        let parts = path.split(separator: "/")
        guard let version = parts.first, version.first == "v", version.contains(".") else { return String(path) }
        return parts.dropFirst().reduce("") { "\($0)/\($1)" }
    }
}

/// A container for a stub.
struct StubContainer {
    var letter: Character
    var name: String
    var port = 8080
    var state = "running"
    var started = "2024-05-01T12:00:00Z"
    var stopSignal = "SIGTERM"
    /// The engine's word; empty where it has no HEALTHCHECK.
    var health = ""

    /// Its full id.
    var id: String { String(repeating: letter, count: 64) }

    /// Its line in the list.
    var listed: String {
        #"{"Id":"\#(id)","Names":["/\#(name)"],"Image":"whoami","State":"\#(state)","Status":"Up 2 hours (\#(health))","Labels":{},"Ports":"#
            + #"[{"IP":"0.0.0.0","PrivatePort":8000,"PublicPort":\#(port),"Type":"tcp"}]}"#
    }

    /// The answer to its inspection.
    var inspected: String {
        #"{"Id":"\#(id)","Name":"/\#(name)","Config":{"Image":"whoami","Labels":{},"#
            + #""Env":[],"StopSignal":"\#(stopSignal)","StopTimeout":0},"State":{"Status":"\#(state)","#
            + #""Running":\#(["running", "paused", "restarting"].contains(state)),"#
            + #""Paused":\#(state == "paused"),"Restarting":\#(state == "restarting"),"StartedAt":"\#(started)","#
            + #""Health":{"Status":"\#(health)","FailingStreak":3}},"#
            + #""NetworkSettings":{"Ports":{"8000/tcp":[{"HostIp":"0.0.0.0","HostPort":"\#(port)"}]}}}"#
    }
}

extension StubEngine {
    /// Makes these the containers that it lists, each of which can be inspected.
    func run(_ containers: StubContainer...) {
        for container in containers { answer("/containers/\(container.id)/json", Answer(body: container.inspected)) }
        answer("/containers/json", Answer(body: "[\(containers.map(\.listed).joined(separator: ","))]"))
    }

    /// Sends an event that names a container, as API 1.52 writes it.
    func event(_ action: String, _ container: StubContainer, _ attributes: String = "{}") {
        let actor = #"{"ID":"\#(container.id)","Attributes":\#(attributes)}"#
        event(#"{"Type":"container","Action":"\#(action)","Actor":\#(actor)}"#)
    }
}

/// The answers that were recorded from real engines, by `Tests/Laboratory/record.sh`.
enum Recorded {
    /// The engines, by folder.
    static let engines = ["engine-20.10", "engine-26.1"]

    /// The answer of a route, such as `containers/json`.
    static func answer(_ route: String, of engine: String) throws -> String {
        let folder = #filePath.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }
        let url = URL(filePath: "\(folder)/Fixtures/\(engine)/\(route)")
        return String(decoding: try Data(contentsOf: url), as: UTF8.self)
    }
}
