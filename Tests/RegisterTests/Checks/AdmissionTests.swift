// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Testing

@testable import Register

@Suite("Admission")
struct AdmissionTests {
    private static let owner = Owner(Docker.Identity(id: "E1", name: "host1"), IPAddress("10.0.0.1")!)
    private static let id = InstanceID("aaaaaaaaaaaa")!
    private static let slot = EntryID(service: ServiceName("web")!, id: id)
    private static let life = "2026-01-01T00:00:00Z"
    private static let there = CurrentEntry(endpoint: Endpoint("10.0.0.1:8080")!, started: life)

    private func container(
        _ health: Docker.Health? = nil, port: Int = 8080, _ labels: [String: String] = [:]
    ) -> Docker.Container {
        Docker.Container(
            id: Self.id, name: "c", image: "web", labels: labels, environment: [:], started: Self.life,
            bindings: [Docker.Binding(containerPort: Port(80)!, hostAddress: nil, hostPort: Port(port)!)],
            health: health)
    }

    private func admission(
        _ container: Docker.Container, _ standing: CurrentEntry? = nil, _ verdict: CheckResult? = nil
    ) -> Admission {
        let services = DesiredEntries(of: [container], owner: Self.owner)
        let target = services.gates[Self.slot]?.check
        var checks: [CheckTarget: CheckResult] = [:]
        if let target { checks[target] = verdict }
        return Admission(of: services, standing: standing.map { [Self.slot: $0] } ?? [:], checks: checks)
    }

    private static let another = CurrentEntry(endpoint: there.endpoint, started: "2025-01-01T00:00:00Z")

    @Test(arguments: [
        (Docker.Health?.none, CurrentEntry?.none, NotReadyReason?.none), (.healthy, nil, nil), (.healthy, there, nil),
        (.starting, nil, .starting), (.unhealthy(failures: 3), nil, .unhealthy(failures: 3)),
        (.unhealthy(failures: 3), there, .unhealthy(failures: 3)),
        // The engine was restarted below it, or the agent was: it was healthy in this life.
        (.starting, there, nil),
        // It was restarted itself while nobody looked.
        (.starting, another, .starting),
    ])
    func `a container with a HEALTHCHECK is registered while it is healthy`(
        health: Docker.Health?, standing: CurrentEntry?, obstacle: NotReadyReason?
    ) {
        let admission = admission(container(health), standing)
        #expect(admission.obstacles[Self.slot] == obstacle)
        #expect((admission.registrations[Self.slot] != nil) == (obstacle == nil))
        #expect(admission.standing == (obstacle == nil ? [Self.slot: Self.there] : [:]))
        #expect(admission.verdicts.first?.entries.count == (obstacle == nil ? 1 : 0))
        #expect(admission.verdicts.first?.remarks == (obstacle.map { [$0.remark] } ?? []))
    }

    @Test(arguments: [Docker.Health.starting, .healthy, .unhealthy(failures: 9)])
    func `a label opts out of the HEALTHCHECK`(health: Docker.Health) {
        let admission = admission(container(health, ["SERVICE_HEALTH": "ignore"]))
        #expect(admission.registrations[Self.slot] != nil)
        #expect(admission.targets.isEmpty)
    }

    private static let refused = CheckFailure.noConnection("Connection refused")

    @Test(arguments: [
        (CurrentEntry?.none, CheckResult?.none, NotReadyReason?.some(.unchecked(Port(80)!))),
        (nil, .pending, .unchecked(Port(80)!)),
        (nil, .passing, nil), (nil, .failing(refused), .checkFailed(Port(80)!, refused)),
        // A restart of the agent takes nothing out until its own checks say so.
        (there, nil, nil), (there, .passing, nil), (there, .failing(refused), .checkFailed(Port(80)!, refused)),
        // What was registered was another life, or another endpoint.
        (another, nil, .unchecked(Port(80)!)),
        (CurrentEntry(endpoint: Endpoint("10.0.0.1:8081")!, started: life), nil, .unchecked(Port(80)!)),
    ])
    func `a container with a check of the agent's own is registered while that passes`(
        standing: CurrentEntry?, verdict: CheckResult?, obstacle: NotReadyReason?
    ) {
        let admission = admission(container(nil, ["SERVICE_REGISTER_CHECK": "tcp"]), standing, verdict)
        #expect(admission.obstacles[Self.slot] == obstacle)
        #expect((admission.registrations[Self.slot] != nil) == (obstacle == nil))
        #expect(Array(admission.targets.values) == [standing == Self.there])
    }

    @Test(arguments: [
        (Docker.Health.healthy, CheckResult.passing, NotReadyReason?.none), (.healthy, .pending, .unchecked(Port(80)!)),
        (.starting, .passing, .starting), (.unhealthy(failures: 1), .passing, .unhealthy(failures: 1)),
        (.starting, .failing(refused), .starting),
    ])
    func `where there are both, both have to pass, and the check goes on meanwhile`(
        health: Docker.Health, verdict: CheckResult, obstacle: NotReadyReason?
    ) {
        let admission = admission(container(health, ["SERVICE_REGISTER_CHECK": "tcp"]), nil, verdict)
        #expect(admission.obstacles[Self.slot] == obstacle)
        #expect(admission.targets.count == 1)
    }

