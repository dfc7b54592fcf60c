import Shared
import Testing

@testable import Discover

@Suite("RouteSwitches")
struct RouteSwitchesTests {
    private func routes(_ pairs: KeyValuePairs<String, String>) -> PartitionedTable<RegistryRecord> {
        var fixture = RegistryFixture()
        for (name, to) in pairs { fixture.put("-routes/\(name)", #"{"host":"\#(name)","to":\#(to)}"#) }
        return fixture.state.routes
    }

    /// Switches after one change, with these services up.
    private func waiting(
        from old: String, to new: String, up: Set<String>, after time: Duration = .zero
    ) -> [ServiceName]? {
        var switches = RouteSwitches(limit: .seconds(600))
        switches.update(to: routes(["r": old]), at: .zero) { _ in true }
        switches.applied(routes(["r": old]))
        let next = routes(["r": new])
        switches.update(to: next, at: .zero) { up.contains($0.text) }
        switches.update(to: next, at: time) { up.contains($0.text) }
        return switches.waiting.first?.value.services
    }

    @Test func `a change waits while the old target is up and the new one is not`() {
        #expect(waiting(from: #""v1""#, to: #""v2""#, up: ["v1"]) == [service("v2")])
        #expect(waiting(from: #""v1""#, to: #""v2""#, up: ["v1"], after: .seconds(599)) == [service("v2")])
        #expect(waiting(from: #""v1""#, to: #"{"v1":1,"v2":1,"v3":1}"#, up: ["v1", "v3"]) == [service("v2")])
    }

    @Test(arguments: [
        (#""v1""#, #""v2""#, ["v1", "v2"]), (#""v1""#, #""v2""#, []), (#"{"v1":1,"v2":1}"#, #""v2""#, ["v1"]),
        (#""v1""#, #"{"v1":1,"v2":0}"#, ["v1"]), (#""v1""#, #""v2","force":true"#, ["v1"]),
        (#""v1""#, #""v 2""#, ["v1"]),
    ])
    func `any other change does not`(old: String, new: String, up: [String]) {
        #expect(waiting(from: old, to: new, up: Set(up)) == nil)
    }

    @Test func `it does not wait for ever, and a new route does not wait at all`() {
        #expect(waiting(from: #""v1""#, to: #""v2""#, up: ["v1"], after: .seconds(600)) == nil)
        var switches = RouteSwitches(limit: .seconds(600))
        switches.update(to: routes(["r": #""v1""#]), at: .zero) { _ in false }
        switches.applied(PartitionedTable())
        switches.update(to: routes(["r": #""v1""#]), at: .zero) { _ in false }
        #expect(switches.waiting.isEmpty && switches.problems.isEmpty)
    }

    @Test func `what waits leads where it led, its new service has a section, and everything else changes`() throws {
        let old: KeyValuePairs = [
            "v1/1": "10.0.0.1:8001", "v2/1": "10.0.0.2:8002", "-routes/r": #"{"host":"r","to":"v1"}"#,
            "-routes/q": #"{"host":"q","to":"v1"}"#,
        ]
        var switches = RouteSwitches(limit: .seconds(600))
        switches.applied(RegistryFixture(old).state.routes)
        var fixture = RegistryFixture(old)
        fixture.replace("-routes/r", #"{"host":"r","to":"v3"}"#)
        fixture.replace("-routes/q", #"{"host":"q","to":"v2"}"#)
        let registry = fixture.state
        switches.update(to: registry.routes, at: .zero) { ["v1", "v2"].contains($0.text) }
        let plan = DesiredState(DesiredInputs(registry: registry, switches: switches, host: .routing))
        #expect(plan.routes?.lookup(host: "r", path: "/")?.record[.to] == "v1")
        #expect(plan.routes?.lookup(host: "q", path: "/")?.record[.to] == "v2")
        #expect(plan.listeners.map(\.service.text) == ["v1", "v2", "v3"])
        let told = try #require(plan.diagnostics.first { $0.subject == "route r" })
        #expect(!told.isSevere && told.explanation.contains("no endpoint of v3 is up"))
    }

    @Test func `routes that went with the store are kept for a while, and deleted ones are not`() throws {
        var state = RegistryFixture(["web/1": "10.0.0.1:80", "-routes/a": #"{"host":"a","to":"web"}"#]).state
        state.apply(
            Etcd.Changes(revision: 3, events: [.delete(key: Array("/backends-routes/a".utf8), modRevision: 3)]))
        #expect(state.lostRoutes.isEmpty && state.routes.isEmpty)
        state = RegistryFixture(["web/1": "10.0.0.1:80", "-routes/a": #"{"host":"a","to":"web"}"#]).state
        state.replace(with: Etcd.RangeResult(revision: 1, clusterID: "other", keyValues: []))
        #expect(state.routes.isEmpty && Set(state.lostRoutes.keys) == ["a"])
        var hold = RouteHold(limit: .seconds(600))
        hold.accept(state, at: .seconds(5))
        #expect(hold.applied(to: state.routes).count == 1 && hold.wait(at: .seconds(15)) == .seconds(590))
        var inputs = DesiredInputs(registry: state, heldRoutes: hold, host: .routing)
        #expect(DesiredState(inputs).routes?.lookup(host: "a", path: "/")?.record[.to] == "web")
        #expect(DesiredState(inputs).diagnostics.contains { $0.message == "keeping lost routes" as StaticString })
        hold.release()
        hold.accept(state, at: .seconds(6))
        inputs.heldRoutes = hold
        #expect(DesiredState(inputs).routes?.records.isEmpty == true)
        var other = RouteHold(limit: .seconds(600))
        other.accept(state, at: .zero)
        #expect(!other.expire(at: .seconds(599)) && other.expire(at: .seconds(600)) && other.records.isEmpty)
    }
}

extension StaticString {
    fileprivate static func == (left: StaticString, right: StaticString) -> Bool {
        left.description == right.description
    }
}

extension RegistryFixture {
    /// Puts another value at a key that is there.
    mutating func replace(_ key: String, _ value: String) {
        let bytes = Array(("/backends" + key).utf8)
        keyValues = keyValues.map { old in
            guard old.key == bytes else { return old }
            return Etcd.KeyValue(
                key: bytes, value: Array(value.utf8), createRevision: old.createRevision,
                modRevision: Int64(keyValues.count + 1), lease: 0)
        }
    }
}
