import TestSupport
import Testing

@testable import Shared

@Suite("Service options")
struct ServiceOptionsTests {
    /// For each option a value that is right, in its canonical form.
    private static let right: [(String, String)] = [
        ("port", "8000"), ("listen_address", "fd00::1"), ("mode", "http"), ("balance", "leastconn"),
        ("check", "http:/health?deep=1"), ("check_host", "web.example:8080"), ("check_method", "HEAD"),
        ("check_status", "200-299,404"), ("check_interval", "1m30s"), ("check_fast_interval", "50ms"),
        ("check_down_interval", "1s"), ("check_timeout", "500ms"), ("check_rise", "1"), ("check_fall", "100"),
        ("check_port", "65535"), ("weight", "0"), ("maxconn", "1000000"), ("slow_start", "0s"), ("backup", "true"),
        ("zone", "eu-1a"), ("proxy_protocol", "v2"), ("cookie", "SRV_1"), ("timeout_connect", "10ms"),
        ("timeout_client", "24h"), ("timeout_server", "1h"), ("timeout_queue", "30s"), ("retries", "0"),
        ("retry_on", "conn-failure,503"), ("compression", "gzip"), ("forwarded_for", "false"), ("access_log", "true"),
        ("route", "shop.example.com/api, *.example.com"), ("route_strip", "true"), ("route_https", "true"),
    ]

    @Test func `every option is read from text and JSON, and written as it was`() throws {
        var all = ServiceOptions()
        for (name, text) in Self.right {
            let field = try #require(ServiceOptions.field(name))
            var options = ServiceOptions()
            #expect(field.set(text, &options), "\(name)=\(text)")
            #expect(field.text(options) == text)
            var meta = Meta()
            meta.options = options
            let read = try #require(Meta(json: try meta.json()))
            #expect(read == meta, "\(name)")
            field.copy(options, &all)
        }
        #expect(Set(Self.right.map(\.0)) == Set(ServiceOptions.fields.map(\.name)))
        #expect(ServiceOptions().overridden(by: all) == all)
        #expect(all.overridden(by: ServiceOptions()) == all)
    }

    @Test(arguments: [
        ("port", "0"), ("listen_address", "localhost"), ("mode", "udp"), ("balance", "static-rr"), ("check", "http:"),
        ("check", "http:health"), ("check", "http:/a b"), ("check", "http:/a\"b"), ("check", "http:/a#b"),
        ("check", "http:/a\nb"), ("check", "http:/a$b"), ("check", "http:/a\\b"), ("check", "http:/\u{e9}"),
        ("check", "icmp"), ("check_host", "a b"), ("check_host", ""), ("check_host", "a:0"), ("check_host", "a:1:2"),
        ("check_method", "DELETE"), ("check_status", ""), ("check_status", "200,"), ("check_status", "99"),
        ("check_status", "300-200"), ("check_status", "200-"), ("check_status", "1000"), ("check_interval", "99ms"),
        ("check_interval", "x"), ("check_rise", "0"), ("check_rise", "101"), ("check_rise", "1.5"), ("weight", "-1"),
        ("weight", "257"), ("weight", " 1"), ("maxconn", "0"), ("slow_start", "2h"), ("backup", "perhaps"),
        ("zone", "a b"), ("zone", ""), ("proxy_protocol", "v3"), ("cookie", "a;b"), ("cookie", ""),
        ("timeout_connect", "0"), ("retries", "101"), ("retry_on", "conn-failure,none"), ("retry_on", "teapot"),
        ("retry_on", ""), ("retry_on", "404,404"), ("compression", "br"), ("forwarded_for", "2"),
        ("port", "no"), ("route", ""), ("route", "a b"), ("route_strip", "x"),
    ])
    func `a value outside of the grammar changes nothing, and costs only its field`(name: String, text: String) throws {
        let field = try #require(ServiceOptions.field(name))
        var options = ServiceOptions()
        #expect(!field.set(text, &options))
        #expect(options.isEmpty)
        let json = "{\"\(name)\": \(Self.quoted(text)), \"container\": \"c\"}"
        let meta = try #require(Meta(json: json.utf8))
        #expect(meta.options.isEmpty)
        #expect(meta.container == "c")
        #expect(meta.problems == ["\(name): not \(field.grammar)"])
    }

    private static func quoted(_ text: String) -> String {
        let escaped = text.unicodeScalars.map { scalar -> String in
            switch scalar {
            case "\"", "\\": "\\\(scalar)"
            case "\n": "\\n"
            default: String(scalar)
            }
        }
        return "\"" + escaped.joined() + "\""
    }

    @Test func `JSON numbers and switches may also be written as strings`() {
        let strict = Meta(json: #"{"weight": 10, "backup": true, "port": 80}"#.utf8)
        #expect(Meta(json: #"{"weight": "10", "backup": "true", "port": "80"}"#.utf8) == strict)
        #expect(strict?.options.weight == 10)
        #expect(strict?.options.isBackup == true)
    }

    @Test func `the documented table of options is the code's`() throws {
        let table = ServiceOptions.markdownTable.split(separator: "\n").map(String.init)
        #expect(try Documentation("docs/registry.md").table(below: "## Options") == table)
    }
}
