import Shared
import Testing

@testable import Discover

@Suite("RejectedServices")
struct RejectedServicesTests {
    private static let start = ContinuousClock.now

    private let plan = PlanFixture([
        "api: 1=10.0.0.1:81", "db: 1=10.0.0.2:82 2=10.0.0.3:82", "web: 1=10.0.0.4:83",
    ]).plan

    private var configuration: HAProxyConfiguration { HAProxyConfiguration(plan, .sample) }

    private func listener(_ name: String, in plan: DesiredState) -> DesiredState.Listener? {
        plan.listeners.first { $0.service.text == name }
    }

    private func patient(_ name: String, _ form: RejectedServices.Fallback) throws -> RejectedServices.RejectedService {
        RejectedServices.RejectedService(refused: try #require(listener(name, in: plan)), form: form, words: "no")
    }

    private func names(_ plan: DesiredState) -> [String] { plan.listeners.map(\.service.text) }

    @Test func `a section is found again in the file`() throws {
        let section = try #require(configuration.section(of: service("db")))
        #expect(section.head == "listen db\n    description port 82\n    bind :82\n")
        #expect(section.bind == BindAddress(port: port(82)))
        #expect(section.servers == configuration.sections[service("db")])
        #expect(configuration.section(of: service("none")) == nil)
        #expect(configuration.section(of: service("d")) == nil)
    }

    @Test func `a service that is refused is left out alone, with its problem, until it changes`() throws {
        var quarantine = RejectedServices()
        #expect(quarantine.treating(plan) == plan)
        quarantine.admit([try patient("db", .out)], at: Self.start)
        let treated = quarantine.treating(plan)
        #expect(names(treated) == ["api", "web"])
        #expect(treated.problems == [.refusedByHAProxy(service("db"), words: "no", isServed: false)])
        let isCured = quarantine.discharge(treated)
        #expect(!isCured)
        // Another server: it is tried, and told of until HAProxy has taken it.
        let changed = PlanFixture(["db: 1=10.0.0.2:82", "web: 1=10.0.0.4:83"]).plan
        #expect(names(quarantine.treating(changed)) == ["db", "web"])
        #expect(quarantine.treating(changed).problems.count == 1)
        let isCuredNow = quarantine.discharge(quarantine.treating(changed))
        #expect(isCuredNow && quarantine.treating(changed).problems.isEmpty && quarantine.due == nil)
    }

    @Test func `an accepted head stands in while servers come and go, until what it says changes`() throws {
        var quarantine = RejectedServices()
        let section = try #require(configuration.section(of: service("db")))
        let written = AcceptedSection(
            head: section.head.replacing("port 82", with: "port 9"), bind: BindAddress(port: port(9)),
            servers: section.servers)
        quarantine.admit([try patient("db", .head(written))], at: Self.start)
        let changed = PlanFixture(["db@82: 1=10.0.0.2:82 7=10.0.0.7:82", "web: 1=10.0.0.4:83"]).plan
        let treated = quarantine.treating(changed)
        #expect(treated.problems == [.refusedByHAProxy(service("db"), words: "no", isServed: true)])
        #expect(treated.binds.map(\.description).sorted() == [":83", ":9"])
        let text = HAProxyConfiguration(treated, .sample).text
        #expect(text.contains("listen db\n    description port 9\n    bind :82\n    default-server check "))
        #expect(text.contains("    server 1 10.0.0.2:82 ") && text.contains("    server 7 10.0.0.7:82 "))
        let moved = PlanFixture(["db@84: 1=10.0.0.2:82"]).plan
        #expect(quarantine.treating(moved).listeners == moved.listeners)
    }

    @Test func `an accepted section stands in with the servers that are still there, or not at all`() throws {
        var quarantine = RejectedServices()
        let section = try #require(configuration.section(of: service("db")))
        let sick = PlanFixture(["db@82: 1=10.0.0.2:82 2=10.0.0.9:82 3=10.0.0.8:82", "web: 1=10.0.0.4:83"]).plan
        let refused = try #require(listener("db", in: sick))
        quarantine.admit(
            [RejectedServices.RejectedService(refused: refused, form: .whole(section), words: "no")], at: Self.start)
        let text = HAProxyConfiguration(quarantine.treating(sick), .sample).text
        #expect(text.contains("server 1 10.0.0.2:82 "))
        #expect(!text.contains("server 2 ") && !text.contains("server 3 "))
        // Another service has the place by now.
        let taken = PlanFixture(["db@82: 1=10.0.0.2:82 2=10.0.0.9:82 3=10.0.0.8:82", "web@82: 1=10.0.0.4:83"]).plan
        #expect(names(quarantine.treating(taken)) == ["web"])
        #expect(
            quarantine.treating(taken).problems
                == [.refusedByHAProxy(service("db"), words: "no", isServed: false)])
    }

    @Test func `what stands in for a service does not discharge it, whatever its form`() throws {
        let section = try #require(configuration.section(of: service("db")))
        for form in [RejectedServices.Fallback.head(section), .whole(section), .out] {
            var quarantine = RejectedServices()
            quarantine.admit([try patient("db", form)], at: Self.start)
            let treated = quarantine.treating(plan)
            #expect(treated.listeners != plan.listeners)
            #expect(names(treated).contains("db") == (form != .out))
            let isCured = quarantine.discharge(treated)
            #expect(!isCured, "\(form)")
            #expect(quarantine.treating(plan) == treated, "\(form)")
            #expect(quarantine.due == Self.start + RejectedServices.retryInterval, "\(form)")
        }
    }

    @Test func `from time to time one is tried anew, and what is in no plan is forgotten`() throws {
        var quarantine = RejectedServices()
        quarantine.admit([try patient("db", .out)], at: Self.start)
        #expect(quarantine.due == Self.start + RejectedServices.retryInterval)
        let early = quarantine.wake(at: Self.start + .seconds(1))
        let late = quarantine.wake(at: Self.start + RejectedServices.retryInterval)
        #expect(!early && late && quarantine.due == nil)
        #expect(names(quarantine.treating(plan)) == ["api", "db", "web"])
        #expect(quarantine.treating(plan).problems.count == 1)
        quarantine.forget(besides: PlanFixture(["web: 1=10.0.0.4:83"]).plan)
        #expect(quarantine.treating(plan).problems.isEmpty)
    }
}
