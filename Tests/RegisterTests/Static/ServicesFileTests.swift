// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import TestSupport
import Testing

@testable import Register

@Suite("Services file")
struct ServicesFileTests {
    private static let owner = Owner(Docker.Identity(id: "ENGINE", name: "db_1.example"), IPAddress("10.0.0.1")!)
    private static let keyspace = Keyspace(prefix: "/backends")!

    private func read(_ text: String) throws -> ServicesFile {
        try ServicesFile(text.utf8, keyspace: Self.keyspace)
    }

    private func mistakes(_ text: String) -> [String] {
        do {
            _ = try read(text)
            return []
        } catch {
            return (error as? Mistakes)?.all.map(\.description) ?? ["\(error)"]
        }
    }

    private func entries(_ services: String) throws -> [String: String] {
        let file = try read("{\"services\": [\(services)]}")
        return Dictionary(
            uniqueKeysWithValues: file.entries(by: Self.owner, zone: Zone("eu-1a")).values.map {
                (Self.keyspace.text(of: .entry($0.id.service, $0.id.id)), String(decoding: $0.value, as: UTF8.self))
            })
    }

    // MARK: Entries

    @Test func `name and port are enough, and the id is made of host, address and port`() throws {
        #expect(
            try entries(#"{"name": "db", "port": 5432}, {"name": "db", "port": 5432, "address": "fd00::7"}"#) == [
                "/backends/db/db_1.example-10.0.0.1-5432": "10.0.0.1:5432",
                "/backends/db/db_1.example-fd00--7-5432": "[fd00::7]:5432",
            ])
        #expect(
            try entries(#"{"name": "db", "port": "5432", "id": "main", "address": null}"#) == [
                "/backends/db/main": "10.0.0.1:5432"
            ])
        #expect(try entries("") == [:])
        #expect(try read("{}") == read(#"{"services": [], "keys": null, "constants": {}}"#))
    }

    @Test(arguments: [
        ("", "host"), ("-.-", "host"), ("a b/c", "a-b-c"), ("_x", "x"), ("h\u{e4}st", "h-st"),
        (String(repeating: "h", count: 100), String(repeating: "h", count: 64)),
    ])
    func `whatever the host is called, its word makes ids and keys that are right`(host: String, word: String) throws {
        let owner = Owner(Docker.Identity(id: "E", name: host), IPAddress("fd00:1111:2222:3333:4444:5555:6666:7777")!)
        #expect(owner.hostWord == word)
        let file = try read(
            #"{"services": [{"name": "db", "port": 65535}], "keys": [{"key": "/a/{host}", "value": ""}]}"#)
        #expect(file.entries(by: owner, zone: nil).count == 1)
        #expect(file.plainKeys(of: owner) == ["/a/\(word)": []])
    }

    @Test func `the meta has the options, the tags, the owner and the zone, and nothing of a container`() throws {
        let file = try read(
            """
            {"services": [{
                "name": "web", "port": 80, "listen_port": 8080, "mode": "http", "check": "http:/health", "weight": "50",
                "backup": true, "check_interval": "5s", "tags": ["a", "b,c"], "register_check": "tcp",
                "register_check_fall": 5
            }]}
            """)
        let registration = try #require(file.entries(by: Self.owner, zone: Zone("eu-1a")).values.first)
        let meta = try #require(Meta(json: registration.meta))
        #expect(meta.options.port == Port(8080))
        #expect(meta.options.mode == .http)
        #expect(meta.options.check == ServiceCheck("http:/health"))
        #expect(meta.options.weight == 50)
        #expect(meta.options.isBackup == true)
        #expect(meta.options.checkInterval == .seconds(5))
        #expect(meta.options.zone == Zone("eu-1a"))
        #expect(meta.tags == ["a", "b,c"])
        #expect(meta.owner == Self.owner.text)
        #expect(meta.host == "db_1.example")
        #expect(meta.container == nil && meta.image == nil && meta.created == nil && meta.problems.isEmpty)
        #expect(
            DesiredEntries(of: [], services: file.services, owner: Self.owner).gates[registration.id]?.check
                == CheckTarget(
                    life: "static", endpoint: registration.endpoint, RegistrationCheck(check: .tcp, fall: 5),
                    ServiceOptions()))
    }

    @Test func `every option and check that a label may say is a field`() throws {
        for field in ServiceOptions.fields {
            let name = field.name == "port" ? "listen_port" : field.name
            let known = mistakes("{\"services\": [{\"name\": \"a\", \"port\": 1, \"\(name)\": {}}]}")
            #expect(known.count == 1 && known[0].hasSuffix("an object is not \(field.grammar)"), "\(known)")
        }
        for label in LabelDefinition.checks {
            let name = label.name.lowercased()
            let known = mistakes("{\"services\": [{\"name\": \"a\", \"port\": 1, \"\(name)\": []}]}")
            #expect(known.count == 1 && known[0].hasSuffix("a list is not \(label.grammar)"), "\(known)")
        }
    }

    // MARK: Keys

    @Test func `keys and values have places for host, address and constants`() throws {
        let file = try read(
            """
            {"constants": {"role": "database", "n": 5, "open": "{host}"},
             "keys": [{"key": "/infrastructure/{role}/{host}/ip", "value": "{address}"},
                      {"key": "/x/{role}{n}", "value": "{\\"a\\": {\\"ip\\": \\"{address}\\"}, {}, {open} {a b} {"}]}
            """)
        #expect(
            file.plainKeys(of: Self.owner).mapValues { String(decoding: $0, as: UTF8.self) } == [
                "/infrastructure/database/db_1.example/ip": "10.0.0.1",
                "/x/database5": #"{"a": {"ip": "10.0.0.1"}, {}, {host} {a b} {"#,
            ])
    }

    // MARK: Mistakes

    @Test(arguments: [
        ("[]", "1:1: a list is not an object"),
        (#"{"services": {}}"#, "1:14: services: an object is not a list"),
        (#"{"servces": []}"#, "1:2: servces: there is no such field; did you mean services?"),
        (#"{"qqqqqqqqqqqqq": []}"#, "1:2: qqqqqqqqqqqqq: there is no such field"),
        (#"{"services": [7]}"#, "1:15: services[0]: 7 is not an object"),
        (#"{"services": [{"port": 1}]}"#, "1:15: services[0].name: has to be there: "),
        (#"{"services": [{"name": "a", "port": null}]}"#, "1:15: services[0].port: has to be there: a port"),
        (
            #"{"services": [{"name": "a", "port": 70000}]}"#,
            "1:37: services[0].port: 70000 is not a port from 1 to 65535"
        ),
        (#"{"services": [{"name": "a", "port": 80.0}]}"#, "1:37: services[0].port: 80.0 is not a port"),
        (#"{"services": [{"name": "a b", "port": 1}]}"#, #"1:24: services[0].name: "a b" is not letters"#),
        (#"{"services": [{"name": "a", "port": 1, "address": "host"}]}"#, #"1:51: services[0].address: "host" is not"#),
        (#"{"services": [{"name": "a", "port": 1, "address": "::1"}]}"#, #"1:51: services[0].address: "::1" is not"#),
        (#"{"services": [{"name": "a", "port": 1, "address": "0.0.0.0"}]}"#, "1:51: services[0].address: "),
        (
            #"{"services": [{"name": "a", "port": 1, "adress": "1.2.3.4"}]}"#,
            "1:40: services[0].adress: there is no such field; did you mean address?"
        ),
        (#"{"services": [{"name": "a", "port": 1, "id": "config"}]}"#, #"1:46: services[0].id: "config" is not"#),
        (#"{"services": [{"name": "a", "port": 1, "id": "0123456789ab"}]}"#, "1:46: services[0].id: "),
        (#"{"services": [{"name": "a", "port": 1, "weight": 257}]}"#, "1:50: services[0].weight: 257 is not a whole"),
        (#"{"services": [{"name": "a", "port": 1, "check": "htp"}]}"#, #"1:49: services[0].check: "htp" is not tcp, "#),
        (#"{"services": [{"name": "a", "port": 1, "tags": "x"}]}"#, #"1:48: services[0].tags: "x" is not a list"#),
        (
            #"{"services": [{"name": "a", "port": 1, "tags": ["x", ""]}]}"#,
            #"1:54: services[0].tags[1]: "" is not a word"#
        ),
        (#"{"services": [{"name": "a", "port": 1, "name": "b"}]}"#, "1:40: services[0].name: is there twice"),
        (
            #"{"services": [{"name": "a", "port": 1}, {"name": "a", "port": 1}]}"#,
            "1:41: services[1]: has the same service, address and port as services[0]"
        ),
        (
            #"{"services": [{"name": "a", "port": 1, "id": "x"}, {"name": "a", "port": 2, "id": "x"}]}"#,
            "1:52: services[1]: has the same service and id as services[0]"
        ),
        (#"{"keys": [{"key": "/a"}]}"#, "1:11: keys[0].value: has to be there"),
        (#"{"keys": [{"key": "a", "value": ""}]}"#, #"1:19: keys[0].key: "a" is not a key"#),
        (#"{"keys": [{"key": "/", "value": ""}]}"#, #"1:19: keys[0].key: "/" is not a key"#),
        (#"{"keys": [{"key": "/a//b", "value": ""}]}"#, #"1:19: keys[0].key: "/a//b" is not a key"#),
        (#"{"keys": [{"key": "/a b", "value": ""}]}"#, #"1:19: keys[0].key: "/a b" is not a key"#),
        (#"{"keys": [{"key": "/a/", "value": ""}]}"#, #"1:19: keys[0].key: "/a/" is not a key"#),
        (#"{"keys": [{"key": "/backends/a", "value": ""}]}"#, "1:19: keys[0].key: \"/backends/a\" must not begin with"),
        (#"{"keys": [{"key": "/backends", "value": ""}]}"#, "1:19: keys[0].key: \"/backends\" must not begin with"),
        (#"{"keys": [{"key": "/{host}/a", "value": ""}]}"#, "1:19: keys[0].key: \"/{host}/a\" may come to lie in"),
        (
            #"{"keys": [{"key": "/a", "value": "{hots}"}]}"#,
            "1:34: keys[0].value: {hots} is none of {host}, {address}; did you mean host?"
        ),
        (#"{"keys": [{"key": "/a", "value": {}}]}"#, "1:34: keys[0].value: an object is not a text"),
        (
            #"{"keys": [{"key": "/a", "value": 1}, {"key": "/a", "value": 2}]}"#,
            "1:46: keys[1].key: is the same key as keys[0].key"
        ),
        (#"{"constants": {"host": "x"}}"#, "1:24: constants.host: the name is not"),
        (#"{"constants": {"a b": "x"}}"#, "1:23: constants.a b: the name is not"),
        (#"{"constants": {"a": []}}"#, "1:21: constants.a: a list is not a text"),
        ("{\"services\": [\n  {\"name\": \"a\",}\n]}", "2:16: expected a field's name in double quotes"),
    ])
    func `a mistake is told with line, column, field and what would be right`(text: String, message: String) {
        let mistakes = mistakes(text)
        #expect(mistakes.count == 1, "\(mistakes)")
        #expect(mistakes.first?.hasPrefix(message) == true, "\(mistakes)")
    }

    @Test func `all mistakes are told together, in the order of the text`() {
        let mistakes = mistakes(
            """
            {
              "keys": [{"key": "a", "value": "{nobody}"}],
              "services": [
                {"name": "db", "port": 0, "weigth": 5},
                {"name": "a b"}
              ]
            }
            """)
        #expect(
            mistakes.map { $0.split(separator: " ").prefix(2).joined(separator: " ") } == [
                "2:34: keys[0].value:", "4:28: services[0].port:", "4:31: services[0].weigth:",
                "5:5: services[1].port:", "5:14: services[1].name:",
            ])
    }

    @Test func `what is too much is refused`() {
        let many = Array(repeating: #"{"key": "/a", "value": ""}"#, count: 1001).joined(separator: ",")
        #expect(mistakes("{\"keys\": [\(many)]}").contains { $0.hasSuffix("keys: has more than 1000 elements") })
        let long = String(repeating: "x", count: 8193)
        #expect(
            mistakes("{\"keys\": [{\"key\": \"/a\", \"value\": \"\(long)\"}]}") == [
                "1:34: keys[0].value: may come to more than 8192 bytes"
            ])
        let hosts = String(repeating: "{host}", count: 8)
        #expect(
            mistakes("{\"keys\": [{\"key\": \"/a/\(hosts)\", \"value\": \"\"}]}") == [
                "1:19: keys[0].key: may come to more than 512 bytes"
            ])
        let tags = Array(repeating: "\"\(String(repeating: "t", count: 128))\"", count: 9).joined(separator: ",")
        #expect(
            mistakes("{\"services\": [{\"name\": \"a\", \"port\": 1, \"tags\": [\(tags)]}]}") == [
                "1:48: services[0].tags: has more than 1024 bytes"
            ])
    }

    @Test(arguments: [
        ("adress", "address"), ("weigth", "weight"), ("Port", "port"), ("chek", "check"), ("listenport", "listen_port"),
    ])
    func `of a misspelt field the nearest is suggested`(typed: String, meant: String) {
        #expect(Suggestion.nearest(to: typed, among: ["address", "weight", "port", "check", "listen_port"]) == meant)
    }

    @Test(arguments: ["", "zzzz", "something_else", "\u{1f600}"])
    func `of another word nothing is`(typed: String) {
        #expect(Suggestion.nearest(to: typed, among: ["address", "weight", "port"]) == nil)
    }

    // MARK: Documentation

    @Test func `the examples of the documentation are right`() throws {
        let lines = try Documentation("docs/services-file.md").lines
        var examples: [[String]] = []
        var current: [String]?
        for line in lines {
            if line == "```json" {
                current = []
            } else if line == "```", let example = current {
                examples.append(example)
                current = nil
            } else {
                current?.append(line)
            }
        }
        #expect(examples.count >= 2)
        for example in examples { #expect(mistakes(example.joined(separator: "\n")) == []) }
    }
}
