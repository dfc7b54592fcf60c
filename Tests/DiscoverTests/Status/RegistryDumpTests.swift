import FoundationEssentials
import Shared
import Testing

@testable import Discover

@Suite("A registry in a file")
struct RegistryDumpTests {
    private func dump(_ text: String) throws -> RegistryDump {
        try RegistryDump(Array(text.utf8), RegistryFixture.keyspace)
    }

    private func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }

    private func mistakes(_ text: String) throws -> [String] { try dump(text).mistakes.map(\.description) }

    @Test func `what etcdctl prints is the registry with its revisions, leases and claims`() throws {
        let text = """
            {"header":{"cluster_id":14841639068965178418,"revision":9,"raft_term":2},"kvs":[
            {"key":"\(base64("/backends-consumers/x"))","create_revision":1,"mod_revision":1,"version":1,"value":"e30="},
            {"key":"\(base64("/backends-ports/web"))","create_revision":7,"mod_revision":8,"version":1,\
            "value":"\(base64(#"{"port":19000,"instead_of":80}"#))"},
            {"key":"\(base64("/backends/web/1"))","create_revision":3,"mod_revision":5,"version":2,\
            "value":"\(base64("10.0.0.5:80"))","lease":7587883212297104653},
            {"key":"\(base64("/backends/web/2"))","create_revision":"4","mod_revision":"4","value":"\(base64("10.0.0.6:80"))"}
            ],"count":4}
            """
        let dump = try dump(text)
        #expect(dump.mistakes.isEmpty && dump.keyValues.count == 3)
        let catalog = Catalog(dump.state)
        #expect(catalog.services.map(\.instances.count) == [2])
        #expect(catalog.services.first?.instances.map(\.createRevision) == [3, 4])
        #expect(catalog.claims[service("web")]?.revision == 8)
        #expect(dump.keyValues.contains { $0.lease == 7_587_883_212_297_104_653 && $0.modRevision == 5 })
    }

    @Test func `one object of keys and values is a registry whose first key is the oldest`() throws {
        let dump = try dump(#"{"/backends/b/1": "10.0.0.5:80", "/backends/a/1": "10.0.0.6:80"}"#)
        #expect(dump.mistakes.isEmpty)
        let plan = DesiredState(DesiredInputs(registry: dump.state, host: HAProxySettings.sample.host))
        #expect(plan.listeners.map(\.service.text) == ["b"])
    }

    @Test func `ports that would be claimed are as if they were`() throws {
        let dump = try dump(#"{"/backends/b/1": "10.0.0.5:80", "/backends/a/1": "10.0.0.6:80"}"#)
        let host = HAProxySettings.sample.host
        let settled = dump.settled { DesiredState(DesiredInputs(registry: $0, host: host)).claims }
        let plan = DesiredState(DesiredInputs(registry: settled, host: host))
        #expect(plan.listeners.map(\.service.text) == ["a", "b"] && plan.claims.isEmpty)
        #expect(plan.listeners.first.map { host.portRange.ports.contains($0.port.number) } == true)
    }

    @Test(arguments: [
        ("[]", "1:1: not an object of keys, or what etcdctl get -w json prints"),
        ("{\n 'x'}", "2:2: expected a field's name in double quotes"),
        ("", "1:1: expected a value, but here the file ends"),
    ])
    func `what is no registry is refused with its place`(text: String, mistake: String) {
        #expect {
            _ = try dump(text)
        } throws: { error in
            "\(error)" == mistake
        }
    }

    @Test func `every mistake is named with its place`() throws {
        #expect(try mistakes("{}") == ["1:1: no key is below /backends/"])
        #expect(
            try mistakes(#"{"/backends/a/1": 7, "/other": "x", "/backends/a/2": "y", "/backends/a/2": "z"}"#) == [
                "1:19: /backends/a/1: the value has to be a text, as etcd has it",
                "1:22: /other: the key is not below /backends/",
                "1:59: /backends/a/2: duplicate key",
            ])
        #expect(try mistakes(#"{"kvs": 3}"#) == ["1:9: kvs: not a list"])
        #expect(
            try mistakes(#"{"kvs": [3, {}, {"key":"%"}, {"key":"L2JhY2tlbmRzL3g=","value":"%"}]}"#) == [
                "1:10: kvs[0]: not an object", "1:13: kvs[1].key: is missing", #"1:24: kvs[2].key: "%" is not base64"#,
                #"1:64: kvs[3].value: "%" is not base64"#,
            ])
    }

    @Test func `a problem of the registry is found again in the file`() throws {
        let dump = try dump("{\n  \"/backends/web/1\": \"nonsense\"\n}")
        let problem = try #require(Catalog(dump.state).problems.first)
        #expect(dump.place(of: problem) == LocatedJSON.Location(line: 2, column: 3))
    }

    @Test func `golden registries give the golden files`() throws {
        for each in GoldenCase.all {
            let members = each.keys.map { key, value in
                let place = key.hasPrefix("-ports/") || key.hasPrefix("-routes/") ? "/backends" : "/backends/"
                return (place + key, value)
            }
            let encoder = JSONEncoder()
            let lines = try members.map { key, value in
                "\(String(decoding: try encoder.encode(key), as: UTF8.self)): "
                    + String(decoding: try encoder.encode(value), as: UTF8.self)
            }
            let dump = try dump("{\(lines.joined(separator: ",\n"))}")
            var inputs = DesiredInputs(
                registry: dump.state, certificates: each.certificates, host: each.settings.host)
            inputs.ports.ownAddresses = each.ownAddresses
            let plan = DesiredState(inputs)
            #expect(HAProxyConfiguration(plan, each.settings) == each.configuration, "\(each.name)")
        }
    }

    /// Each claim was looked for among all keys, so a file of 200 000 services did not end.
    @Test(.timeLimit(.minutes(1)))
    func `very many services that ask for few ports are settled in time`() throws {
        let count = 6000
        let keys = (0..<count).map { #""/backends/s\#($0)/1": "10.0.0.5:\#(80 + $0 % 2)""# }
        let dump = try dump("{\(keys.joined(separator: ","))}")
        var host = HAProxySettings.sample.host
        host.portRange = try #require(PortRange("1000-60000"))
        let begin = ContinuousClock.now
        let state = dump.settled { DesiredState(DesiredInputs(registry: $0, host: host)).claims }
        let settled = DesiredState(DesiredInputs(registry: state, host: host))
        #expect(settled.listeners.count == count && settled.claims.isEmpty)
        let took = begin.duration(to: .now)
        #expect(took < .seconds(20), "\(took)")
    }
}
