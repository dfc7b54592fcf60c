import Shared
import Testing

@testable import Discover

@Suite("docker-discover's status")
struct StatusReportTests {
    private static func fixture() -> SnapshotFixture {
        var fixture = SnapshotFixture([
            "api/1": "10.0.0.7:80", "api/1/meta": #"{"port":80,"container":"api-1","host":"h","owner":"E@1.2.3.4"}"#,
            "web/1": "10.0.0.5:80", "web/2": "10.0.0.6:80",
            "web/config": #"{"mode":"http","port":8000,"balance":"best"}"#,
            "web/0/meta": #"{"withdrawn":"stopped","at":"2026-08-01T09:00:00Z"}"#,
            "gone/port": "90", "late/1": "10.0.0.8:80", "late/port": "80",
        ])
        fixture.runs(["web/2": { ($0.status, $0.lastCheck) = ("DOWN", "L4CON: Connection refused") }])
        return fixture
    }

    @Test func `a service tells where it listens, who says so, and how`() throws {
        let report = Self.fixture().report
        #expect(report.services.map(\.name) == ["api", "late", "web"])
        let web = try #require(report.services.last)
        #expect(web.listener == ":8000" && web.port == 8000 && web.portFrom == "config")
        #expect(web.mode == "http" && web.balance == "roundrobin" && web.config == ["mode": "http", "port": "8000"])
        #expect(web.state == .served && web.isRouted)
        #expect(web.problems.map(\.of) == ["/backends/web/config"])
        #expect(web.problems.first?.problem.contains("balance: not roundrobin, leastconn") == true)
    }

    @Test func `an endpoint tells where it comes from, and what HAProxy says`() throws {
        let report = Self.fixture().report
        let api = try #require(report.services.first?.endpoints.first)
        #expect(api.key == "/backends/api/1" && api.createRevision == 1 && api.lease == nil)
        #expect(api.container == "api-1" && api.host == "h" && api.owner == "E@1.2.3.4")
        let web = try #require(report.services.last?.endpoints)
        #expect(web.map(\.state) == [.serving, .down])
        #expect(web[1].haproxy?.lastCheck == "L4CON: Connection refused")
    }

    @Test func `services that collide, keys that are wrong, and withdrawals are told`() {
        let report = Self.fixture().report
        // The operator's port counts before the one that an endpoint asks for.
        let loser = report.services.first { $0.state == .leftOut }
        #expect(loser?.name == "api" && loser?.listener == nil)
        #expect(report.problems.first?.severe == true && report.problems.last?.severe == false)
        #expect(report.withdrawn.map(\.key) == ["/backends/web/0"])
        #expect(report.empty == ["gone"])
    }

