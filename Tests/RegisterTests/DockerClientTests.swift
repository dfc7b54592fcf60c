import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

@testable import Register

@Suite("Docker client", .timeLimit(.minutes(1)))
struct DockerClientTests {
    private static let limit = Duration.seconds(15)
    private let http: HTTPClient

    init() throws { http = try #require(HTTPClient()) }

    private func connect(_ engine: StubEngine) async throws -> Docker.Client {
        try await Docker.Client.connect(http, engine.origin, deadline: Self.limit)
    }

    // MARK: Versions

    @Test(arguments: [
        ("1.41", "1.41"), ("1.42", "1.42"), ("1.43", "1.43"), ("1.44", "1.44"), ("1.45", "1.44"), ("1.47", "1.44"),
        ("1.51", "1.44"), ("1.52", "1.44"), ("1.55", "1.44"), ("2.0", "1.44"),
    ])
    func `the newest version that both sides know is spoken`(offered: String, spoken: String) async throws {
        let engine = try StubEngine(version: offered)
        let client = try await connect(engine)
        #expect(client.version.description == spoken)
        #expect(!client.isPodman)
        #expect(try await client.list() == [])
        let tried = offered == spoken ? [] : ["/v\(spoken)/_ping"]
        #expect(engine.requests == ["/_ping"] + tried + ["/v\(spoken)/containers/json"])
    }

    @Test func `an engine that has given up what the agent knows is spoken to in its own version`() async throws {
        let engine = try StubEngine(version: "1.60", refusing: ["1.44"])
        let client = try await connect(engine)
        #expect(client.version.description == "1.60")
        #expect(try await client.list() == [])
        #expect(engine.requests == ["/_ping", "/v1.44/_ping", "/v1.60/containers/json"])
    }

    @Test func `a proxy that ends the connection at the question for a version is no hindrance`() async throws {
        let folder = try ScratchFolder()
        let proxy = try StubServer(path: folder.path + "/s") { client in
            while let request = client.request(), !request.contains("/v1.44/_ping") {
                let body = request.contains("/_ping") ? "OK" : "[]"
                client.send("HTTP/1.1 200 OK\r\nApi-Version: 1.52\r\nContent-Length: 2\r\n\r\n\(body)")
            }
        }
        let client = try await Docker.Client.connect(http, .unix(folder.path + "/s"), deadline: Self.limit)
        #expect(client.version.description == "1.44")
        #expect(try await client.list() == [])
        withExtendedLifetime(proxy) {}
    }

    @Test func `Podman is told by a header of its own`() async throws {
        let engine = try StubEngine()
        engine.answer("/_ping", .init(body: "OK", headers: ["API-Version: 1.41", "Libpod-API-Version: 4.3.1"]))
        #expect(try await connect(engine).isPodman)
    }

    @Test(arguments: [
        "1.40", "1.12", "0.9", "", "1", "1.", ".41", "1.41.0", "v1.41", "1,41", "+1.+44", "-1.44", "1.-41", "x",
        "1.99999999999999999999",
    ])
    func `an older version, or none that can be read, is refused`(offered: String) async throws {
        let engine = try StubEngine(version: offered)
        let shown = offered.isEmpty ? "of no known number" : offered
        await #expect(throws: Docker.Error.tooOld(server: engine.origin.name, version: shown)) {
            _ = try await connect(engine)
        }
    }

