import Shared
import Testing

@testable import Discover

@Suite("Update")
struct UpdateTests {
    typealias Keys = KeyValuePairs<String, String>

    static let base: Keys = ["web/1": "10.0.0.5:80", "api/1": "10.0.0.5:81"]
    static let cases: [(from: Keys, to: Keys, expected: Update)] = [
        (base, base, .none),
        (base, ["api/1": "10.0.0.5:81", "web/1": "10.0.0.5:80"], .none),
        (base, ["web/1": "10.0.0.5:80", "api/1": "10.0.0.6:81"], .reload(.endpointsChanged)),
        (base, ["web/1": "10.0.0.5:80", "api/1": "10.0.0.5:81", "api/2": "10.0.0.6:81"], .reload(.endpointsChanged)),
        (base, ["web/1": "10.0.0.5:80"], .reload(.listenersChanged)),
        (base, [:], .reload(.listenersChanged)),
        (["web/1": "10.0.0.5:80"], ["web/1": "10.0.0.5:81"], .reload(.listenersChanged)),
    ]

    private func rendered(_ keys: Keys, _ settings: HAProxySettings = .sample) -> RenderedPlan {
        let plan = RegistryFixture(keys).plan
        return RenderedPlan(configuration: HAProxyConfiguration(plan, settings), plan: plan)
    }

    @Test(arguments: cases)
    func `what differs decides`(from: Keys, to: Keys, expected: Update) {
        #expect(Update(from: .confirmed(rendered(from)), to: rendered(to)) == expected)
    }

    @Test func `nothing runs, so it starts; what is unknown is loaded anew`() {
        #expect(Update(from: .nothing, to: rendered(Self.base)) == .start)
        #expect(Update(from: .unknown, to: rendered(Self.base)) == .reload(.unknownState))
    }

    @Test func `a file of an earlier run needs no reload where it is the same`() {
        let next = rendered(Self.base)
        let earlier = RenderedPlan(configuration: next.configuration, plan: nil)
        #expect(Update(from: .confirmed(earlier), to: next) == .none)
        #expect(Update(from: .confirmed(earlier), to: rendered([:])) == .reload(.unknownState))
    }

    @Test func `other settings need a reload`() {
        var settings = HAProxySettings.sample
        settings.hardStopAfter = .seconds(60)
        let update = Update(from: .confirmed(rendered(Self.base)), to: rendered(Self.base, settings))
        #expect(update == .reload(.settingsChanged))
    }
}