    @Test func `problems come before the table`() {
        let text = Self.fixture().report.text
        let lines = text.split(separator: "\n")
        let problems = lines.firstIndex { $0 == "PROBLEMS" }
        let table = lines.firstIndex { $0.hasPrefix("SERVICE") }
        #expect(problems.flatMap { problems in table.map { problems < $0 } } == true)
        #expect(
            text.contains("  web/2: DOWN for 9s in HAProxy's health checks; the last check: L4CON: Connection refused"))
        #expect(text.contains("9 read, 9 applied"))
    }

    @Test func `what has one cause is one line with a count`() {
        var fixture = SnapshotFixture(["web/port": "8000"])
        var registry = RegistryFixture(["web/port": "8000"])
        for number in 0..<50 { registry.put("web/\(number)", "10.0.0.\(number + 1):80") }
        fixture.snapshot.inputs = DesiredInputs(registry: registry.state, host: HAProxySettings.sample.host)
        fixture.runs()
        for number in 0..<48 {
            fixture.servers["web"]?["\(number)"]?.status = "DOWN"
            fixture.servers["web"]?["\(number)"]?.age = number
            fixture.servers["web"]?["\(number)"]?.lastCheck =
                number < 45 ? "L4CON in \(number)ms: Connection refused" : "L7STS/404 in 1ms: Not Found"
        }
        let lines = fixture.report.text.split(separator: "\n")
        let problems = lines.drop { $0 != "PROBLEMS" }.prefix { !$0.hasPrefix("SERVICE") }.dropFirst()
        #expect(problems.count == 2)
        #expect(problems.first?.hasPrefix("  web/0, web/1, web/10 and 42 more: DOWN for ") == true)
        #expect(problems.last?.hasPrefix("  web/45, web/46, web/47: DOWN for ") == true)
    }

    @Test func `a revision that waits is told with its time and the failure`() {
        var fixture = Self.fixture()
        fixture.snapshot.appliedRevision = 3
        fixture.snapshot.behindSince = .seconds(1_785_000_000)
        fixture.snapshot.history?.record(RuntimeFailure.silent("no answer"))
        fixture.servers["web"]?["2"] = nil
        let report = fixture.report
        #expect(report.etcd.applied == 3 && report.etcd.behindSince?.hasPrefix("2026-07-25") == true)
        #expect(report.haproxy.failure?.error == "no answer")
        #expect(report.services.last?.endpoints.last?.reasons == ["HAProxy does not have it yet: no answer"])
        #expect(report.text.contains("9 read, 3 applied; the newer one waits since"))
    }

    @Test func `what HAProxy does not say is not known`() {
        let report = Self.fixture().silentReport
        #expect(!report.haproxy.running && report.haproxy.silence == "cannot connect")
        #expect(report.services.map(\.state) == [.leftOut, .unknown, .unknown])
        #expect(report.services.last?.endpoints.map(\.state) == [.unknown, .unknown])
    }

    @Test func `a port that another process holds is told with that process`() {
        var fixture = Self.fixture()
        fixture.snapshot.inputs?.ports.add(
            [], obstacles: [BindAddress(port: port(8000)): "in use by process 7 (nginx)"])
        let web = fixture.report.services.last
        #expect(web?.state == .leftOut)
        #expect(web?.problems.contains { $0.problem == "port 8000 is in use by process 7 (nginx)" } == true)
    }

    @Test func `a refused service is told with HAProxy's words, and what of it is missing with them`() throws {
        var fixture = Self.fixture()
        let listener = try #require(fixture.snapshot.desired?.listeners.last)
        let rejected = RejectedServices.RejectedService(
            listener: listener, fallback: .leftOut, error: "unknown keyword 'x'")
        fixture.snapshot.inputs?.rejected.add([rejected], at: .now)
        let web = try #require(fixture.report.services.last)
        #expect(web.state == .leftOut)
        #expect(web.problems.contains { $0.problem == "HAProxy says: unknown keyword 'x'" && $0.severe })
        fixture.snapshot.inputs?.rejected = RejectedServices()
        let section = try #require(
            HAProxyConfiguration(PlanFixture(["web@8000: 1=10.0.0.5:80"]).plan, .sample).section(of: service("web")))
        let kept = RejectedServices.RejectedService(
            listener: listener, fallback: .accepted(section, rejecting: [instance("2")]), error: "unknown keyword 'x'")
        fixture.snapshot.inputs?.rejected.add([kept], at: .now)
        fixture.servers["web"]?["2"] = nil
        let served = try #require(fixture.report.services.last)
        #expect(served.state == .served && served.endpoints[0].state == .serving)
        #expect(served.endpoints[1].reasons == ["HAProxy does not have it yet: HAProxy says: unknown keyword 'x'"])
    }

    @Test func `without an agent nothing is said of what only an agent knows`() {
        var fixture = Self.fixture()
        (fixture.snapshot.agent, fixture.snapshot.history, fixture.snapshot.appliedRevision) = (nil, nil, nil)
        fixture.snapshot.store.isCopy = true
        let report = fixture.report
        #expect(!report.agent.running && report.haproxy.reloads == nil && report.etcd.copy == true)
        #expect(report.text.contains("copy on this host's disk"))
    }

    @Test func `what a terminal would obey does not get into the text`() {
        var fixture = SnapshotFixture([
            "web/1": "10.0.0.5:80", "web/1/meta": #"{"container":"a\u001b[31m"}"#, "bad\u{1b}/1": "x",
        ])
        fixture.runs(["web/1": { ($0.status, $0.lastCheck) = ("DOWN", "L7RSP: \u{1b}[2J\nx") }])
        let text = fixture.report.text + WhyReport("web", in: fixture.report).text
        #expect(!text.contains("\u{1b}"))
        #expect(text.contains(#"\u{1B}[31m"#))
    }
}
