import Shared
import Testing

@testable import Discover

@Suite("DesiredState")
struct DesiredStateTests {
    struct Case: CustomTestStringConvertible {
        let name: String
        let keys: KeyValuePairs<String, String>
        let listeners: [String]
        var problems: [Diagnostic] = []

        var testDescription: String { name }
    }

    static let cases = [
        Case(
            name: "a value's own port is the last resort", keys: ["web/1": "10.0.0.5:8080"], listeners: ["web:8080"]),
        Case(
            name: "what an entry says counts more", keys: ["web/1": "10.0.0.5:49153", "web/1/meta": #"{"port":8000}"#],
            listeners: ["web:8000"]),
        Case(
            name: "the port key counts more than entries",
            keys: ["web/1": "10.0.0.5:49153", "web/1/meta": #"{"port":8000}"#, "web/port": "9000"],
            listeners: ["web:9000"]),
        Case(
            name: "the config counts most",
            keys: [
                "web/1": "10.0.0.5:49153", "web/1/meta": #"{"port":8000}"#, "web/port": "9000",
                "web/config": #"{"port":9500}"#,
            ], listeners: ["web:9500"]),
        Case(
            name: "the newest entry that names a port decides, and disagreement is told",
            keys: [
                "web/b": "10.0.0.5:1", "web/b/meta": #"{"port":8000}"#, "web/a": "10.0.0.6:1",
                "web/a/meta": #"{"port":8001}"#, "web/c": "10.0.0.7:1",
            ], listeners: ["web:8001"],
            problems: [.valuesDiffer(service("web"), field: "port", values: ["8000", "8001"], chosen: "8001")]),
        Case(
            name: "of two services on one port the older entry wins",
            keys: ["young/1": "10.0.0.5:80", "a/1": "10.0.0.6:81", "b/1": "10.0.0.7:80"],
            listeners: ["a:81", "young:80"],
            problems: [
                .portClaimed(
                    service("b"), port(80), by: service("young"), instead: port(19877), in: RegistryFixture.keyspace)
            ]),
        Case(
            name: "the oldest of a service's entries counts",
            keys: ["b/1": "10.0.0.5:80", "a/1": "10.0.0.6:80", "b/2": "10.0.0.7:80"], listeners: ["b:80"],
            problems: [
                .portClaimed(
                    service("a"), port(80), by: service("b"), instead: port(19520), in: RegistryFixture.keyspace)
            ]),
        Case(
            name: "the stats page's port is taken", keys: ["web/1": "10.0.0.5:1936", "api/1": "10.0.0.5:80"],
            listeners: ["api:80"], problems: [.portOfStats(service("web"), port(1936))]),
        Case(
            name: "services of any name have a place",
            keys: ["stats/1": "10.0.0.1:81", "global/1": "10.0.0.1:82", "MASTER/1": "10.0.0.1:83"],
            listeners: ["MASTER:83", "global:82", "stats:81"]),
    ]

    @Test(arguments: cases)
    func `each service gets its port`(example: Case) {
        let plan = RegistryFixture(example.keys).plan
        #expect(plan.listeners.map { "\($0.service):\($0.port)" } == example.listeners)
        #expect(plan.diagnostics == Set(example.problems))
    }

    @Test func `two hosts with one HOST_IP, and one with another host's, are told`() {
        func meta(_ host: String, _ address: String) -> String { #"{"host":"\#(host)","owner":"E@\#(address)"}"# }
        let fixture = RegistryFixture([
            "a/1": "10.0.0.5:80", "a/1/meta": meta("one", "10.0.0.5"), "b/1": "10.0.0.5:81",
            "b/1/meta": meta("two", "10.0.0.5"), "c/1": "172.17.0.2:82", "c/1/meta": meta("three", "10.0.0.7"),
            "d/1/meta": #"{"host":"four","owner":"E@10.0.0.7","withdrawn":"stopped"}"#,
        ])
        let (one, seven) = (IPAddress("10.0.0.5"), IPAddress("10.0.0.7"))
        var inputs = DesiredInputs(registry: fixture.state, host: HAProxySettings.sample.host)
        let shared = one.map { Diagnostic.addressShared($0, hosts: ["one", "two"]) }
        // Which addresses this host has is not known.
        inputs.host.name = "three"
        #expect(DesiredState(inputs).diagnostics == Set([shared].compactMap(\.self)))
        inputs.ports.ownAddresses = [endpoint("10.0.0.9:1").address]
        let elsewhere = seven.map { Diagnostic.addressElsewhere($0, host: "three") }
        #expect(DesiredState(inputs).diagnostics == Set([shared, elsewhere].compactMap(\.self)))
        #expect(DesiredState(inputs).listeners.count == 3)
        inputs.ports.ownAddresses.formUnion([seven].compactMap(\.self))
        #expect(DesiredState(inputs).diagnostics == Set([shared].compactMap(\.self)))
    }

    @Test func `an endpoint that is any of its service's listeners would loop back`() {
        let fixture = RegistryFixture(["web/1": "10.0.0.5:80", "-ports/web": #"{"port":20000,"instead_of":80}"#])
        var inputs = DesiredInputs(registry: fixture.state, host: HAProxySettings.sample.host)
        inputs.ports.ownAddresses = [endpoint("10.0.0.5:1").address]
        let desired = DesiredState(inputs)
        #expect(desired.listeners.map(\.servers.count) == [0])
        #expect(desired.diagnostics == [.loop(service("web"), instance("1"), endpoint("10.0.0.5:80"))])
    }

    @Test func `a service whose port another process holds is left out alone`() {
        let fixture = RegistryFixture(["web/1": "10.0.0.5:80", "api/1": "10.0.0.5:81"])
        let (web, api) = (BindAddress(port: port(80)), BindAddress(port: port(81)))
        var inputs = DesiredInputs(registry: fixture.state, host: HAProxySettings.sample.host)
        #expect(DesiredState(inputs).untestedBinds == [web, api])
        #expect(DesiredState(inputs).listeners.count == 2)
        inputs.ports.add([web], obstacles: [web: "in use by nginx"])
        let left = DesiredState(inputs)
        #expect(left.untestedBinds == [api] && left.wantedBinds == [web, api])
        #expect(left.listeners.map(\.service.text) == ["api"])
        #expect(left.diagnostics == [.portUnavailable(service("web"), port(80), obstacle: "in use by nginx")])
    }

    @Test(
        arguments: [
            (["a@80: x=127.0.0.1:80 y=10.0.0.5:80"], ["a/x"]),
            (["a@80: x=10.9.9.9:80", "b@81: x=[::ffff:10.9.9.9]:81"], ["a/x", "b/x"]),
            (
                ["a@80: x=10.9.9.9:81 y=10.0.0.5:80", "b@81: x=127.0.0.1:82", "c@82: z=127.0.0.1:80"],
                ["a/x", "b/x", "c/z"]
            ),
            // It comes to an end, at another service or another host.
            (["a@80: x=10.9.9.9:81", "b@81: x=127.0.0.1:82", "c@82: x=10.0.0.5:80"], []),
            (["a@80: x=10.0.0.5:80"], []),
            (["a@80: x=127.0.0.1:8000"], []),
            (["a@80: x=[::1]:80"], []),
        ])
    func `an endpoint from which connections come back to this HAProxy is left out`(
        sections: [String], circular: [String]
    ) throws {
        let whole = PlanFixture(sections).plan
        var registry = RegistryFixture()
        for listener in whole.listeners {
            registry.put("\(listener.service)/port", "\(listener.port)")
            for server in listener.servers { registry.put("\(listener.service)/\(server.id)", "\(server.endpoint)") }
        }
        var inputs = DesiredInputs(registry: registry.state, host: HAProxySettings.sample.host)
        inputs.ports.ownAddresses = [try #require(IPAddress("10.9.9.9"))]
        let plan = DesiredState(inputs)
        let names = { (plan: DesiredState) in
            plan.listeners.flatMap { listener in listener.servers.map { "\(listener.service)/\($0.id)" } }
        }
        #expect(names(plan) == names(whole).filter { !circular.contains($0) })
        #expect(plan.listeners.map(\.service) == whole.listeners.map(\.service))
        #expect(plan.diagnostics.map(\.subject).sorted() == circular.map { String($0.prefix(1)) })
    }

    @Test func `a claim that went with what is held is made again, unless there is another`() {
        let before = RegistryFixture(["web/1": "10.0.0.5:80", "-ports/web": #"{"port":80}"#]).state
        let held = Array(before.records.values)
        var inputs = DesiredInputs(
            registry: RegistryFixture(["api/1": "10.0.0.6:81", "-ports/api": #"{"port":81}"#]).state, held: held,
            host: HAProxySettings.sample.host)
        #expect(DesiredState(inputs).listeners.map(\.service.text) == ["api", "web"])
        #expect(
            DesiredState(inputs).claims == [.put(service("web"), PortClaim(port(80), for: port(80)), replacing: nil)])
        inputs.registry = RegistryFixture(["-ports/web": #"{"port":80}"#]).state
        #expect(DesiredState(inputs).claims == [])
    }

    @Test func `what did not change is not decided again, and what did is`() {
        let registry = RegistryFixture(["web/1": "10.0.0.5:80", "api/1": "10.0.0.6:81"]).state
        var inputs = DesiredInputs(registry: registry, host: HAProxySettings.sample.host)
        var cache = DesiredStateCache()
        #expect(DesiredState(inputs, &cache) == DesiredState(inputs))
        let changes: [(inout HostSettings) -> Void] = [
            { $0.minCheckInterval = .seconds(8) }, { $0.listenAddress = IPAddress("127.0.0.1") },
            { $0.reserved.names = ["web"] }, { $0.statsBind = BindAddress(port: port(81)) },
            { $0.zone = Zone("a") }, { $0.reserved = HostSettings.Reserved() },
        ]
        for change in changes {
            change(&inputs.host)
            #expect(DesiredState(inputs, &cache) == DesiredState(inputs))
        }
    }

    @Test func `this host knows its own addresses`() throws {
        let own = IPAddress.ofThisHost()
        #expect(own.contains(try #require(IPAddress("127.0.0.1"))))
        #expect(!own.contains(try #require(IPAddress("192.0.2.254"))))
    }

    @Test func `servers are in the order of their ids`() {
        let plan = RegistryFixture(["web/c": "10.0.0.5:80", "web/a": "10.0.0.6:80", "web/b": "10.0.0.7:80"]).plan
        #expect(plan.listeners.first?.servers.map(\.id.text) == ["a", "b", "c"])
        #expect(plan.serverCount == 3)
    }

    @Test func `the same registry in any order gives the same bytes`() {
        var fixture = RegistryFixture()
        for number in 0..<60 {
            fixture.put("s\(number % 12)/i\(number)", "10.0.0.\(number + 1):\(8000 + number % 9)")
            fixture.put("s\(number % 12)/i\(number)/meta", #"{"port": \#(9000 + number % 7)}"#)
        }
        let texts = (0..<50).map { _ in HAProxyConfiguration(fixture.plan, .sample).text }
        #expect(Set(texts).count == 1)
        #expect(Set((0..<10).map { _ in fixture.plan.diagnostics }).count == 1)
    }
}
