import FoundationEssentials
import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("The outputs file")
struct OutputDefinitionTests {
    /// The mistakes in a text, as they are told.
    private func mistakes(_ text: String) -> [String] {
        do {
            _ = try OutputsFile.outputs(in: text.utf8)
            return []
        } catch {
            return error.all.map(\.description)
        }
    }

    @Test func `an output is what the file says, and what it leaves out has a default`() throws {
        let outputs = try OutputsFile.outputs(
            in: """
                {"outputs": [
                  {"file": "/etc/nginx/conf.d/s.conf", "render": ["jq", "-r", "-f", "/etc/n.jq"],
                   "services": ["web*"], "keys": ["/infrastructure/"], "check": ["nginx", "-t"],
                   "reload": ["systemctl", "reload", "nginx"], "mode": "0640", "wait": "50ms", "timeout": "3s"},
                  {"file": "/run/s/{service}.json", "format": "json"},
                  {"file": "/var/z", "format": "zone", "domain": "Svc.Example.com.", "ttl": 30}
                ]}
                """.utf8)
        #expect(outputs.count == 3)
        #expect(outputs[0].renderer == .program(["jq", "-r", "-f", "/etc/n.jq"]))
        #expect(outputs[0].keys == ["/infrastructure/"])
        #expect(outputs[0].check == ["nginx", "-t"] && outputs[0].reload == ["systemctl", "reload", "nginx"])
        #expect(outputs[0].mode == 0o640 && outputs[0].wait == .milliseconds(50) && outputs[0].timeout == .seconds(3))
        #expect(outputs[1].renderer == .format(.json) && outputs[1].isPerService)
        #expect(outputs[1].mode == 0o644 && outputs[1].wait == .milliseconds(100) && outputs[1].timeout == .seconds(10))
        let domain = try #require(DomainName("svc.example.com"))
        #expect(outputs[2].renderer == .format(.zone(ZoneFormat(domain: domain, ttl: 30))))
    }

    @Test func `all mistakes are told at once, each with its line and field`() {
        let found = mistakes(
            """
            {"outputs": [
              {"file": "relative", "format": "jsn"},
              {"file": "/a", "render": [], "mode": "999", "wait": "-1s"},
              {"file": "/b"},
              {"file": "/c", "format": "json", "render": ["jq"]},
              {"file": "/d", "format": "json", "domain": "x", "serivces": ["web"]},
              {"file": "/e", "format": "json", "services": ["we b"], "keys": ["infra"]},
              {"file": "/{service}/x", "format": "json"},
              {"file": "/x/{service}", "format": "env"},
              {"file": "/x/{service}.json", "format": "json", "check": ["true"]},
              {"file": "/g", "format": "json"}, {"file": "/g", "format": "env"}
            ]}
            """)
        let wanted = [
            "2:12: outputs[0].file: \"relative\" is not an absolute path",
            "2:34: outputs[0].format: \"jsn\" is not one of json, zone, hosts, env, prometheus",
            "3:28: outputs[1].render: a list is not a program with its arguments",
            "3:40: outputs[1].mode", "3:55: outputs[1].wait", "4:3: outputs[2]: needs render",
            "5:46: outputs[3].render: does not go together with format",
            "outputs[4].domain: is for zone and hosts",
            "outputs[4].serivces: there is no such field; did you mean services",
            "outputs[5].services[0]: \"we b\" is not a service's name",
            "outputs[5].keys[0]: \"infra\" is not the beginning",
            "outputs[6].file: {service} may stand in it once, in the last part", "outputs[7].file: {service} needs",
            "outputs[8].check: does not go together with {service}", "outputs[10]: writes the same file as outputs[9]",
        ]
        for text in wanted { #expect(found.contains { $0.contains(text) }, "\(text) in \(found)") }
        #expect(found.count == wanted.count, "\(found)")
    }

    @Test(arguments: [
        ("web", "web", true), ("web", "web1", false), ("web*", "web-1", true), ("web*", "aweb", false),
        ("*", "x", true), ("*-db", "a-db", true), ("*-db", "db", false), ("a*b*c", "axxbyc", true),
        ("a*b*c", "acb", false), ("ab*ba", "aba", false), ("a*a", "a", false),
    ])
    func `a star stands for any letters`(pattern: String, name: String, isMatch: Bool) throws {
        let (pattern, name) = (try #require(NamePattern(pattern)), try #require(ServiceName(name)))
        #expect(pattern.matches(name) == isMatch)
    }

    @Test func `a file that others may write is refused, with what to do`() throws {
        let scratch = try ScratchFolder()
        let path = scratch.path + "/outputs.json"
        try Data("{\"outputs\": []}".utf8).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o666], ofItemAtPath: path)
        let failure = #expect(throws: JSONFile.Failure.self) { try OutputsFile(path) }
        #expect(failure?.problems.first?.contains("chmod go-w \(path)") == true)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        #expect(try OutputsFile(path).outputs == [])
    }
}
