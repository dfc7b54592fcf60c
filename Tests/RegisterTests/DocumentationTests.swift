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
        let fields = Fields(of: try Self.fullReport())
        #expect(fields.empty == [], "give them values here")
        for field in fields.names { #expect(documented.contains("`\(field)`"), "\(field) is not documented") }
    }

    /// A report in which every field has a value.
    private static func fullReport() throws -> StatusReport {
        let trouble = ErrorRecord(time: "", error: "")
        let address = try #require(IPAddress("10.0.0.1"))
        let id = try #require(InstanceID("aaaaaaaaaaaa"))
        let keyspace = try #require(Keyspace(prefix: "/backends"))
        var snapshot = Snapshot(
            agent: Snapshot.Agent(process: 7, started: ""),
            owner: Owner(Docker.Identity(id: "E1", name: "host1"), address),
            engine: Snapshot.Engine(address: "", api: "", trouble: trouble),
            store: Snapshot.Store(
                members: [""], keyspace: keyspace, lease: Etcd.Lease(id: 1, ttl: 15), trouble: trouble,
                lastTrouble: trouble), leader: "")
        snapshot.addressWarning = ""
        let idle = Docker.StoppedContainer(
            subject: Docker.ContainerRef(id: id, name: "", image: "", state: "exited"),
            reason: .notRunning(state: "exited"))
        let entry = ContainerReport.Entry(
            port: 1, service: "", state: .differs, key: "", endpoint: "", meta: "", reason: "", foundEndpoint: "",
            foundMeta: "", revision: 1, since: "")
        var container = ContainerReport(ContainerDecision(on: idle), snapshot)
        container.health = ""
        container.labels = [.init(name: "", value: "", source: "", counts: "", decides: "", problem: "")]
        container.ports = [.init(port: 1, published: [""], services: [""], reasons: [""])]
        container.entries = [entry]
        container.reasons = [""]
        container.warnings = [""]
        var report = StatusReport(snapshot)
        report.containers = [container]
        report.services = [entry]
        report.leftovers = [""]
        return report
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
