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

    private func rejected(
        _ name: String, _ fallback: RejectedServices.Fallback
    ) throws -> RejectedServices.RejectedService {
        RejectedServices.RejectedService(
            listener: try #require(listener(name, in: plan)), fallback: fallback, error: "no")
    }

    /// A plan with what stands in for rejected services.
    private func applied(_ rejected: RejectedServices, to plan: DesiredState) -> Applied {
        var diagnostics: Set<Diagnostic> = []
        let listeners = rejected.applied(to: plan.listeners, &diagnostics)
        return Applied(plan: plan.with(listeners), problems: diagnostics)
    }

    private struct Applied {
        let plan: DesiredState
        let problems: Set<Diagnostic>
        var listeners: [DesiredState.Listener] { plan.listeners }
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
        var rejected = RejectedServices()
        #expect(applied(rejected, to: plan).plan == plan)
        rejected.add([try self.rejected("db", .leftOut)], at: Self.start)
        let treated = applied(rejected, to: plan)
        #expect(names(treated.plan) == ["api", "web"])
        #expect(treated.problems == [.refusedByHAProxy(service("db"), words: "no", isServed: false)])
        let isCured = rejected.release(treated.plan)
        #expect(!isCured)
        // Another server: it is tried, and told of until HAProxy has taken it.
        let changed = PlanFixture(["db: 1=10.0.0.2:82", "web: 1=10.0.0.4:83"]).plan
        #expect(names(applied(rejected, to: changed).plan) == ["db", "web"])
        #expect(applied(rejected, to: changed).problems.count == 1)
        let isCuredNow = rejected.release(applied(rejected, to: changed).plan)
        #expect(isCuredNow && applied(rejected, to: changed).problems.isEmpty && rejected.due == nil)
    }

    @Test func `an accepted head stands in while servers come and go, until what it says changes`() throws {
        var rejected = RejectedServices()
        let section = try #require(configuration.section(of: service("db")))
        let written = AcceptedSection(
            head: section.head.replacing("port 82", with: "port 9"), binds: [BindAddress(port: port(9))],
            servers: section.servers)
        rejected.add([try self.rejected("db", .accepted(written, rejecting: []))], at: Self.start)
        let changed = PlanFixture(["db@82: 1=10.0.0.2:82 7=10.0.0.7:82", "web: 1=10.0.0.4:83"]).plan
        let treated = applied(rejected, to: changed)
        #expect(treated.problems == [.refusedByHAProxy(service("db"), words: "no", isServed: true)])
        #expect(treated.plan.binds.map(\.description).sorted() == [":83", ":9"])
        let text = HAProxyConfiguration(treated.plan, .sample).text
        #expect(text.contains("listen db\n    description port 9\n    bind :82\n    default-server check "))
        #expect(text.contains("    server 1 10.0.0.2:82 ") && text.contains("    server 7 10.0.0.7:82 "))
        let moved = PlanFixture(["db@84: 1=10.0.0.2:82"]).plan
        #expect(applied(rejected, to: moved).listeners == moved.listeners)
    }

    @Test func `an accepted section stands in with the servers that are still there, or not at all`() throws {
        var rejected = RejectedServices()
        let section = try #require(configuration.section(of: service("db")))
        let sick = PlanFixture(["db@82: 1=10.0.0.2:82 2=10.0.0.9:82 3=10.0.0.8:82", "web: 1=10.0.0.4:83"]).plan
        let refused = try #require(listener("db", in: sick))
        rejected.add(
            [
                RejectedServices.RejectedService(
                    listener: refused, fallback: .accepted(section, rejecting: Set(["1", "2", "3"].map(instance))),
                    error: "no")
            ], at: Self.start)
        let text = HAProxyConfiguration(applied(rejected, to: sick).plan, .sample).text
        #expect(text.contains("server 1 10.0.0.2:82 "))
        #expect(!text.contains("server 2 ") && !text.contains("server 3 "))
        // One that came since is as it is; the accepted servers stay until one of them changes.
        let grown = PlanFixture(["db@82: 1=10.0.0.2:82 2=10.0.0.9:82 3=10.0.0.8:82 4=10.0.0.7:82*9"]).plan
        let lines = HAProxyConfiguration(applied(rejected, to: grown).plan, .sample).sections[service("db")]
        #expect(lines?.map { "\($0.id) \($0.weight)" } == ["1 100", "4 9"])
        let gone = PlanFixture(["db@82: 1=10.0.0.2:82 2=10.0.0.9:82"]).plan
        #expect(applied(rejected, to: gone).listeners == gone.listeners)
        // Another service has the place by now.
        let taken = PlanFixture(["db@82: 1=10.0.0.2:82 2=10.0.0.9:82 3=10.0.0.8:82", "web@82: 1=10.0.0.4:83"]).plan
        #expect(names(applied(rejected, to: taken).plan) == ["web"])
        #expect(
            applied(rejected, to: taken).problems
                == [.refusedByHAProxy(service("db"), words: "no", isServed: false)])
    }

    @Test func `what stands in for a service does not release it, whatever its form`() throws {
        let section = try #require(configuration.section(of: service("db")))
        let ids = Set(try #require(listener("db", in: plan)).servers.map(\.id))
        let fallbacks: [RejectedServices.Fallback] = [
            .accepted(section, rejecting: []), .accepted(section, rejecting: ids), .leftOut,
        ]
        for fallback in fallbacks {
            var rejected = RejectedServices()
            rejected.add([try self.rejected("db", fallback)], at: Self.start)
            let next = applied(rejected, to: plan)
            #expect(next.listeners != plan.listeners)
            #expect(names(next.plan).contains("db") == (fallback != .leftOut))
            let isReleased = rejected.release(next.plan)
            #expect(!isReleased, "\(fallback)")
            #expect(applied(rejected, to: plan).plan == next.plan, "\(fallback)")
            #expect(applied(rejected, to: plan).problems == next.problems, "\(fallback)")
            #expect(rejected.due == Self.start + RejectedServices.retryInterval, "\(fallback)")
        }
    }

    @Test func `from time to time one is tried anew, and what is in no plan is forgotten`() throws {
        var rejected = RejectedServices()
        rejected.add([try self.rejected("db", .leftOut)], at: Self.start)
        #expect(rejected.due == Self.start + RejectedServices.retryInterval)
        let early = rejected.retryDue(at: Self.start + .seconds(1))
        let late = rejected.retryDue(at: Self.start + RejectedServices.retryInterval)
        #expect(!early && late && rejected.due == nil)
        #expect(names(applied(rejected, to: plan).plan) == ["api", "db", "web"])
        // While it is tried, it is not served yet.
        #expect(
            applied(rejected, to: plan).problems
                == [.refusedByHAProxy(service("db"), words: "no", isServed: false)])
        rejected.evict(except: RegistryFixture(["web/1": "10.0.0.4:83"]).catalog.services)
        #expect(applied(rejected, to: plan).problems.isEmpty)
        rejected.add([try self.rejected("db", .leftOut)], at: Self.start)
        rejected.evict(except: RegistryFixture(["web/1": "10.0.0.4:83"]).catalog.services)
        #expect(rejected.due == nil)
    }

    @Test func `an accepted section stands in no longer than its options and its servers are what was rejected`() throws
    {
        var rejected = RejectedServices()
        let section = try #require(configuration.section(of: service("db")))
        rejected.add([try self.rejected("db", .accepted(section, rejecting: []))], at: Self.start)
        let other = DesiredState.Listener(
            service: service("db"), port: port(82),
            options: Interned(ListenerOptions(try options(#"{"balance":"first"}"#))),
            servers: try #require(listener("db", in: plan)).servers)
        #expect(applied(rejected, to: plan.with([other])).listeners == [other])
        // None of the servers was accepted: nothing can stand in.
        let moved = PlanFixture(["db@82: 1=10.0.0.8:82 2=10.0.0.9:82"]).plan
        let all = RejectedServices.Fallback.accepted(section, rejecting: [instance("1"), instance("2")])
        rejected.add(
            [RejectedServices.RejectedService(listener: moved.listeners[0], fallback: all, error: "no")],
            at: Self.start)
        #expect(applied(rejected, to: moved).listeners == [])
    }

    private func options(_ json: String) throws -> ServiceOptions {
        let said = RegistryFixture(["db/1": "10.0.0.2:82", "db/config": json]).catalog.services.first
        return try #require(said).config.options
    }
}
