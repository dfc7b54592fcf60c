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
        for field in Self.fields { #expect(documented.contains("`\(field)`"), "\(field) is not documented") }
    }

    /// The fields of a report in which every kind of object is.
    private static var fields: Set<String> {
        let trouble = ErrorRecord(time: "", error: "")
        var fixture = SnapshotFixture(["web/1": "10.0.0.5:80", "old/1/meta": #"{"withdrawn":"x","container":"y"}"#])
        fixture.runs()
        let report = fixture.report
        let hold = EndpointReport.Held(since: "", until: "", because: "")
        let claim = ServiceReport.Claim(port: 1, wish: 1, revision: 1)
        let reload = ReloadHistory.Reload(time: "", reason: "")
        let parts: [Any] = [
            report, report.agent, report.etcd, report.haproxy, report.services[0], report.services[0].endpoints[0],
            report.withdrawn[0], DiagnosticReport(of: "", problem: "", severe: true), WhyReport("web", in: report),
            hold,
            claim, reload, trouble, EndpointReport.Server(status: "", age: 0, lastCheck: nil, connections: 0),
        ]
        return Set(parts.flatMap { Mirror(reflecting: $0).children.compactMap(\.label) })
    }
}
