import Shared
import Testing

@testable import Discover

@Suite("Routes of labels without endpoints")
struct FormerRoutesTests {
    private let asking = RegistryFixture([
        "web/1": "10.0.0.1:80", "web/1/meta": #"{"route":"a.com"}"#, "api/1": "10.0.0.1:81",
    ])
    private let gone = RegistryFixture(["api/1": "10.0.0.1:81"])

    /// What is decided with the routes of before, and the routes of then.
    private func decide(_ fixture: RegistryFixture, _ former: inout FormerRoutes, at now: ContinuousClock.Instant)
        -> DesiredState
    {
        let desired = DesiredState(
            DesiredInputs(registry: fixture.state, formerRoutes: former.routes, host: .routing))
        former.update(desired.routeInputs?.labels ?? [:], of: desired.services, at: now)
        return desired
    }

    @Test func `they lead to an empty service for a day, or until the service says something else`() {
        let begin = ContinuousClock.now
        var former = FormerRoutes()
        _ = decide(asking, &former, at: begin)
        #expect(former.routes.isEmpty)
        _ = decide(gone, &former, at: begin)
        let later = decide(gone, &former, at: begin + .seconds(3600))
        #expect(later.routes?.lookup(host: "a.com", path: "/")?.record[.to] == "web")
        #expect(later.listeners.map(\.service.text) == ["api", "web"] && later.listeners.last?.servers == [])
        let isEarly = former.expire(at: begin + FormerRoutes.retention - .seconds(1))
        #expect(!isEarly)
        var other = former
        _ = decide(RegistryFixture(["web/2": "10.0.0.2:80"]), &other, at: begin + .seconds(7200))
        #expect(other.routes.isEmpty)
        let isOver = former.expire(at: begin + FormerRoutes.retention)
        #expect(isOver && former.routes.isEmpty)
    }
}
