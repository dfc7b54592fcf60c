import Testing

@testable import Shared

@Suite("Meta and service configuration")
struct MetaTests {
    private static var full: Meta {
        var meta = Meta()
        meta.options.port = Port(8000)
        meta.container = "web-1"
        meta.image = "registry:5000/team/web:1.2"
        meta.host = "h\u{e9}l\"o\n"
        meta.owner = "ABCD@10.0.0.1"
        meta.created = "2024-05-01T12:00:00.5Z"
        meta.tags = ["a", "b"]
        meta.withdrawn = "container stopped"
        meta.at = "2024-05-01T12:00:01Z"
        return meta
    }

    @Test func `what is written is read back, all fields or none`() throws {
        #expect(Meta(json: try Self.full.json()) == Self.full)
        #expect(try Meta().json() == Array("{}".utf8))
        #expect(Meta(json: "{}".utf8) == Meta())
    }

    @Test func `equal metas have equal bytes, on one line, with sorted fields`() throws {
        let bytes = try Self.full.json()
        for _ in 0..<20 { #expect(try Self.full.json() == bytes) }
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(!text.contains("\n"))
        #expect(text.contains("registry:5000/team/web:1.2"))
        #expect(text.hasPrefix(#"{"at":"2024"#))
    }

    @Test func `fields that are not known are ignored`() {
        var expected = Meta()
        expected.options.port = Port(80)
        let json = #"{"wait": 10, "port": 80, "nested": {"port": [1, {"x": null}]}, "": "", "Port": 81}"#
        #expect(Meta(json: json.utf8) == expected)
    }

    @Test(arguments: [
        ("port", "\"x\""), ("port", "0"), ("port", "65536"), ("port", "-1"), ("port", "80.5"), ("port", "true"),
        ("port", "[80]"),
        ("port", "1e99"), ("port", "99999999999999999999999"), ("container", "1"), ("container", "{}"), ("image", "[]"),
        ("host", "false"), ("owner", "{\"id\": 1}"), ("created", "1714564800"), ("tags", "\"a,b\""),
        ("tags", "[\"a\", 1]"),
        ("tags", "{}"), ("withdrawn", "true"), ("at", "0"),
    ])
    func `a wrong field costs itself alone, and is named`(name: String, value: String) throws {
        var expected = Meta()
        expected.container = name == "container" ? nil : "c"
        expected.image = name == "image" ? nil : "i"
        let rest = [("container", "\"c\""), ("image", "\"i\"")].filter { $0.0 != name } + [(name, value)]
        for fields in [rest, rest.reversed()] {
            let json = "{" + fields.map { "\"\($0)\": \($1)" }.joined(separator: ", ") + "}"
            var meta = try #require(Meta(json: json.utf8))
            #expect(meta.problems.count == 1)
            #expect(meta.problems.first?.hasPrefix("\(name): not a") == true)
            meta.problems = []
            #expect(meta == expected)
        }
    }

    @Test func `a field that is null counts as missing`() {
        #expect(Meta(json: #"{"port": null, "tags": null}"#.utf8) == Meta())
    }

    @Test(arguments: [
        "", " ", "\0", "null", "1", "\"x\"", "true", "[]", "[{}]", "{", "{\"port\": 80", "{\"port\": 80}}", "{} {}",
        "{port: 80}",
        "1.2.3.4:80", "\u{feff}", "{\"port\":}", "{'port': 80}", "{\"port\": 80} x",
    ])
    func `what is no JSON object is none of both`(text: String) {
        #expect(Meta(json: text.utf8) == nil)
        #expect(ServiceConfig(json: text.utf8) == nil)
    }

    @Test func `a configuration has its port, and a wrong one costs itself alone`() {
        #expect(ServiceConfig(json: #"{"port": 8000, "balance": "leastconn"}"#.utf8)?.options.port == Port(8000))
        let wrong = ServiceConfig(json: #"{"port": "80x"}"#.utf8)
        #expect(wrong?.options.port == nil)
        #expect(wrong?.problems == ["port: not a port from 1 to 65535, or none"])
        #expect(ServiceConfig(json: "{}".utf8) == ServiceConfig())
    }

    @Test func `invalid UTF-8 never crashes, and never gets into a field`() {
        let broken = Array(#"{"port": 80, "host": ""#.utf8) + [0xff, 0xfe] + Array(#"", "image": "i"}"#.utf8)
        let meta = Meta(json: broken)
        #expect(meta == nil || meta?.host == nil || meta?.host?.contains("\u{fffd}") == true)
        #expect(Meta(json: [0xff]) == nil)
        #expect(Meta(json: [0xed, 0xa0, 0x80]) == nil)
        #expect(Meta(json: #"{"host": "\ud800"}"#.utf8)?.host == nil)
    }

    @Test(arguments: ["[", "{\"a\":", "[[],", "{\"port\": 1, \"a\": ["])
    func `deep nesting never crashes`(piece: String) {
        for depth in [100, 1000, 100_000] {
            let open = String(repeating: piece, count: depth)
            _ = Meta(json: open.utf8)
            _ = Meta(json: ("{\"x\": " + open + "1").utf8)
            let closed =
                "{\"port\": 80, \"x\": " + String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
                + "}"
            let meta = Meta(json: closed.utf8)
            #expect(meta == nil || meta?.options.port == Port(80))
        }
    }

    @Test func `a megabyte is read, whatever is in it`() throws {
        let long = String(repeating: "x", count: 1 << 20)
        #expect(Meta(json: "{\"container\": \"\(long)\", \"port\": 80}".utf8)?.options.port == Port(80))
        let many = (0..<50_000).map { "\"field\($0)\": [1, 2]" }.joined(separator: ",")
        #expect(Meta(json: "{\(many), \"port\": 80}".utf8)?.options.port == Port(80))
        #expect(Meta(json: [UInt8](repeating: UInt8(ascii: "9"), count: 1 << 20)) == nil)
        #expect(Meta(json: [UInt8](repeating: 0, count: 1 << 20)) == nil)
    }
}
