import Shared
import Testing

@testable import Discover

extension HostSettings {
    /// One that serves routes without TLS.
    static let routing = HostSettings(
        statsBind: BindAddress(port: port(1936)), routes: RouteListeners(http: BindAddress(port: port(80))))
}

@Suite("RouteTable")
struct RouteTableTests {
    /// The table of keys that are put one after another.
    private func plan(_ pairs: KeyValuePairs<String, String>) -> DesiredState {
        RegistryFixture(pairs).plan(on: .routing)
    }

    private func target(_ plan: DesiredState, _ host: String, _ path: String = "/") -> String? {
        plan.routes?.lookup(host: host, path: path)?.record[.to]
    }

    private func explanations(_ plan: DesiredState) -> [String] {
        plan.diagnostics.map { "\($0.subject): \($0.explanation)" }.sorted()
    }

    @Test(
        arguments: [
            ("shop.example.com", "/", "shop"), ("shop.example.com", "/api", "api"),
            ("shop.example.com", "/api/", "api"),
            ("shop.example.com", "/api/v2/x", "v2"), ("shop.example.com", "/apix", "shop"),
            ("shop.example.com", "/login", "login"), ("shop.example.com", "/login/", "shop"),
            ("shop.example.com", "/login/x", "shop"), ("a.example.com", "/", "wild"), ("a.b.example.com", "/", "wild"),
            ("a.b.c.example.com", "/", "wild"), ("a.b.c.d.example.com", "/", "rest"),
            ("x.deep.example.com", "/", "deep"), ("example.com", "/", "rest"), ("other.org", "/", "rest"),
            ("", "/", "rest"), ("shop.example.com", "/API", "shop"), ("shop.example.com", "//api", "shop"),
            ("shop.example.com", "/%61pi", "shop"), ("deep.example.com", "/only", "wild"),
        ] as [(String, String, String)])
    func `the nearest host and the longest path win`(host: String, path: String, expected: String) {
        let plan = plan([
            "-routes/rest": #"{"host":"*","to":"rest"}"#, "-routes/wild": #"{"host":"*.example.com","to":"wild"}"#,
            "-routes/deep": #"{"host":"*.deep.example.com","to":"deep"}"#,
            "-routes/shop": #"{"host":"shop.example.com","to":"shop"}"#,
            "-routes/api": #"{"host":"shop.example.com","path":"/api","to":"api"}"#,
            "-routes/v2": #"{"host":"shop.example.com","path":"/api/v2","to":"v2"}"#,
            "-routes/login": #"{"host":"shop.example.com","path":"/login","match":"exact","to":"login"}"#,
        ])
        #expect(target(plan, host, path) == expected)
    }

    @Test func `of two claims the older one has the place, and the other is named`() {
        let plan = plan([
            "-routes/b": #"{"host":"a.com","to":"first"}"#, "-routes/a": #"{"host":["a.com","b.com"],"to":"second"}"#,
        ])
        #expect(target(plan, "a.com") == "first" && target(plan, "b.com") == "second")
        #expect(explanations(plan) == ["route a: a.com belongs to route b, which claimed it first"])
        #expect(!plan.diagnostics.contains { !$0.isSevere })
    }

    @Test func `an operator's key comes before a label, and an older label before a newer one`() {
        let keys: KeyValuePairs = [
            "old/1": "10.0.0.1:80", "old/1/meta": #"{"route":"a.com, c.com/x"}"#,
            "new/1": "10.0.0.2:81", "new/1/meta": #"{"route":"a.com, b.com"}"#,
        ]
        #expect(target(plan(keys), "a.com") == "old" && target(plan(keys), "b.com") == "new")
        var fixture = RegistryFixture(keys)
        fixture.put("-routes/mine", #"{"host":"a.com","to":"mine"}"#)
        let both = fixture.plan(on: .routing)
        #expect(target(both, "a.com") == "mine" && target(both, "c.com", "/x/y") == "old")
        #expect(
            explanations(both).filter { $0.contains("belongs") } == [
                "new: a.com belongs to route mine, which claimed it first",
                "old: a.com belongs to route mine, which claimed it first",
            ])
    }

