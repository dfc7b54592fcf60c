import Shared
import Testing

@testable import Discover

@Suite("RouteDiff")
struct RouteDiffTests {
    private static let services: KeyValuePairs = [
        "v1/1": "10.0.0.1:8001", "v1/1/meta": #"{"port":"none"}"#, "v2/1": "10.0.0.2:8002",
        "v2/1/meta": #"{"port":"none"}"#,
    ]

    private func configuration(_ routes: KeyValuePairs<String, String>, certificates: [String: String] = ["a": "1"])
        -> HAProxyConfiguration
    {
        var fixture = RegistryFixture(Self.services)
        for (name, value) in routes { fixture.put("-routes/\(name)", value) }
        var settings = HAProxySettings.sample
        settings.host.routes = RouteListeners(http: BindAddress(port: port(80)), https: BindAddress(port: port(443)))
        settings.certificates = certificates
        let inputs = DesiredInputs(
            registry: fixture.state, certificates: Set(certificates.keys), host: settings.host)
        return HAProxyConfiguration(DesiredState(inputs), settings)
    }

    /// The commands without the folder and the rest of records.
    private func words(_ change: ConfigChange) -> [String] {
        change.commands.map { $0.text.replacing("/run/d/", with: "").prefix { $0 != "|" }.description }
    }

    @Test func `a switch is one command, and new weights are rows, a pointer, and no row less before the next change`()
    {
        let one = configuration(["r": #"{"host":"r","to":"v1"}"#])
        let running = RunningConfig(worker: 1, loaded: one)
        let two = configuration(["r": #"{"host":"r","to":"v2"}"#])
        let change = ConfigChange(from: .confirmed(running), to: two)
        #expect(words(change) == ["set map routes.map r/ v2"] && change.load == nil)
        let shared = configuration(["r": #"{"host":"r","to":{"v1":1,"v2":9}}"#])
        let weights = ConfigChange(from: .confirmed(running.after(change, until: .now)), to: shared)
        #expect(weights.load == nil && words(weights).count == 11)
        #expect(words(weights).dropLast().allSatisfy { $0.hasPrefix("add map shares.map ~n") })
        #expect(words(weights).last?.hasPrefix("set map routes.map r/ ~n") == true)
        let weighed = running.after(change, until: .now).after(weights, until: .now)
        let back = ConfigChange(from: .confirmed(weighed), to: one)
        #expect(words(back) == ["set map routes.map r/ v1"])
        let later = weighed.after(back, until: .now)
        #expect(later.retired.count == 1)
        let last = ConfigChange(from: .confirmed(later), to: two)
        #expect(words(last).count == 11 && words(last)[0] == "set map routes.map r/ v2")
        #expect(words(last).dropFirst().allSatisfy { $0.hasPrefix("del map shares.map ~n") })
        #expect(ConfigChange(from: .confirmed(later), to: shared).commands.count == 1, "they are still there")
        #expect(later.after(last, until: .now).maps == two.maps)
    }

    @Test func `what needs a load waits for it, and nothing else does`() {
        let running = RunningConfig(worker: 1, loaded: configuration(["r": #"{"host":"r","to":"v1"}"#]))
        let next = configuration([
            "r": #"{"host":"r","to":"new"}"#, "q": #"{"host":"q","to":"v2"}"#,
            "p": #"{"host":"p","to":"v2","when":[{"method":"POST","to":"v1"}]}"#,
            "o": #"{"host":"o","to":{"v1":1,"new":1}}"#,
        ])
        let change = ConfigChange(from: .confirmed(running), to: next)
        #expect(change.load != nil)
        #expect(words(change).filter { $0.contains("routes.map") } == ["add map routes.map q/ v2"])
        let after = running.after(change.withoutLoad, until: .now)
        #expect(after.maps?.records["r/"]?.hasPrefix("v1|") == true && after.maps?.records["p/"] == nil)
        #expect(ConfigChange(from: .confirmed(RunningConfig(worker: 2, loaded: next)), to: next).isEmpty)
    }

    @Test func `a route moves after its new endpoints have come and before its old ones go`() throws {
        let old = configuration(["r": #"{"host":"r","to":"v1"}"#])
        var fixture = RegistryFixture(["v1/1/meta": #"{"port":"none"}"#, "v1/2": "10.0.0.9:80"])
        fixture.put("v2/2", "10.0.0.8:80")
        fixture.put("v2/2/meta", #"{"port":"none"}"#)
        fixture.put("v1/2/meta", #"{"port":"none"}"#)
        fixture.put("-routes/r", #"{"host":"r","to":"v2"}"#)
        var settings = HAProxySettings.sample
        settings.host.routes = RouteListeners(http: BindAddress(port: port(80)), https: BindAddress(port: port(443)))
        settings.certificates = ["a": "1"]
        let inputs = DesiredInputs(registry: fixture.state, certificates: ["a"], host: settings.host)
        let change = ConfigChange(
            from: .confirmed(RunningConfig(worker: 1, loaded: old)),
            to: HAProxyConfiguration(DesiredState(inputs), settings))
        let order = words(change)
        let arrival = try #require(order.firstIndex { $0.hasPrefix("add server v2/2") })
        let pointer = try #require(order.firstIndex { $0.hasPrefix("set map") })
        let drain = try #require(order.firstIndex { $0 == "set server v1/1 state drain" })
        #expect(arrival < pointer && pointer < drain)
    }

    @Test func `certificates change while HAProxy runs, except the first and the last one`() {
        let routes: KeyValuePairs = ["r": #"{"host":"r","to":"v1"}"#]
        let running = RunningConfig(worker: 1, loaded: configuration(routes, certificates: ["a": "1", "b": "1"]))
        let next = configuration(routes, certificates: ["a": "2", "c": "1"])
        let change = ConfigChange(from: .confirmed(running), to: next)
        #expect(
            words(change) == [
                "renew certificate certificates/a.pem", "remove certificate certificates/b.pem",
                "add certificate certificates/c.pem",
            ])
        #expect(change.load == nil)
        let none = ConfigChange(from: .confirmed(running), to: configuration(routes, certificates: [:]))
        #expect(none.commands.isEmpty && none.load != nil)
        #expect(RuntimeLine.packing(change.commands).count == 3)
    }

    @Test func `a worker that does not tell its maps is reloaded`() {
        let file = configuration(["r": #"{"host":"r","to":"v1"}"#])
        let running = RunningConfig(worker: 1, file: file, states: [], until: .now)
        #expect(ConfigChange(from: .confirmed(running), to: file).load == .reload(.unknownState))
    }

    @Test func `a file tells its conditions and that it has routes again`() throws {
        let written = configuration(["p": #"{"host":"p","to":"v2","when":[{"header":{"x":"a b"},"to":"v1"}]}"#])
        let read = try #require(HAProxyConfiguration(text: written.text))
        #expect(read.conditions == written.conditions && read.conditions.count == 1 && read.hasRoutes)
        #expect(read.sections == written.sections)
    }
}
