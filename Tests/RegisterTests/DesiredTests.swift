// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Testing

@testable import Register

@Suite("Desired")
struct DesiredTests {
    private static let owner = Owner(Docker.Identity(id: "E1", name: "host1"), IPAddress("10.0.0.1")!)
    private static let id = InstanceID("aaaaaaaaaaaa")!
    private static let slot = EntryID(service: ServiceName("web")!, id: id)
    private static let life = "2026-01-01T00:00:00Z"
    private static let there = CurrentEntry(endpoint: Endpoint("10.0.0.1:8080")!, started: life, source: .container)

    private func container(
        _ health: Docker.Health? = nil, port: Int = 8080, _ labels: [String: String] = [:]
    ) -> Docker.Container {
        Docker.Container(
            id: Self.id, name: "c", image: "web", labels: labels, environment: [:], started: Self.life,
            bindings: [Docker.Binding(containerPort: Port(80)!, hostAddress: nil, hostPort: Port(port)!)],
            health: health)
    }

    private func inputs(_ containers: Docker.Container..., unreadable: Set<InstanceID> = []) -> Inputs {
        Inputs(
            owner: Self.owner, policy: RegistrationPolicy(),
            containers: Docker.ContainerList(containers: containers, unreadable: unreadable))
    }

    private func desired(
        _ container: Docker.Container, _ current: CurrentEntry? = nil, _ result: CheckResult? = nil
    ) -> Desired {
        let target = DesiredEntries(of: [container], owner: Self.owner).gates[Self.slot]?.check
        var checks: [CheckTarget: CheckResult] = [:]
        if let target { checks[target] = result }
        return Desired(inputs(container), checks: checks, current: current.map { [Self.slot: $0] } ?? [:])
    }