    @Test func `a service that a route names has a section, mode http, and no need of a port`() throws {
        let plan = plan([
            "web/1": "10.0.0.1:8000", "none/1": "10.0.0.1:8001", "none/1/meta": #"{"port":"none"}"#,
            "lone/1": "10.0.0.1:8002", "lone/1/meta": #"{"port":"none"}"#, "front/1": "10.0.0.1:80",
            "-routes/a": #"{"host":"a","to":{"web":1,"none":1}}"#, "-routes/b": #"{"host":"b","to":"later"}"#,
            "-routes/c": #"{"host":"c","to":"front"}"#,
        ])
        #expect(
            plan.listeners.map { "\($0.service):\($0.binds.first?.port.description ?? "-"):\($0.options.mode)" } == [
                "front:-:http", "later:-:http", "lone:-:http", "none:-:http", "web:8000:http",
            ])
        #expect(explanations(plan) == ["front: port 80 is HTTP_BIND's or HTTPS_BIND's"])
        #expect(plan.claims.count == 2)
        let text = HAProxyConfiguration(plan, .sample).text
        #expect(text.contains("backend later\n") && text.contains("listen web\n"))
    }

    @Test func `without a bind there are no routes, and labels mean nothing`() {
        let plan = RegistryFixture([
            "web/1": "10.0.0.1:8000", "web/1/meta": #"{"route":"a.com"}"#, "-routes/b": #"{"host":"b","to":"later"}"#,
        ]).plan
        #expect(plan.routes == nil && plan.listeners.map { "\($0.service):\($0.options.mode)" } == ["web:tcp"])
    }

    @Test func `a service that says tcp is no target, and its routes answer 503`() {
        let plan = plan([
            "db/1": "10.0.0.1:5432", "db/config": #"{"mode":"tcp","route":"db.com"}"#,
            "-routes/a": #"{"host":"a","to":{"db":1,"web":9}}"#, "-routes/b": #"{"host":"b","to":"web"}"#,
        ])
        #expect(target(plan, "a") == "-" && target(plan, "b") == "web" && target(plan, "db.com") == nil)
        #expect(plan.listeners.first { $0.service.text == "db" }?.options.mode == .tcp)
        #expect(explanations(plan).count == 2)
        #expect(explanations(plan).contains { $0.hasPrefix("route a: service db has mode tcp") })
    }

    @Test func `a wrong route keeps its place and costs only itself`() {
        let plan = plan([
            "-routes/rest": #"{"host":"a","to":"rest"}"#, "-routes/a": #"{"host":"a","path":"/x","to":"x y"}"#,
            "-routes/b": "nonsense", "-routes/c": #"{"host":"c d","to":"web"}"#,
            "-routes/d": #"{"host":"d","path":"/../x","to":"web"}"#,
        ])
        #expect(target(plan, "a", "/x") == "-" && target(plan, "a", "/") == "rest")
        #expect(target(plan, "d", "/") == "-" && plan.routes?.records.count == 3)
        #expect(plan.routes?.services == [service("rest")])
    }

    @Test func `there are not more conditions than HAProxy's rules are made for`() {
        var fixture = RegistryFixture()
        for number in 10..<(11 + RouteProblem.mostConditions) {
            fixture.put(
                "-routes/r\(number)",
                #"{"host":"h\#(number)","when":[{"header":{"x":"\#(number)"},"to":"a"}],"to":"b"}"#)
        }
        let plan = fixture.plan(on: .routing)
        #expect(plan.routes?.conditions.count == RouteProblem.mostConditions)
        let left = explanations(plan).filter { $0.contains("different conditions") }
        #expect(left.count == 1 && left[0].hasPrefix("route r26"))
        #expect(target(plan, "h26") == "-" && target(plan, "h10") == "b")
    }

    @Test func `what was decided step by step is what is decided at once`() {
        var registry = RegistryFixture(["web/1": "10.0.0.1:8000", "db/1": "10.0.0.1:8001"]).state
        var cache = DesiredStateCache()
        var revision = registry.revision
        for _ in 0..<600 {
            revision += 1
            registry.apply(Etcd.Changes(revision: revision, events: [RandomRoutes.event(revision)]))
            var inputs = DesiredInputs(registry: registry, host: .routing)
            if Int.random(in: 0..<9) == 0 { inputs.host = HostSettings(statsBind: BindAddress(port: port(1936))) }
            let step = DesiredState(inputs, &cache)
            #expect(step == DesiredState(inputs))
        }
    }

    @Test func `a look-up by beginnings finds what a look at all routes finds`() {
        for _ in 0..<60 {
            let walk = RandomRoutes(count: 25)
            let table = walk.table
            for _ in 0..<60 {
                let (host, path) = RandomRoutes.request()
                #expect(
                    table.lookup(host: host, path: path)?.record[.name] == walk.expected(host, path), "\(host)\(path)")
            }
        }
    }
}

