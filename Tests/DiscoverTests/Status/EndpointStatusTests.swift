import Shared
import Testing

@testable import Discover

/// One case: what is known of an endpoint, and what is said of it.
private struct FateCase: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let state: EndpointStatus.State
    let reason: String?
    let adjust: @Sendable (inout EndpointStatus.Facts) -> Void

    init(
        _ name: String, _ state: EndpointStatus.State, _ reason: String? = nil,
        _ adjust: @escaping @Sendable (inout EndpointStatus.Facts) -> Void = { _ in }
    ) {
        (testDescription, self.state, self.reason, self.adjust) = (name, state, reason, adjust)
    }

    private static let down = "DOWN for 7s in HAProxy's health checks; the last check: "

    static let all = [
        FateCase("up", .serving),
        FateCase("not checked", .serving) { $0.sight?.status = "no check" },
        FateCase("on its way down", .serving) { $0.sight?.status = "UP 1/2" },
        FateCase("no listener", .leftOut, "its service is not served here") { $0.isServed = false },
        FateCase("HAProxy is silent", .unknown, "HAProxy does not say what it does") { $0.isSeen = false },
        FateCase("not there yet", .pending, "HAProxy does not have it yet") { $0.sight = nil },
        FateCase("not there yet, and why", .pending, "HAProxy does not have it yet: revision 7 waits") {
            ($0.sight, $0.delay) = (nil, "revision 7 waits")
        },
        FateCase("at another address", .pending, "HAProxy still sends its connections to 10.0.0.9:80") {
            $0.sight?.endpoint = endpoint("10.0.0.9:80")
        },
        FateCase(
            "down", .down, "DOWN for 7s in HAProxy's health checks; the last check: L7STS/404 in 3ms: Not Found"
        ) {
            $0.sight?.status = "DOWN"
            $0.sight?.lastCheck = "L7STS/404 in 3ms: Not Found"
        },
        FateCase(
            "a response that is not the expected one", .down,
            "\(down)L7STS/200 in 3ms: OK; GET /health answered 200, check_status wants 404"
        ) { $0.fails("L7STS/200 in 3ms: OK", "L7STS", 200, ["check": "http:/health", "check_status": "404"]) },
        FateCase(
            "no response in time", .down,
            "\(down)L7TOUT in 500ms; HEAD / at port 81 (check_port) was not answered within 500ms (check_timeout)"
        ) {
            $0.fails(
                "L7TOUT in 500ms", "L7TOUT", nil,
                ["check": "http", "check_method": "HEAD", "check_timeout": "500ms", "check_port": "81"])
        },
        FateCase(
            "no HTTP", .down, "\(down)L7RSP in 1ms; GET / was not answered in HTTP"
        ) { $0.fails("L7RSP in 1ms", "L7RSP", nil, ["check": "http"]) },
        FateCase(
            "another port is checked", .down, "\(down)L4CON: Connection refused; it connects at port 81 (check_port)"
        ) { $0.fails("L4CON: Connection refused", "L4CON", nil, ["check_port": "81"]) },
        FateCase(
            "what HAProxy's words say already", .down, "\(down)L4CON: Connection refused"
        ) { $0.fails("L4CON: Connection refused", "L4CON", nil, [:]) },
        FateCase("not checked yet", .down, "DOWN for 7s in HAProxy's health checks; no check has been made yet") {
            $0.sight?.status = "DOWN 1/2"
        },
        FateCase("maintenance", .maintenance, "it was put into maintenance by a command to HAProxy, 7s ago") {
            $0.sight?.status = "MAINT"
        },
        FateCase("drained by an operator", .drained, "it is drained by a command to HAProxy, for 7s") {
            $0.sight?.status = "DRAIN"
        },
        FateCase(
            "weight 0", .drained, "/backends/web/config gives it weight 0: it keeps its connections and gets no new one"
        ) {
            $0.sight?.weight = 0
            $0.zeroWeight = "/backends/web/config"
        },
        FateCase("a backup, others work", .spare, "it is used when none of the others works: its zone is b") {
            ($0.backup, $0.hasBetter) = ("its zone is b", true)
        },
        FateCase("a backup, no other works", .serving) { $0.backup = "its zone is b" },
        FateCase("a backup that is down", .down, "DOWN for 7s in HAProxy's health checks; no check has been made yet") {
            ($0.backup, $0.hasBetter) = ("its zone is b", true)
            $0.sight?.status = "DOWN"
        },
    ]
}

@Suite("What becomes of an endpoint")
struct EndpointStatusTests {
    @Test(arguments: FateCase.all)
    fileprivate func `its state and the reason for it`(each: FateCase) {
        var facts = EndpointStatus.Facts(endpoint: endpoint("10.0.0.5:80"))
        facts.sight = ServerStats(status: "UP", endpoint: endpoint("10.0.0.5:80"), age: 7)
        each.adjust(&facts)
        let fate = EndpointStatus(facts)
        #expect(fate.state == each.state)
        #expect(fate.reasons == each.reason.map { [$0] } ?? [])
    }

    @Test func `one that is no longer wanted is leaving`() {
        #expect(
            EndpointStatus.leaving(connections: 3).reasons
                == ["it is no longer in the registry, and ends its 3 open connections"])
        #expect(EndpointStatus.leaving(connections: 0).state == .leaving)
    }
}

extension EndpointStatus.Facts {
    /// Has a check fail that these options describe.
    fileprivate mutating func fails(_ check: String, _ word: String, _ status: Int?, _ said: [String: String]) {
        var options = ServiceOptions()
        for (name, value) in said { _ = ServiceOptions.field(name)?.set(value, &options) }
        (self.options, checkPort) = (ListenerOptions(options), options.checkPort)
        sight?.status = "DOWN"
        sight?.lastCheck = check
        sight?.checkResult = ServerStats.CheckResult(word: word, status: status)
    }
}