    @Test func `several names of a port share one check, and one that stands is enough to trust it`() {
        let container = container(nil, ["SERVICE_REGISTER_CHECK": "tcp", "SERVICE_NAME": "web,web2"])
        let services = DesiredEntries(of: [container], owner: Self.owner)
        let admission = Admission(of: services, standing: [Self.slot: Self.there], checks: [:])
        #expect(Array(admission.targets.values) == [true])
        #expect(admission.registrations.keys.map(\.service.text) == ["web"])
        // The remark is one, for the port.
        let none = Admission(of: services, standing: [:], checks: [:])
        #expect(none.verdicts.first?.remarks.count == 1 && none.obstacles.count == 2)
    }

    @Test func `a check is of what labels say, and another after a restart or with another port`() throws {
        let labels = [
            "SERVICE_REGISTER_CHECK": "http:/up", "SERVICE_CHECK_HOST": "web.example", "SERVICE_CHECK_METHOD": "HEAD",
            "SERVICE_CHECK_STATUS": "200,204", "SERVICE_REGISTER_CHECK_INTERVAL": "5s",
            "SERVICE_REGISTER_CHECK_TIMEOUT": "3s", "SERVICE_REGISTER_CHECK_RISE": "2",
            "SERVICE_REGISTER_CHECK_FALL": "4",
        ]
        let target = try #require(admission(container(nil, labels)).targets.keys.first)
        #expect(target.endpoint.description == "10.0.0.1:8080")
        #expect((target.interval, target.timeout, target.rise, target.fall) == (.seconds(5), .seconds(3), 2, 4))
        guard case .http(let probe) = target.probe else { return #expect(Bool(false)) }
        #expect(probe.path.description == "/up" && probe.host?.description == "web.example" && probe.method == .head)
        #expect(probe.passes(204) && !probe.passes(302))
        let plain = try #require(admission(container(nil, ["SERVICE_REGISTER_CHECK": "http"])).targets.keys.first)
        guard case .http(let standard) = plain.probe else { return #expect(Bool(false)) }
        #expect(standard.passes(200) && standard.passes(399) && !standard.passes(400) && !standard.passes(199))
        #expect((plain.interval, plain.timeout, plain.rise, plain.fall) == (.seconds(2), .seconds(1), 1, 3))
        var restarted = container(nil, labels)
        restarted.started = "2026-01-02T00:00:00Z"
        #expect(admission(restarted).targets[target] == nil)
        #expect(admission(container(nil, port: 8081, labels)).targets[target] == nil)
        #expect(admission(container(nil, ["SERVICE_REGISTER_CHECK": "none"])).targets.isEmpty)
    }

    @Test func `what stands of a container that cannot be read goes on standing`() {
        let standing = [Self.slot: Self.there]
        let services = DesiredEntries(of: [], owner: Self.owner)
        #expect(Admission(of: services, standing: standing, checks: [:]).standing == [:])
        #expect(
            Admission(of: services, standing: standing, unreadable: [Self.id], checks: [:]).standing == standing)
        // What is known of it counts.
        let sick = DesiredEntries(of: [container(.unhealthy(failures: 1))], owner: Self.owner)
        #expect(Admission(of: sick, standing: standing, unreadable: [Self.id], checks: [:]).standing == [:])
    }

    @Test func `what the registry holds stands only as a whole`() throws {
        var meta = Meta()
        meta.created = Self.life
        let value = Array("10.0.0.1:8080".utf8)
        #expect(CurrentEntry(RegisteredEntry(value: value, meta: try meta.json(), isLeased: false)) == Self.there)
        #expect(CurrentEntry(RegisteredEntry(value: value, meta: nil, isLeased: true)) == nil)
        #expect(CurrentEntry(RegisteredEntry(value: value, meta: Array("x".utf8), isLeased: true)) == nil)
        // What is no container has no time of start.
        #expect(CurrentEntry(RegisteredEntry(value: value, meta: Array("{}".utf8), isLeased: true))?.started == "")
        #expect(CurrentEntry(RegisteredEntry(value: nil, meta: try meta.json(), isLeased: true)) == nil)
        #expect(CurrentEntry(RegisteredEntry(value: [1], meta: try meta.json(), isLeased: true)) == nil)
    }

    @Test(arguments: [
        (NotReadyReason.starting, "not healthy yet"),
        (.unhealthy(failures: 3), "unhealthy: its HEALTHCHECK failed 3 times in a row"),
        (.unchecked(Port(80)!), "register check has not passed yet"),
        (.checkFailed(Port(80)!, refused), "register check failed: no connection: Connection refused"),
        (.checkFailed(Port(80)!, .status(503)), "register check failed: HTTP status 503"),
        (
            .checkFailed(Port(80)!, .noAnswer(within: .milliseconds(1500))),
            "register check failed: no answer within 1s500ms"
        ),
        (.checkFailed(Port(80)!, .broken("Empty reply")), "register check failed: no answer: Empty reply"),
    ])
    func `a withdrawal says why`(obstacle: NotReadyReason, reason: String) {
        #expect(obstacle.reason == reason)
        #expect(
            EntryDiff.actions(
                desired: [:], published: [Self.slot: RegisteredEntry(value: [1], meta: nil, isLeased: true)],
                reasons: [Self.id: "drained"], obstacles: [Self.slot: obstacle]) == [
                    .withdraw(Self.slot, reason: reason)
                ])
    }
}