/// Routes at random, and who gets a request, found by a look at each.
struct RandomRoutes {
    private static let hosts = ["a.com", "b.com", "x.a.com", "y.x.a.com", "*.a.com", "*.x.a.com", "*.com", "*"]
    private static let paths = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b"]

    private(set) var routes: [(name: String, host: String, path: String, exact: Bool)] = []

    /// Makes so many, each of another place.
    init(count: Int) {
        for number in 0..<count {
            let (host, path) = (Self.hosts.randomElement() ?? "*", Self.paths.randomElement() ?? "/")
            let exact = Bool.random()
            guard !routes.contains(where: { $0.host == host && $0.path == path && $0.exact == exact }) else { continue }
            routes.append(("r\(number)", host, path, exact))
        }
    }

    var table: RouteTable {
        var fixture = RegistryFixture()
        for route in routes {
            fixture.put("-routes/\(route.name)", Self.json(route.host, route.path, route.exact, "web"))
        }
        return fixture.plan(on: .routing).routes ?? RouteTable()
    }

    static func json(_ host: String, _ path: String, _ exact: Bool, _ to: String) -> String {
        #"{"host":"\#(host)","path":"\#(path)","match":"\#(exact ? "exact" : "prefix")","to":"\#(to)"}"#
    }

    static func request() -> (host: String, path: String) {
        let hosts = ["a.com", "b.com", "x.a.com", "y.x.a.com", "z.y.x.a.com", "com", "q.com", "other.org"]
        let paths = ["/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/d", "/ab", "/abc", "/b", "/c", "/A"]
        return (hosts.randomElement() ?? "", paths.randomElement() ?? "/")
    }

    /// The one with the nearest host, and among these with the longest path.
    func expected(_ host: String, _ path: String) -> String? {
        let labels = host.split(separator: ".").map(String.init)
        let nearness = { (pattern: String) -> Int? in
            if pattern == host { return 1000 }
            if pattern == "*" { return 0 }
            guard pattern.hasPrefix("*.") else { return nil }
            let suffix = pattern.dropFirst(2).split(separator: ".").map(String.init)
            let rest = labels.count - suffix.count
            return (1...RouteTable.wildcardDepth).contains(rest) && labels.suffix(suffix.count) == suffix[...]
                ? suffix.count : nil
        }
        let matching = routes.compactMap { route -> (host: Int, path: Int, name: String)? in
            guard let near = nearness(route.host) else { return nil }
            if route.exact { return route.path == path ? (near, 2 * route.path.count + 1, route.name) : nil }
            let isBelow = route.path == "/" || path == route.path || path.hasPrefix(route.path + "/")
            return isBelow ? (near, 2 * route.path.count, route.name) : nil
        }
        return matching.max { ($0.host, $0.path) < ($1.host, $1.path) }?.name
    }

    /// A change of a route or of a service.
    static func event(_ revision: Int64) -> Etcd.Event {
        func put(_ key: String, _ value: String) -> Etcd.Event {
            .put(
                Etcd.KeyValue(
                    key: Array(("/backends" + key).utf8), value: Array(value.utf8), createRevision: revision,
                    modRevision: revision, lease: 0))
        }
        let name = "/r\(Int.random(in: 0..<12))"
        switch Int.random(in: 0..<10) {
        case 0..<3: return .delete(key: Array("/backends-routes\(name)".utf8), modRevision: revision)
        case 3:
            return put(
                "/web/config",
                [#"{}"#, #"{"mode":"tcp"}"#, #"{"route":"a.com/a, b.com"}"#, #"{"port":"none"}"#].randomElement()
                    ?? "{}")
        case 4:
            return Bool.random()
                ? put("/db/1", "10.0.0.1:8001") : .delete(key: Array("/backends/db/1".utf8), modRevision: revision)
        default:
            let to =
                [
                    #""web""#, #""db""#, #""new""#, #"{"web":90,"db":10}"#, #"{"web":1,"new":1}"#, #""a b""#,
                ].randomElement() ?? ""
            let when = Bool.random() ? "" : #","when":[{"header":{"x":"\#(Int.random(in: 0..<20))"},"to":"web"}]"#
            return put(
                "-routes" + name,
                #"{"host":"\#(hosts.randomElement() ?? "*")","path":"\#(paths.randomElement() ?? "/")","to":\#(to)\#(when)}"#
            )
        }
    }
}
