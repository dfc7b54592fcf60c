import Shared
import Testing

@testable import Discover

/// One question: what is asked, the exit status, and what has to be in the answer.
private struct WhyCase: CustomTestStringConvertible, Sendable {
    let question: String
    let status: Int32
    let parts: [String]

    var testDescription: String { question }

    init(_ question: String, _ status: Int32, _ parts: String...) {
        (self.question, self.status, self.parts) = (question, status, parts)
    }

    static let all = [
        WhyCase(
            "web", 0, "web is served at :8000, mode http, balance leastconn, check tcp.",
            "An operator's config overrides: balance=leastconn, mode=http, port=8000.",
            "1 of 3 endpoints get connections.", "web/1 at 10.0.0.5:80 gets connections, HAProxy says UP."),
        WhyCase("web/1", 0, "created at revision 2", "no lease"),
        WhyCase("10.0.0.5:80", 0, "web/1 at 10.0.0.5:80"),
        WhyCase("web-1", 0, "container web-1"),
        WhyCase(
            "web/2", 1, "web/2 at 10.0.0.6:80 gets no connections: DOWN for 9s in HAProxy's health checks",
            "the last check: L7STS/404 in 3ms: Not Found"),
        WhyCase("web/3", 1, "it is used when none of the others works: it says so of itself"),
        WhyCase("zero", 1, "what it says of itself gives it weight 0"),
        WhyCase(
            "api", 0,
            "api: port 8000 belongs to service web, which claimed it first; 19005 is used; to give it to this service: "
                + "etcdctl put /backends/api/port 8000."),
        WhyCase("api/1", 0, "api is served at :19005, as its claim of revision 8 says; it asks for 8000"),
        WhyCase("taken", 1, "taken is not served", "taken: port 81 is in use by process 7 (nginx)."),
        WhyCase("stats", 1, "stats: port 1936 is the stats page's."),
        WhyCase("old", 1, "old/1 was withdrawn at 2026-08-01T09:00:00Z: container stopped."),
        WhyCase("old/1", 1, "was withdrawn"),
        WhyCase("old-1", 1, "old/2 of container old-1 was withdrawn: drained."),
        WhyCase("config-only", 1, "config-only has no endpoint, only what an operator says of it"),
        WhyCase("nobody", 2, "nobody is not in the registry (below /backends/, at revision", "docker-register why"),
        WhyCase("web/9", 2, "not in the registry"),
        WhyCase("10.0.0.5:81", 2, "not in the registry"),
        WhyCase("broken", 2, "/backends/broken/1: the value 'nonsense' is not IP:PORT"),
        WhyCase(
            "8000", 0, "web is served at :8000", "1 of 3 endpoints get connections.", "api is served at :19005",
            "api: port 8000 belongs to service web"),
        WhyCase("localhost:8000", 0, "web is served at :8000"),
        WhyCase("127.0.0.1:19005", 0, "api is served at :19005"),
        WhyCase(":81", 1, "taken is not served", "taken: port 81 is in use by process 7 (nginx)."),
        WhyCase("localhost:8200", 2, "No service listens on port 8200 or asks for it (below /backends/, at revision"),
        WhyCase("localhost:1936", 1, "stats: port 1936 is the stats page's."),
        WhyCase("8001", 0, "8001 is served at :84"),
        WhyCase(
            "dns-53-udp", 1,
            "dns-53-udp is UDP, which HAProxy does not forward: it has no listener, and is in the outputs.",
            "dns-53-udp/1 at 10.0.0.9:53"),
        WhyCase("dns", 0, "dns is served at :53"),
        WhyCase("typo", 0, "/backends/typo/config: wieght: there is no such field; did you mean weight?"),
        WhyCase("0123456789abcdef", 0, "cut/0123456789ab at 10.0.0.9:83"),
    ]
}

@Suite("docker-discover's why")
struct WhyReportTests {
    private static func fixture() -> SnapshotFixture {
        var fixture = SnapshotFixture([
            "web/config": #"{"mode":"http","port":8000,"balance":"leastconn"}"#,
            "web/1": "10.0.0.5:80", "web/1/meta": #"{"container":"web-1"}"#, "web/2": "10.0.0.6:80",
            "web/3": "10.0.0.7:80", "web/3/meta": #"{"backup":true}"#,
            "api/1": "10.0.0.8:8000", "-ports/api": #"{"port":19005,"instead_of":8000}"#,
            "zero/1": "10.0.0.9:82", "zero/1/meta": #"{"weight":0}"#,
            "taken/1": "10.0.0.9:81", "stats/1": "10.0.0.9:1936", "broken/1": "nonsense",
            "old/1/meta": #"{"withdrawn":"container stopped","at":"2026-08-01T09:00:00Z"}"#,
            "old/2/meta": #"{"withdrawn":"drained","container":"old-1"}"#,
            "config-only/config": "{}", "cut/0123456789ab": "10.0.0.9:83", "8001/1": "10.0.0.9:84",
            "dns/1": "10.0.0.9:53", "dns/2": "10.0.0.9:153", "dns/2/meta": #"{"protocol":"udp"}"#,
            "dns-53-udp/1": "10.0.0.9:53", "dns-53-udp/1/meta": #"{"port":53,"protocol":"udp"}"#,
            "typo/1": "10.0.0.9:85", "typo/config": #"{"wieght":50}"#,
        ])
        fixture.snapshot.inputs?.ports.add([], obstacles: [BindAddress(port: port(81)): "in use by process 7 (nginx)"])
        fixture.runs(["web/2": { ($0.status, $0.lastCheck) = ("DOWN", "L7STS/404 in 3ms: Not Found") }])
        return fixture
    }

    @Test(arguments: WhyCase.all)
    fileprivate func `a question gets its answer and its exit status`(each: WhyCase) {
        let answer = WhyReport(each.question, in: Self.fixture().report)
        #expect(answer.status == each.status, "\(answer.text)")
        for part in each.parts { #expect(answer.text.contains(part), "\(answer.text)") }
        #expect(answer.routed == (each.status == 0))
    }

    @Test func `one endpoint's answer has nothing of the others`() {
        let answer = WhyReport("web/2", in: Self.fixture().report)
        #expect(!answer.text.contains("10.0.0.5") && answer.services.first?.endpoints.count == 1)
    }

    @Test func `a silent HAProxy and a lost etcd are told`() {
        var fixture = Self.fixture()
        fixture.snapshot.store.health.trouble = ErrorRecord(time: "2026-08-01T10:00:00Z", error: "refused")
        let answer = WhyReport("web", in: fixture.silentReport)
        #expect(answer.status == 1)
        #expect(
            answer.text.contains("etcd unreachable since 2026-08-01T10:00:00Z (refused): newer changes are not known."))
        #expect(answer.text.contains("HAProxy does not answer: cannot connect."))
    }
}
