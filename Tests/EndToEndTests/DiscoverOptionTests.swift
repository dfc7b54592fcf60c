import FoundationEssentials
import Shared
import TestSupport
import Testing

@Suite(
    "docker-discover's options", .timeLimit(.minutes(2)),
    .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct DiscoverOptionTests {
    /// A backend that notes the requests that it gets, and answers each with its name, or with a status for a path.
    private final class Backend: Sendable {
        let requests = CapturedLines()
        let server: StubServer

        init(_ name: String, failing path: String = "-") throws {
            server = try StubServer { [requests] connection in
                while let request = connection.request() {
                    requests.add(request)
                    let status = request.contains(" \(path) ") ? "500 No" : "200 OK"
                    connection.send("HTTP/1.1 \(status)\r\nContent-Length: \(name.utf8.count)\r\n\r\n\(name)")
                }
            }
        }

        var endpoint: String { "127.0.0.1:\(server.port)" }
    }

    private let port: Int

    init() throws {
        port = try FreePort.take()
    }

    /// Who answers some requests.
    private func answers(_ count: Int = 12) async -> Set<String> {
        var names: Set<String> = []
        for _ in 0..<count { names.insert(await DiscoverLab.get(port) ?? "nobody") }
        return names
    }

    private func curl(_ arguments: String...) async throws -> [String] {
        try await Program("curl", ["-s", "-m", "5"] + arguments + ["http://127.0.0.1:\(port)/a/path?secret"])
            .run(deadline: .seconds(10)).lines
    }

    private func config(_ fields: String) -> String { "{\"port\":\(port),\(fields)}" }

    @Test func `in mode http endpoints are told the client, cookies keep it, and requests are logged`() async throws {
        try await withDiscoverLab { lab in
            let (one, two) = (try Backend("one"), try Backend("two"))
            let agent = try lab.start()
            try await lab.put([
                "web/config": config(#""mode":"http","cookie":"SRV","access_log":true,"compression":"gzip""#),
                "web/1": one.endpoint, "web/2": two.endpoint,
            ])
            #expect(await eventually { await answers() == ["one", "two"] })
            let cookies = lab.folder.path + "/cookies"
            let first = try #require(try await curl("-c", cookies).last)
            for _ in 0..<6 { #expect(try await curl("-b", cookies) == [first]) }
            #expect(one.requests.all.allSatisfy { $0.contains("x-forwarded-for: 127.0.0.1\r\n") })
            let id = first == "one" ? "1" : "2"
            #expect(
                await agent.logs(
                    "msg=\"request\"", "service=web", "client=127.0.0.1:", "endpoint=\(id)", "status=200", "method=GET",
                    "path=/a/path ", "ms="))
            #expect(!agent.log.contain("secret"))
            // A further endpoint, though HAProxy may not add servers with cookies while it runs.
            let three = try Backend("three")
            try await lab.put(["web/3": three.endpoint])
            #expect(await eventually { await answers() == ["one", "two", "three"] })
            #expect(try await curl("-b", cookies) == [first])
        }
    }

    @Test func `an HTTP check asks as it is told, and connections are logged`() async throws {
        try await withDiscoverLab { lab in
            let (good, bad) = (try Backend("good"), try Backend("bad", failing: "/health?a=b"))
            let agent = try lab.start()
            try await lab.put([
                "web/config": config(
                    #""check":"http:/health?a=b","check_host":"web.example","check_interval":"200ms","access_log":1"#),
                "web/1": good.endpoint, "web/2": bad.endpoint,
            ])
            #expect(await eventually { await answers() == ["good"] })
            #expect(
                good.requests.all.contains { request in
                    request.hasPrefix("GET /health?a=b HTTP/1.1\r\n")
                        && request.lowercased().contains("host: web.example\r\n")
                })
            #expect(await agent.logs("msg=\"connection\"", "service=web", "endpoint=1", "ms=", "bytes="))
            try await lab.put(["web/config": config(#""check":"none""#)])
            #expect(await eventually { await answers() == ["good", "bad"] })
        }
    }

    @Test func `endpoints of the zone come first, and the others serve when none of them works`() async throws {
        try await withDiscoverLab { lab in
            var near: Backend? = try Backend("near")
            let (far, spare, other) = (try Backend("far"), try Backend("spare"), try Backend("other"))
            try lab.start(["ZONE": "here"])
            try await lab.put([
                "web/config": config(#""check_interval":"200ms""#),
                "web/1/meta": #"{"zone":"there"}"#, "web/1": far.endpoint, "web/2": other.endpoint,
            ])
            #expect(await eventually { await answers() == ["far", "other"] })
            try await lab.put(["web/3/meta": #"{"zone":"here"}"#, "web/3": try #require(near).endpoint])
            #expect(await eventually { await answers() == ["near"] })
            try await lab.put(["web/4/meta": #"{"zone":"here","backup":true}"#, "web/4": spare.endpoint])
            #expect(await answers() == ["near"])
            near = nil
            #expect(await eventually { await answers() == ["far", "other", "spare"] })
        }
    }

    @Test func `endpoints count for as much as they say, and get the PROXY protocol that they expect`() async throws {
        try await withDiscoverLab { lab in
            let (heavy, light, none) = (try Backend("heavy"), try Backend("light"), try Backend("none"))
            try lab.start()
            try await lab.put([
                "web/config": config(#""mode":"tcp""#),
                "web/1/meta": #"{"weight":200}"#, "web/1": heavy.endpoint,
                "web/2/meta": #"{"weight":20,"proxy_protocol":"v1"}"#, "web/2": light.endpoint,
                "web/3/meta": #"{"weight":0}"#, "web/3": none.endpoint,
            ])
            #expect(await eventually { await answers() == ["heavy", "light"] })
            let before = (heavy.requests.all.count, light.requests.all.count)
            _ = await answers(22)
            let shares = (heavy.requests.all.count - before.0, light.requests.all.count - before.1)
            #expect(shares == (20, 2))
            #expect(light.requests.all.allSatisfy { $0.hasPrefix("PROXY TCP4 127.0.0.1 127.0.0.1 ") })
            #expect(heavy.requests.all.allSatisfy { $0.hasPrefix("GET ") })
            try await lab.put(["web/config": config(#""weight":100,"proxy_protocol":"none""#)])
            #expect(await eventually { await answers() == ["heavy", "light", "none"] })
        }
    }

    @Test func `what does not fit together, and what instances say differently, is told and costs only itself`()
        async throws
    {
        try await withDiscoverLab { lab in
            let backend = try Backend("one")
            let agent = try lab.start()
            try await lab.put([
                "web/1/meta": #"{"port":\#(port),"cookie":"c","balance":"leastconn","mode":"mqtt"}"#,
                "web/1": backend.endpoint,
                "web/2/meta": #"{"port":\#(port),"balance":"first"}"#, "web/2": backend.endpoint,
            ])
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await agent.logs("service=web", "cookie: it needs mode http"))
            #expect(await agent.logs("service=web", "instances differ in balance: first, leastconn; first is used"))
            #expect(await agent.logs("web/1/meta", "mode: not tcp or http"))
            #expect(await eventually { lab.configuration.contains("balance first\n") })
        }
    }
}
