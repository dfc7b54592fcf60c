import FoundationEssentials
import Shared
import TestSupport
import Testing

@testable import Discover

/// How many changes: `SIDEKICK_WALK` says otherwise.
private let steps = ProcessInfo.processInfo.environment["SIDEKICK_WALK"].flatMap { Int($0) } ?? 300

@Suite(
    "Routes in a real HAProxy", .timeLimit(.minutes(10)),
    .enabled(if: RealParts.canRun("haproxy", "curl"), "haproxy or curl is missing"))
struct RouteWalkTests {
    /// A registry of three services and some routes that change at random.
    private struct Walk {
        private(set) var registry: RegistryState
        private var revision: Int64 = 0
        private let backends: [String: Int]

        init(_ backends: [String: Int]) {
            self.backends = backends
            registry = RegistryState(keyspace: RegistryFixture.keyspace)
            // One without endpoints is there as well, and all conditions are in use, so that nothing needs a reload.
            for name in backends.keys.sorted() { put("/\(name)/config", #"{"port":"none","mode":"http"}"#) }
            for name in backends.keys.sorted() { add(name, 0) }
            put(
                "-routes/keep",
                #"{"host":"keep","to":"none","when":[{"header":{"x":"1"},"to":"s0"},{"method":"POST","to":"s1"}]}"#)
        }

        private mutating func put(_ key: String, _ value: String) {
            revision += 1
            let keyValue = Etcd.KeyValue(
                key: Array("/backends\(key)".utf8), value: Array(value.utf8), createRevision: revision,
                modRevision: revision, lease: 0)
            registry.apply(Etcd.Changes(revision: revision, events: [.put(keyValue)]))
        }

        private mutating func delete(_ key: String) {
            revision += 1
            registry.apply(
                Etcd.Changes(
                    revision: revision,
                    events: [.delete(key: Array("/backends\(key)".utf8), modRevision: revision)]))
        }

        private mutating func add(_ service: String, _ id: Int) {
            put("/\(service)/i\(id)", "127.0.0.1:\(backends[service] ?? 1)")
        }

        mutating func change() {
            let service = "s\(Int.random(in: 0..<3))"
            switch Int.random(in: 0..<8) {
            case 0: add(service, Int.random(in: 1..<4))
            case 1: delete("/\(service)/i\(Int.random(in: 1..<4))")
            case 2: delete("-routes/r\(Int.random(in: 0..<10))")
            default: put("-routes/r\(Int.random(in: 0..<10))", Self.route)
            }
        }

        private static var route: String {
            let hosts = ["a.com", "b.com", "x.a.com", "*.a.com", "*"]
            let paths = ["/", "/a", "/a/b", "/b"]
            let to =
                [
                    #""s0""#, #""s1""#, #""s2""#, #""none""#, #"{"s0":90,"s1":10}"#, #"{"s0":1,"s2":2}"#,
                    #"{"s0":\#(Int.random(in: 1...99)),"s1":\#(Int.random(in: 1...99))}"#,
                ].randomElement() ?? ""
            let when =
                [
                    "", "", #","when":[{"header":{"x":"1"},"to":"s2"}]"#,
                    #","when":[{"method":"POST","to":"s1"},{"header":{"x":"1"},"to":"s0"}]"#,
                ].randomElement() ?? ""
            let sticky = to.hasPrefix("{") && Bool.random() ? #","sticky":"cookie""# : ""
            return #"{"host":"\#(hosts.randomElement() ?? "*")","path":"\#(paths.randomElement() ?? "/")","#
                + #""match":"\#(Bool.random() ? "exact" : "prefix")","to":\#(to)\#(when)\#(sticky)}"#
        }
    }

    @Test func `after each of many changes the maps are the table's, without one reload`() async throws {
        let stubs = try (0..<3).map { try StubServer(answering: "s\($0)") }
        let http = BindAddress(address: IPAddress("127.0.0.1"), port: port(try FreePort.take()))
        var walk = Walk(Dictionary(uniqueKeysWithValues: stubs.enumerated().map { ("s\($0)", $1.port) }))
        try await withDriverLab(routes: RouteListeners(http: http)) { lab in
            var cache = DesiredStateCache()
            try await lab.apply(lab.configuration(DesiredState(lab.inputs(walk.registry), &cache)))
            let worker = try await lab.worker()
            let files = RouteFiles(folder: lab.access.directory.path)
            for step in 0..<steps {
                for _ in 0..<Int.random(in: 1...3) { walk.change() }
                let desired = DesiredState(lab.inputs(walk.registry), &cache)
                let next = lab.configuration(desired)
                let updates = try await lab.apply(next)
                try #require(updates.allSatisfy { $0.isRuntime }, "step \(step): \(updates)")
                let told = try await lab.access.runtime.maps(files)
                let wanted = try #require(next.maps)
                try #require(told.records == wanted.records, "step \(step): \(updates)")
                // Shares that nothing names any more go with the next change.
                try #require(wanted.shares.allSatisfy { told.shares[$0.key] == $0.value }, "step \(step)")
                #expect(told.shares.count <= wanted.shares.count + 3)
                #expect(try FileContents(files.shares).text == wanted.sharesText)
                let file = try FileContents(files.routes).text?.split(separator: "\n").sorted() ?? []
                #expect(file == wanted.recordsText.split(separator: "\n").sorted())
                if step % 3 == 0 { try await ask(http.port, desired) }
            }
            #expect(try await lab.worker() == worker)
            try await lab.restartDriver()
            #expect(try await lab.apply(lab.configuration(DesiredState(lab.inputs(walk.registry)))) == [])
        }
        withExtendedLifetime(stubs) {}
    }

    /// Sends some requests and compares the answers with the table.
    private func ask(_ port: Port, _ desired: DesiredState) async throws {
        let table = try #require(desired.routes)
        for _ in 0..<2 {
            let host = ["a.com", "b.com", "x.a.com", "y.a.com", "z.y.a.com", "q.org"].randomElement() ?? ""
            let path = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b"].randomElement() ?? "/"
            let outcome = try await Program(
                "curl",
                [
                    "-s", "-m", "5", "-o", "-", "-w", "\n%{http_code}", "-H", "Host: \(host)",
                    "http://127.0.0.1:\(port)\(path)",
                ]
            ).run(deadline: .seconds(10))
            let (body, status) = (outcome.lines.first ?? "", outcome.lines.last ?? "")
            guard let record = table.lookup(host: host, path: path)?.record else {
                #expect(status == "404", "\(host)\(path)")
                continue
            }
            let targets = table.shares[record[.to]].map { Set($0.services.map(\.text)) } ?? [record[.to]]
            if targets == ["none"] {
                #expect(status == "503", "\(host)\(path)")
            } else {
                #expect(targets.contains(body), "\(host)\(path): \(body), \(targets)")
            }
        }
    }

    /// Requests, and who answers them: by the rules of docs/routes.md, written down one by one.
    private static let requests: [(host: String, path: String, more: [String], answer: String)] = [
        ("shop.com", "/", [], "shop"), ("shop.com", "/x", [], "shop"), ("SHOP.com", "/", [], "shop"),
        ("shop.com:80", "/", [], "shop"), ("shop.com:8080", "/", [], "shop"), ("shop.com.", "/", [], "shop"),
        ("Shop.COM.:80", "/", [], "shop"), ("shop.com", "/api", [], "api"), ("shop.com", "/api/", [], "api"),
        ("shop.com", "/api/x", [], "api"), ("shop.com", "/api?x=1", [], "api"), ("shop.com", "/apix", [], "shop"),
        ("shop.com", "/api.", [], "shop"), ("shop.com", "/API", [], "shop"), ("shop.com", "//api", [], "shop"),
        ("shop.com", "/%61pi", [], "shop"), ("shop.com", "/api%2fv2", [], "shop"), ("shop.com", "/api/v2", [], "v2"),
        ("shop.com", "/api/v2/", [], "v2"), ("shop.com", "/api/v2/x/y", [], "v2"), ("shop.com", "/api/v20", [], "api"),
        ("shop.com", "/api//v2", [], "api"), ("shop.com", "/login", [], "login"),
        ("shop.com", "/login?a=/b", [], "login"),
        ("shop.com", "/login/", [], "shop"), ("shop.com", "/login/x", [], "shop"),
        ("shop.com", "/login%2f", [], "shop"),
        ("shop.com", "/both", [], "exact"), ("shop.com", "/both/", [], "prefix"), ("shop.com", "/both/x", [], "prefix"),
        ("a.shop.com", "/", [], "wild"), ("b.a.shop.com", "/", [], "wild"), ("c.b.a.shop.com", "/", [], "wild"),
        ("d.c.b.a.shop.com", "/", [], "rest"), ("a.shop.com", "/api", [], "wild"), ("x.deep.shop.com", "/", [], "deep"),
        ("deep.shop.com", "/", [], "wild"), ("shop.org", "/", [], "rest"), ("", "/", [], "rest"),
        ("localhost", "/", [], "rest"), ("127.0.0.1", "/", [], "rest"), ("[::1]", "/", [], "rest"),
        ("[::1]:80", "/", [], "rest"), ("ashop.com", "/", [], "rest"), ("shop.com.evil.org", "/", [], "rest"),
        ("only.com", "/in", [], "in"), ("only.com", "/", [], "rest"), ("only.com", "/inside", [], "rest"),
        ("root.com", "/", [], "root"), ("root.com", "/x", [], "rest"), ("root.com", "/?x", [], "root"),
        ("when.com", "/", [], "to"), ("when.com", "/", ["-H", "X-Canary: always"], "canary"),
        ("when.com", "/", ["-H", "X-Canary: Always"], "to"), ("when.com", "/", ["-H", "x-canary: never"], "to"),
        ("when.com", "/", ["-X", "POST"], "write"), ("when.com", "/", ["-X", "PUT"], "write"),
        ("when.com", "/", ["-X", "PATCH"], "to"),
        ("when.com", "/", ["-X", "POST", "-H", "X-Canary: always"], "canary"),
        ("beta.com", "/", [], "404"), ("beta.com", "/", ["-H", "Cookie: beta=1"], "canary"),
        ("beta.com", "/", ["-H", "Cookie: a=b; beta=x; c=d"], "canary"),
        ("beta.com", "/", ["-H", "Cookie: xbeta=1"], "404"),
        ("both.com", "/", ["-H", "X-A: 1"], "404"), ("both.com", "/", ["-H", "X-A: 1", "-H", "X-B: 2"], "canary"),
        ("closed.com", "/", [], "503"), ("closed.com", "/open", [], "shop"), ("nobody.com", "/", [], "503"),
        ("secure.com", "/x", [], "308"), ("secure.com", "/.well-known/acme-challenge/x", [], "shop"),
        ("wrong.com", "/", [], "503"), ("shop.com/api", "/", [], "400"), ("shop.com", "/a/../api", [], "400"),
        ("shop.com", "/%2e/x", [], "400"), ("*", "/", [], "400"), ("*.shop.com", "/", [], "400"),
        ("sh|op", "/", [], "400"), ("shop.com", "/...", [], "shop"), ("shop.com", "/.x", [], "shop"),
    ]

    @Test func `requests take the routes that the rules say`() async throws {
        let names = [
            "shop", "api", "v2", "login", "exact", "prefix", "wild", "deep", "rest", "in", "root", "to", "canary",
            "write",
        ]
        let stubs = try names.map { try StubServer(answering: $0) }
        let http = BindAddress(address: IPAddress("127.0.0.1"), port: port(try FreePort.take()))
        var fixture = RegistryFixture()
        for (name, stub) in zip(names, stubs) {
            fixture.put("\(name)/config", #"{"port":"none"}"#)
            fixture.put("\(name)/1", "127.0.0.1:\(stub.port)")
        }
        let routes: KeyValuePairs = [
            "shop": #"{"host":"shop.com","to":"shop"}"#, "api": #"{"host":"shop.com","path":"/api/","to":"api"}"#,
            "v2": #"{"host":"shop.com","path":"/api/v2","to":"v2"}"#,
            "login": #"{"host":"shop.com","path":"/login","match":"exact","to":"login"}"#,
            "exact": #"{"host":"shop.com","path":"/both","match":"exact","to":"exact"}"#,
            "prefix": #"{"host":"shop.com","path":"/both","to":"prefix"}"#,
            "wild": #"{"host":"*.shop.com","to":"wild"}"#, "deep": #"{"host":"*.deep.shop.com","to":"deep"}"#,
            "rest": #"{"host":"*","to":"rest"}"#, "in": #"{"host":"only.com","path":"/in","to":"in"}"#,
            "root": #"{"host":"root.com","match":"exact","to":"root"}"#,
            "when": #"""
            {"host":"when.com","to":"to","when":[{"header":{"x-canary":"always"},"to":"canary"},
             {"method":["PUT","POST"],"to":"write"}]}
            """#,
            "beta": #"{"host":"beta.com","when":[{"cookie":{"beta":"*"},"to":"canary"}]}"#,
            "twice": #"{"host":"both.com","when":[{"header":{"x-a":"1","x-b":"2"},"to":"canary"}]}"#,
            "closed": #"{"host":"closed.com","closed":"x"}"#,
            "open": #"{"host":"closed.com","path":"/open","to":"shop"}"#,
            "nobody": #"{"host":"nobody.com","to":"nobody"}"#,
            "secure": #"{"host":"secure.com","to":"shop","https":"redirect"}"#,
            "wrong": #"{"host":"wrong.com","to":"a b"}"#,
        ]
        for (name, value) in routes { fixture.put("-routes/\(name)", value) }
        try await withDriverLab(routes: RouteListeners(http: http)) { lab in
            try await lab.apply(lab.configuration(DesiredState(lab.inputs(fixture.state))))
            for request in Self.requests {
                let host = request.host.isEmpty ? ["-0", "-H", "Host:"] : ["-H", "Host: \(request.host)"]
                let arguments = ["-s", "-g", "-m", "5", "--path-as-is", "-w", "\n%{http_code}"] + host + request.more
                let outcome = try await Program("curl", arguments + ["http://127.0.0.1:\(http.port)\(request.path)"])
                    .run(deadline: .seconds(10))
                let status = outcome.lines.last ?? ""
                let answer = status == "200" ? outcome.lines.first ?? "" : status
                #expect(answer == request.answer, "\(request)")
            }
        }
        #expect(Self.requests.count >= 60)
        withExtendedLifetime(stubs) {}
    }
}
