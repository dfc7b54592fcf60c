import Shared
import Testing

@testable import Discover

@Suite("docker-discover's plan")
struct ReconcilePlanTests {
    private let running = PlanFixture(["web: 1=10.0.0.5:80 2=10.0.0.6:80"]).running

    private func forecast(_ sections: String..., claims: [PortClaimUpdate] = []) -> ReconcilePlan {
        ReconcilePlan(
            from: .confirmed(running), to: PlanFixture(sections).configuration, claims: claims, problems: [])
    }

    @Test func `where nothing changes there is nothing to do`() {
        let forecast = forecast("web: 1=10.0.0.5:80 2=10.0.0.6:80")
        #expect(forecast.isEmpty && forecast.status == 0)
        #expect(forecast.text(RegistryFixture.keyspace).hasPrefix("Nothing to do"))
    }

    @Test func `endpoints that change are commands`() {
        let forecast = forecast("web: 1=10.0.0.5:80*50 2=10.0.0.6:80")
        #expect(forecast.change.commands == [.weight(server("web/1"), 50)] && forecast.change.load == nil)
        #expect(forecast.status == 2)
        #expect(
            forecast.text(RegistryFixture.keyspace) == "HAProxy would be told:\n  set server web/1 weight 50\n")
    }

    @Test func `services that change are a reload, and what needs none comes before it`() {
        let forecast = forecast("api: 1=10.0.0.7:81", "web: 1=10.0.0.5:80*50 2=10.0.0.6:80")
        #expect(forecast.change.commands == [.weight(server("web/1"), 50)])
        #expect(forecast.change.load == .reload(.listenersChanged))
        #expect(forecast.text(RegistryFixture.keyspace).contains("HAProxy would be reloaded: services changed.\n"))
    }

    @Test(arguments: [
        (KnownState.notRunning, "HAProxy would be started."),
        (.unknown(.unknownState), "HAProxy would be reloaded: what runs is not known."),
    ])
    func `without an HAProxy that is known there is a start or a reload`(running: KnownState, words: String) {
        let next = PlanFixture(["web: 1=10.0.0.5:80"]).configuration
        let forecast = ReconcilePlan(from: running, to: next, claims: [], problems: [])
        #expect(forecast.change.commands.isEmpty && forecast.status == 2)
        #expect(forecast.text(RegistryFixture.keyspace) == words + "\n")
    }

    @Test func `claims, refusals and problems are told`() {
        var forecast = forecast(
            "web: 1=10.0.0.5:80 2=10.0.0.6:80",
            claims: [
                .put(service("api"), PortClaim(port(19000), for: port(80)), replacing: nil),
                .delete(service("old"), revision: 3),
            ])
        forecast.refusal = "service web: no"
        forecast.problems = [.portOfStats(service("x"), port(1936))]
        let text = forecast.text(RegistryFixture.keyspace)
        #expect(text.contains(#"  put /backends-ports/api {"instead_of":80,"port":19000}"#))
        #expect(text.contains("  delete /backends-ports/old\n"))
        #expect(text.contains("HAProxy refuses this file: service web: no\n"))
        #expect(text.contains("  x: port 1936 is the stats page's\n"))
        #expect(forecast.status == 2)
    }
}
