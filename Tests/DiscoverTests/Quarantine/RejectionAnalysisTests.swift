import Shared
import Testing

@testable import Discover

@Suite("RejectionAnalysis")
struct RejectionAnalysisTests {
    /// How much a stubbed HAProxy says of what it refuses.
    enum Manner: CaseIterable {
        case line, name, nothing
    }

    /// An HAProxy that refuses some words in a file.
    private struct Stub {
        var refused: [String]
        var manner = Manner.line

        func errors(in plan: DesiredState) -> ConfigErrors? {
            let configuration = HAProxyConfiguration(plan, .sample)
            let lines = configuration.text.split(separator: "\n", omittingEmptySubsequences: false)
            var section = ""
            var alerts: [String] = []
            for (index, line) in lines.enumerated() {
                if line.hasPrefix("listen ") { section = String(line.dropFirst(7)) }
                guard refused.contains(where: line.contains) else { continue }
                switch manner {
                case .line: alerts.append("config : parsing [/d/haproxy.cfg.new:\(index + 1)] : bad line")
                case .name: alerts.append("config : proxy '\(section)' : bad in it")
                case .nothing: alerts = ["config : out of luck"]
                }
            }
            guard !alerts.isEmpty else { return nil }
            alerts = alerts.prefix(10) + ["config : Fatal errors found in configuration."]
            let refusal = HAProxyProgram.Rejection(lines: alerts.map { "[ALERT]    (1) : \($0)" })
            return ConfigErrors(refusal.alerts, of: configuration)
        }
    }

    private func plan(_ count: Int, moving: [Int: String] = [:]) -> DesiredState {
        PlanFixture((0..<count).map { "s\($0)@\(1_000 + $0): 1=\(moving[$0] ?? "10.0.0.1"):80 2=10.0.0.2:80" }).plan
    }

    @Test(arguments: Manner.allCases)
    func `one culprit among 500 services is found with few questions`(manner: Manner) async throws {
        let stub = Stub(refused: ["10.6.6.6"], manner: manner)
        var analysis = RejectionAnalysis(plan(500, moving: [321: "10.6.6.6"])) { stub.errors(in: $0) }
        let rejected = try #require(try await analysis.rejected { _ in nil })
        #expect(rejected.map(\.listener.service.text) == ["s321"])
        #expect(rejected.map(\.fallback) == [.leftOut])
        #expect(analysis.questions <= (manner == .line ? 4 : 14))
        switch manner {
        case .line: #expect(rejected[0].error.hasPrefix("bad line, in the line 'server 1 10.6.6.6:80 weight 100"))
        case .name: #expect(rejected[0].error == "config : proxy 's321' : bad in it")
        case .nothing: #expect(rejected[0].error == "config : out of luck")
        }
    }

    @Test func `more culprits than HAProxy tells at once are found`() async throws {
        let sick = Dictionary(uniqueKeysWithValues: (0..<25).map { ($0 * 7, "10.6.6.6") })
        let stub = Stub(refused: ["10.6.6.6"])
        var analysis = RejectionAnalysis(plan(200, moving: sick)) { stub.errors(in: $0) }
        let rejected = try await analysis.rejected { _ in nil }
        #expect(rejected?.count == 25)
        #expect(analysis.questions < 10)
    }

    @Test func `a service that was only named is not left out for one whose line is given afterwards`() async throws {
        let plan = PlanFixture(["a@1001: 1=10.6.6.6:80", "b@1002: 1=10.0.0.2:80"]).plan
        let (line, name) = (Stub(refused: ["10.6.6.6"]), Stub(refused: ["listen b"], manner: .name))
        var analysis = RejectionAnalysis(plan) { plan in line.errors(in: plan).map { name.errors(in: plan) ?? $0 } }
        let rejected = try #require(try await analysis.rejected { _ in nil })
        #expect(rejected.map(\.listener.service.text) == ["a"])
    }