    @Test func `an answer without version is refused in words that make sense`() async throws {
        let engine = try StubEngine()
        engine.answer("/_ping", .init(body: "OK"))
        await #expect {
            _ = try await connect(engine)
        } throws: {
            "\($0)"
                == "the Docker Engine at unix://\(engine.socket) speaks API of no known number; 1.41 (Engine 20.10) is needed"
        }
    }

    // MARK: Errors

    @Test(arguments: [
        (
            400, #"{"message":"client version 1.99 is too new. Maximum supported API version is 1.41"}"#,
            "client version 1.99 is too new. Maximum supported API version is 1.41"
        ),
        (
            400, "client version 1.10 is too old. Minimum supported API version is 1.12\n",
            "client version 1.10 is too old. Minimum supported API version is 1.12"
        ),
        (500, #"{"cause":"no","message":"no such thing","response":500}"#, "no such thing"),
        (500, "{}", "{}"), (503, "", ""), (500, "[]", "[]"), (502, "<html>\n<body>\n", "<html>"),
    ])
    func `an error has the engine's own words, JSON or plain text`(status: Int, body: String, message: String)
        async throws
    {
        let engine = try StubEngine()
        engine.answer("/containers/json", .init(status: status, body: body))
        let client = try await connect(engine)
        await #expect(throws: Docker.Error.refused(route: "/containers/json", status: status, message: message)) {
            _ = try await client.list()
        }
    }

    @Test(arguments: ["", "null", "{}", "[1]", "[{}]", #"[{"Id":1}]"#, "nonsense", "[{\"Id\":\"a\"}"])
    func `a list that cannot be read is told as such, and is not an empty one`(body: String) async throws {
        let engine = try StubEngine()
        engine.answer("/containers/json", .init(body: body))
        let client = try await connect(engine)
        await #expect {
            _ = try await client.list()
        } throws: {
            if case Docker.Error.malformed(route: "/containers/json", _)? = $0 as? Docker.Error { true } else { false }
        }
    }

    @Test func `a container that is gone is none, and one whose answer makes no sense is an error`() async throws {
        let engine = try StubEngine()
        let client = try await connect(engine)
        #expect(try await client.inspect("nope") == .gone)
        let stranger = StubContainer(letter: "z", name: "z")
        engine.answer("/containers/z/json", .init(body: stranger.inspected))
        await #expect(throws: Docker.Error.self) { _ = try await client.inspect("z") }
        var paused = StubContainer(letter: "f", name: "f")
        paused.state = "paused"
        engine.answer("/containers/f/json", .init(body: paused.inspected))
        let subject = Docker.ContainerRef(
            id: try #require(InstanceID("ffffffffffff")), name: "f", image: "whoami", state: "paused")
        #expect(try await client.inspect("f") == .idle(subject))
    }

    @Test func `a subscription that is refused ends, also when the refusal does not`() async throws {
        let engine = try StubEngine()
        engine.answer("/events", .init(status: 500, body: "half", hangs: true))
        let client = try await Docker.Client.connect(http, engine.origin, deadline: .milliseconds(300))
        await #expect(throws: (any Error).self) { _ = try await client.events() }
        engine.answer("/events", .init(status: 400, body: #"{"message":"invalid filter"}"#))
        await #expect(throws: Docker.Error.refused(route: "/events", status: 400, message: "invalid filter")) {
            _ = try await client.events()
        }
    }

    @Test func `Docker is asked for certain events, Podman only for kinds of them`() async throws {
        let engine = try StubEngine()
        _ = try await connect(engine).events()
        let asked = try #require(engine.requests.last)
        #expect(asked.hasPrefix("/v1.41/events?filters=%7B"))
        #expect(asked.contains("%22health_status%22") && asked.contains("%22network%22") && !asked.contains("exec"))
        engine.answer("/_ping", .init(body: "OK", headers: ["API-Version: 1.41", "Libpod-API-Version: 4.3.1"]))
        _ = try await connect(engine).events()
        #expect(engine.requests.last?.contains("%22start%22") == false)
    }

    // MARK: The socket

    @Test func `a socket that is not there, or that nobody listens on, is told with advice`() async throws {
        let folder = try ScratchFolder()
        let missing = HTTPOrigin.unix("\(folder.path)/none.sock")
        await #expect {
            _ = try await Docker.Client.connect(http, missing, deadline: Self.limit)
        } throws: {
            "\($0)"
                == "cannot use the Docker Engine at \(missing.name): No such file or directory; is Docker installed and running? "
                + "DOCKER_HOST names another socket"
        }
        let dead = HTTPOrigin.unix("\(folder.path)/dead.sock")
        do { _ = try StubServer(path: "\(folder.path)/dead.sock") { _ in } }
        await #expect {
            _ = try await Docker.Client.connect(http, dead, deadline: Self.limit)
        } throws: {
            "\($0)".contains("Connection refused") && "\($0)".contains("is Docker running?")
        }
    }

    @Test(arguments: [
        (EACCES, "run docker-register as root"), (EPERM, "run docker-register as root"),
        (ENOENT, "is Docker installed"),
        (ECONNREFUSED, "nothing listens there"), (0, "check DOCKER_HOST"),
        (EMFILE, "raise the limit of open files"), (ENFILE, "raise the limit of open files"),
    ])
    func `each reason has its advice`(code: Int32, advice: String) {
        let error = Docker.Error(HTTPError.unreachable("x", reason: "why", code: code), .unix("/run/d.sock"))
        guard case .unusable("unix:///run/d.sock", "why", let given) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(given.hasPrefix(advice))
    }

    @Test func `what answers but is no engine is told`() async throws {
        let web = try StubServer { client in
            while client.request() != nil { client.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") }
        }
        let noise = try StubServer { client in
            _ = client.request()
            client.send("SSH-2.0-x\r\n")
        }
        for (port, words) in [
            (web.port, "status 404"), (noise.port, "cannot use the Docker Engine at http://127.0.0.1"),
        ] {
            await #expect {
                _ = try await Docker.Client.connect(http, .tcp("http://127.0.0.1:\(port)"), deadline: Self.limit)
            } throws: {
                $0 is Docker.Error && "\($0)".contains(words)
            }
        }
    }

    @Test func `a request in a query is escaped`() {
        #expect(Docker.Client.escaped(#"{"a":["b c"]}"#) == "%7B%22a%22%3A%5B%22b%20c%22%5D%7D")
        #expect(Docker.Client.escaped("aZ09-._~/\u{e9}\0") == "aZ09-._~%2F%C3%A9%00")
    }
}