    private static let another = CurrentEntry(
        endpoint: there.endpoint, started: "2025-01-01T00:00:00Z", source: .container)

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
        health: Docker.Health?, current: CurrentEntry?, obstacle: NotReadyReason?
    ) {
        let desired = desired(container(health), current)
        #expect(desired.notReady[Self.slot] == obstacle)
        #expect((desired.entries[Self.slot] != nil) == (obstacle == nil))
        #expect(desired.current == (obstacle == nil ? [Self.slot: Self.there] : [:]))
        #expect(desired.decisions.first?.entries.count == (obstacle == nil ? 1 : 0))
        #expect(desired.decisions.first?.reasons == (obstacle.map { [$0.containerReason] } ?? []))
    }

    @Test(arguments: [Docker.Health.starting, .healthy, .unhealthy(failures: 9)])
    func `a label opts out of the HEALTHCHECK`(health: Docker.Health) {
        let desired = desired(container(health, ["SERVICE_HEALTH": "ignore"]))
        #expect(desired.entries[Self.slot] != nil)
        #expect(desired.checks.isEmpty)
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
        (
            CurrentEntry(endpoint: Endpoint("10.0.0.1:8081")!, started: life, source: .container), nil,
            .unchecked(Port(80)!)
        ),
    ])
    func `a container with a check of the agent's own is registered while that passes`(
        current: CurrentEntry?, result: CheckResult?, obstacle: NotReadyReason?
    ) {
        let desired = desired(container(nil, ["SERVICE_REGISTER_CHECK": "tcp"]), current, result)
        #expect(desired.notReady[Self.slot] == obstacle)
        #expect((desired.entries[Self.slot] != nil) == (obstacle == nil))
        #expect(Array(desired.checks.values) == [current == Self.there])
    }

    @Test(arguments: [
        (Docker.Health.healthy, CheckResult.passing, NotReadyReason?.none), (.healthy, .pending, .unchecked(Port(80)!)),
        (.starting, .passing, .starting), (.unhealthy(failures: 1), .passing, .unhealthy(failures: 1)),
        (.starting, .failing(refused), .starting),
    ])
    func `where there are both, both have to pass, and the check goes on meanwhile`(
        health: Docker.Health, result: CheckResult, obstacle: NotReadyReason?
    ) {
        let desired = desired(container(health, ["SERVICE_REGISTER_CHECK": "tcp"]), nil, result)
        #expect(desired.notReady[Self.slot] == obstacle)
        #expect(desired.checks.count == 1)
    }

    @Test func `several names of a port share one check, and one that stands is enough to trust it`() {
        let container = container(nil, ["SERVICE_REGISTER_CHECK": "tcp", "SERVICE_NAME": "web,web2"])
        let desired = Desired(inputs(container), current: [Self.slot: Self.there])
        #expect(Array(desired.checks.values) == [true])
        #expect(desired.entries.keys.map(\.service.text) == ["web"])
        // The remark is one, for the port.
        let none = Desired(inputs(container), current: [:])
        #expect(none.decisions.first?.reasons.count == 1 && none.notReady.count == 2)
    }

    @Test func `a check is of what labels say, and another after a restart or with another port`() throws {
        let labels = [
            "SERVICE_REGISTER_CHECK": "http:/up", "SERVICE_CHECK_HOST": "web.example", "SERVICE_CHECK_METHOD": "HEAD",
            "SERVICE_CHECK_STATUS": "200,204", "SERVICE_REGISTER_CHECK_INTERVAL": "5s",
            "SERVICE_REGISTER_CHECK_TIMEOUT": "3s", "SERVICE_REGISTER_CHECK_RISE": "2",
            "SERVICE_REGISTER_CHECK_FALL": "4",
        ]
        let target = try #require(desired(container(nil, labels)).checks.keys.first)
        #expect(target.endpoint.description == "10.0.0.1:8080")
        #expect((target.interval, target.timeout, target.rise, target.fall) == (.seconds(5), .seconds(3), 2, 4))
        guard case .http(let probe) = target.probe else { return #expect(Bool(false)) }
        #expect(probe.path.description == "/up" && probe.host?.description == "web.example" && probe.method == .head)
        #expect(probe.passes(204) && !probe.passes(302))
        let plain = try #require(desired(container(nil, ["SERVICE_REGISTER_CHECK": "http"])).checks.keys.first)
        guard case .http(let standard) = plain.probe else { return #expect(Bool(false)) }
        #expect(standard.passes(200) && standard.passes(399) && !standard.passes(400) && !standard.passes(199))
        #expect((plain.interval, plain.timeout, plain.rise, plain.fall) == (.seconds(2), .seconds(1), 1, 3))
        var restarted = container(nil, labels)
        restarted.started = "2026-01-02T00:00:00Z"
        #expect(desired(restarted).checks[target] == nil)
        #expect(desired(container(nil, port: 8081, labels)).checks[target] == nil)
        #expect(desired(container(nil, ["SERVICE_REGISTER_CHECK": "none"])).checks.isEmpty)
    }

    @Test func `what stands of a container that cannot be read goes on standing`() {
        let current = [Self.slot: Self.there]
        #expect(Desired(inputs(), current: current).current == [:])
        let unreadable = Desired(inputs(unreadable: [Self.id]), current: current)
        #expect(unreadable.current == current)
        #expect(unreadable.undecided == .containers([Self.id]))
        // What is known of it counts.
        let sick = Desired(inputs(container(.unhealthy(failures: 1)), unreadable: [Self.id]), current: current)
        #expect(sick.current == [:])
    }

    @Test func `before the engine has listed its containers theirs go on standing, and the services file counts`() {
        let main = EntryID(service: Self.slot.service, id: InstanceID("main")!)
        let ofFile = CurrentEntry(endpoint: Self.there.endpoint, started: "", source: .servicesFile)
        var unknown = inputs()
        unknown.containers = nil
        let desired = Desired(unknown, current: [Self.slot: Self.there, main: ofFile])
        #expect(desired.current == [Self.slot: Self.there])
        #expect(desired.undecided == .allContainers)
        #expect(desired.decisions == [] && desired.entries == [:])
    }

    @Test func `while nobody knows what is registered, every entry counts as ready`() {
        let sick = container(.unhealthy(failures: 1), ["SERVICE_REGISTER_CHECK": "tcp"])
        let desired = Desired(inputs(sick), current: nil)
        #expect(Array(desired.entries.keys) == [Self.slot])
        #expect(desired.notReady == [:] && desired.checks == [:] && desired.current == [:])
        #expect(desired.decisions.map(\.entries.count) == [1])
    }

    @Test func `what the registry holds stands only as a whole`() throws {
        var meta = Meta()
        meta.created = Self.life
        let value = Array("10.0.0.1:8080".utf8)
        #expect(
            CurrentEntry(RegisteredEntry(value: value, meta: try meta.json(), isLeased: false, source: .container))
                == Self.there)
        #expect(CurrentEntry(RegisteredEntry(value: value, meta: nil, isLeased: true, source: .container)) == nil)
        #expect(
            CurrentEntry(RegisteredEntry(value: value, meta: Array("x".utf8), isLeased: true, source: .container))
                == nil)
        // What is no container has no time of start.
        #expect(
            CurrentEntry(RegisteredEntry(value: value, meta: Array("{}".utf8), isLeased: true, source: .container))?
                .started == "")
        #expect(
            CurrentEntry(RegisteredEntry(value: nil, meta: try meta.json(), isLeased: true, source: .container)) == nil)
        #expect(
            CurrentEntry(RegisteredEntry(value: [1], meta: try meta.json(), isLeased: true, source: .container)) == nil)
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
        #expect(obstacle.withdrawalReason == reason)
        let desired = Desired(withdrawalReasons: [Self.id: "drained"], notReady: [Self.slot: obstacle])
        let registered = RegisteredEntry(value: [1], meta: nil, isLeased: true, source: .container)
        #expect(
            EntryDiff.changes(from: [Self.slot: registered], to: desired) == [.withdraw(Self.slot, reason: reason)])
    }

    @Test func `a drained container's entries are withdrawn as that, and those of a carrier nobody knows stay`() {
        let drained = Desired(inputs(container()), drains: [Self.id], current: [Self.slot: Self.there])
        #expect(drained.entries.isEmpty)
        #expect(drained.withdrawalReason(of: Self.slot, .container) == "drained")
        let carrier = InstanceID("bbbbbbbbbbbb")!
        var rider = container()
        rider.network = .container(carrier.text)
        let undecided = Desired(inputs(rider, unreadable: [carrier]), current: [Self.slot: Self.there])
        #expect(undecided.undecided.contains(Self.id, .container))
        #expect(undecided.current == [Self.slot: Self.there])
    }

    @Test func `a check of one endpoint counts as passing where it passed for one of its services`() {
        let labels = ["SERVICE_NAME": "api,web", "SERVICE_REGISTER_CHECK": "tcp"]
        let (api, web) = (EntryID(service: ServiceName("api")!, id: Self.id), Self.slot)
        for known in [api, web] {
            let desired = Desired(inputs(container(nil, labels)), current: [known: Self.there])
            #expect(desired.checks.values.map(\.self) == [true])
        }
        let new = Desired(inputs(container(nil, labels)), current: [:])
        #expect(new.checks.values.map(\.self) == [false])
    }
}