    @Test func `what was accepted last stands in, as much of it as helps`() async throws {
        let before = HAProxyConfiguration(plan(3), .sample)
        let next = plan(3, moving: [0: "10.6.6.6"])
        // The servers are at fault: only the old ones help.
        let servers = Stub(refused: ["10.6.6.6"])
        var first = RejectionAnalysis(next) { servers.errors(in: $0) }
        let whole = try #require(try await first.rejected { before.section(of: $0) }).first
        let section = try #require(before.section(of: service("s0")))
        #expect(whole?.fallback == .accepted(section, rejecting: [instance("1"), instance("2")]))
        // The head is at fault: the servers of now go on.
        let moved = PlanFixture(["s0@6666: 1=10.0.0.7:80", "s1@1001: 1=10.0.0.1:80"]).plan
        let head = Stub(refused: ["6666"])
        var second = RejectionAnalysis(moved) { head.errors(in: $0) }
        let form = try #require(try await second.rejected { before.section(of: $0) }).first?.fallback
        #expect(form == .accepted(section, rejecting: []))
        // Nothing helps.
        let all = Stub(refused: ["listen s0"])
        var third = RejectionAnalysis(next) { all.errors(in: $0) }
        #expect(try await third.rejected { before.section(of: $0) }?.map(\.fallback) == [.leftOut])
    }

    @Test func `what is not about services, or is over, is nobody's fault`() async throws {
        let settings = Stub(refused: ["frontend -stats"])
        var first = RejectionAnalysis(plan(10)) { settings.errors(in: $0) }
        #expect(try await first.rejected { _ in nil } == nil)
        var second = RejectionAnalysis(plan(10)) { _ in nil }
        #expect(try await second.rejected { _ in nil } == nil)
        #expect(second.questions == 1)
        // Whatever is asked, the number of questions is bounded.
        var third = RejectionAnalysis(plan(500)) { plan in
            plan.listeners.isEmpty
                ? nil : ConfigErrors(["no"], of: .init(plan, .sample))
        }
        #expect(try await third.rejected { _ in nil } == nil)
        #expect(third.questions <= RejectionAnalysis.maxQuestions)
    }

    @Test(
        arguments: [
            ("config : parsing [/d/haproxy.cfg.new:34] : unknown keyword 'x' in 'listen' section", 34),
            ("parsing [/d/h.cfg:7]: 'compression' : 'deflate' is not supported", 7),
            ("config : [/tmp/l7.cfg:16] : 'server b/x' : 'layer7' can only be used in http proxies.", 16),
            ("config : Proxy 'web': unable to find required default_backend", nil),
            ("config : Fatal errors found in configuration.", nil), ("config : [] : x", nil), ("", nil),
        ] as [(String, Int?)])
    func `the line is read from an alert`(alert: String, line: Int?) {
        #expect(ConfigErrors.line(in: alert) == line)
        if line != nil { #expect(!ConfigErrors.withoutPlace(alert).contains("[")) }
    }

    @Test func `a line tells from which options it was made`() {
        let keys: KeyValuePairs = [
            "web/1": "10.0.0.5:80",
            "web/config": #"{"mode":"http","cookie":"SRV","timeout_server":"5s","check":"http:/","slow_start":"5s"}"#,
        ]
        let plan = RegistryFixture(keys).plan(on: HAProxySettings.sample.host)
        let configuration = HAProxyConfiguration(plan, .sample)
        let configured = configuration.configured[service("web")] ?? []
        func options(of beginning: String) -> [String]? {
            configured.first { $0.text.hasPrefix(beginning) }?.options
        }
        #expect(options(of: "cookie SRV insert") == ["cookie"])
        #expect(options(of: "timeout server 5s") == ["timeout_server"])
        #expect(options(of: "http-check send meth GET uri /")?.contains("check_method") == true)
        #expect(options(of: "description") == nil)
        // Each line that names options is in the file, as an alert would quote it.
        for line in configured { #expect(configuration.text.contains("\n    \(line.text)\n")) }
        #expect(
            ConfigLine.options(ofServerLine: "server 1 10.0.0.1:80 weight 100 slowstart 5s check") == ["slow_start"])
        for name in configured.flatMap(\.options) { #expect(ServiceOptions.field(name) != nil) }
    }
}
