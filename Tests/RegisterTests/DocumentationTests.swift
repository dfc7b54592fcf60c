import Shared
import TestSupport
import Testing

@testable import Register

@Suite("docker-register's documentation")
struct RegisterDocumentationTests {
    @Test func `the documented table of settings is the code's`() throws {
        let table = RegisterSettings.options.markdownTable.split(separator: "\n").map(String.init)
        #expect(try Documentation("docs/settings.md").table(below: "## docker-register") == table)
    }

    @Test func `the documented table of commands is the code's`() throws {
        let table = RegisterSettings.options.markdownCommands.split(separator: "\n").map(String.init)
        #expect(try Documentation("docs/status.md").table(below: "### Commands of docker-register") == table)
    }

    @Test func `docs/status.md has each field that the JSON has`() throws {
        let documented = try Documentation("docs/status.md").section("### JSON of docker-register")
        for field in Self.fields { #expect(documented.contains("`\(field)`"), "\(field) is not documented") }
    }

    /// The fields of a report in which every field has a value.
    private static var fields: Set<String> {
        let trouble = ErrorRecord(time: "", error: "")
        let label = ContainerReport.Label(
            name: "", value: "", source: "", counts: "", decides: "", problem: "")
        let port = ContainerReport.Port(port: 1, published: [], services: [], reasons: [])
        let entry = ContainerReport.Entry(
            port: 1, service: "", state: .differs, key: "", endpoint: "", meta: "", foundEndpoint: "", foundMeta: "",
            revision: 1, since: "")
        let parts: [Any] = [
            StatusReport.Agent(
                version: "", running: true, process: 1, started: "", standsByFor: "", owner: "", host: "", address: ""),
            StatusReport.Engine(address: "", api: "", lost: trouble),
            StatusReport.Store(members: [], prefix: "", lease: nil, lost: trouble, lastError: trouble),
            StatusReport.Lease(id: "", ttl: 1), trouble, label, port, entry,
        ]
        let names = parts.flatMap { Mirror(reflecting: $0).children.compactMap(\.label) }
        return Set(names).union(["agent", "engine", "etcd", "containers", "leftovers"])
            .union(["labels", "ports", "entries", "reasons", "warnings", "image", "id", "health"])
    }

    @Test func `the help tells every setting with its variable and default`() {
        let options = RegisterSettings.options
        for command in options.commands { #expect(options.help.contains("  \(command.usage)\n")) }
        #expect(options.help.contains("at most 1h; 30s by default\n"))
        for setting in options.settings {
            #expect(options.help.contains(setting.flag), "\(setting.flag)")
            #expect(options.help.contains(setting.variable), "\(setting.variable)")
            if let fallback = setting.fallback { #expect(options.help.contains("[\(fallback)]"), "\(setting.flag)") }
        }
    }

    @Test func `the documented table of labels is the code's`() throws {
        let table = LabelDefinition.markdownTable.split(separator: "\n").map(String.init)
        #expect(try Documentation("docs/labels.md").table(below: "## All labels") == table)
    }

    @Test func `the labels that the README begins with exist`() throws {
        let rows = try Documentation("README.md").table(below: "## Labels").dropFirst(2)
        #expect(rows.count == 6)
        for row in rows {
            let cell = row.split(separator: "|").first.map(String.init) ?? ""
            #expect(LabelDefinition.all.contains { cell == " `\(Labels.prefix)\($0.name)` " }, "\(cell)")
        }
    }
}
