import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("docker-discover's documentation")
struct DiscoverDocumentationTests {
    private let options = DiscoverSettings.options

    @Test func `the documented table of settings is the code's`() throws {
        let table = options.markdownTable.split(separator: "\n").map(String.init)
        #expect(try Documentation("docs/settings.md").table(below: "## docker-discover") == table)
    }

    @Test func `the help tells every setting with its variable and default`() {
        for command in options.commands { #expect(options.help.contains("  \(command.usage)\n")) }
        for setting in options.settings {
            #expect(options.help.contains(setting.flag), "\(setting.flag)")
            #expect(options.help.contains(setting.variable), "\(setting.variable)")
            if let fallback = setting.fallback { #expect(options.help.contains("[\(fallback)]"), "\(setting.flag)") }
        }
    }

    @Test func `the documented table of commands is the code's`() throws {
        let table = options.markdownCommands.split(separator: "\n").map(String.init)
        #expect(try Documentation("docs/status.md").table(below: "### Commands of docker-discover") == table)
    }

    @Test func `docs/status.md has each field that the JSON has`() throws {
        let documented = try Documentation("docs/status.md").section("### JSON of docker-discover")
        let report = try Self.fullReport()
        for fields in [Fields(of: report), Fields(of: WhyReport("web", in: report))] {
            #expect(fields.empty == [], "give them values here")
            for field in fields.names { #expect(documented.contains("`\(field)`"), "\(field) is not documented") }
        }
    }

    /// A report in which every field has a value.
    private static func fullReport() throws -> StatusReport {
        let trouble = ErrorRecord(time: "", error: "")
        let problem = DiagnosticReport(of: "", problem: "", severe: true)
        var fixture = SnapshotFixture([
            "web/1": "10.0.0.5:80",
            "web/1/meta": #"{"owner":"o","host":"h","container":"c","image":"i","created":"t","zone":"z"}"#,
            "old/1/meta": #"{"withdrawn":"x","container":"web","at":"t"}"#,
        ])
        fixture.runs()
        var report = fixture.report
        report.agent.zone = ""
        (report.etcd.copy, report.etcd.behindSince, report.etcd.lastAnswer, report.etcd.age) = (true, "", "", 1)
        (report.etcd.lost, report.etcd.lastError) = (trouble, trouble)
        (report.haproxy.silence, report.haproxy.none) = ("", true)
        report.outputs = [
            OutputStatus(
                file: "web", current: true, written: "", reloaded: "", failure: trouble, problems: [""])
        ]
        report.haproxy.lastReload = ReloadHistory.Reload(time: "", reason: "")
        (report.haproxy.failure, report.haproxy.lastError) = (trouble, trouble)
        (report.problems, report.empty) = ([problem], [""])
        var routing = RoutingReport.sample
        routing?.http = ""
        routing?.https = ""
        routing?.certificates = [.init(name: "", expires: "")]
        routing?.routes[0].label = true
        routing?.routes[0].when = [""]
        routing?.routes[0].reasons = [""]
        report.routing = routing
        report.services[0].claim = ServiceReport.Claim(port: 1, wish: 1, revision: 1)
        report.services[0].problems = [problem]
        var endpoint = report.services[0].endpoints[0]
        (endpoint.reasons, endpoint.weight, endpoint.backup, endpoint.lease) = ([""], 1, true, "")
        endpoint.held = EndpointReport.Held(since: "", until: "", because: "")
        report.services[0].endpoints = [endpoint]
        return report
    }
}

extension RoutingReport {
    /// One with a route.
    fileprivate static var sample: RoutingReport? {
        var fixture = SnapshotFixture(["-routes/a": #"{"host":"a","to":"web"}"#])
        fixture.snapshot.inputs?.host = .routing
        return fixture.report.routing
    }
}
