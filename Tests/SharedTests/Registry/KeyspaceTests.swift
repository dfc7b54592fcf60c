// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Testing

@testable import Shared

@Suite("Keyspace")
struct KeyspaceTests {
    private let keyspace = Keyspace(prefix: "/backends")!

    @Test(arguments: [("/backends", "/backends/"), ("/backends/", "/backends/"), ("/a/b-c/D.e", "/a/b-c/D.e/")])
    func `a prefix is a path of names, with a slash at both ends`(text: String, prefix: String) {
        #expect(Keyspace(prefix: text)?.prefix == prefix)
    }

    @Test(
        arguments: BadInput.everywhere.filter { $0 != "/a" } + [
            "backends", "//", "/", "//a", "/a//b", "/a//", "/a b", "/a\n", "/a/\u{301}b",
        ])
    func `any other prefix is refused`(text: String) {
        #expect(Keyspace(prefix: text) == nil)
    }

    @Test func `each kind of key is told, and prints as it was`() throws {
        let web = ServiceName("web")!
        let id = InstanceID("0123456789ab")!
        let expected: [(String, Keyspace.Key)] = [
            ("/backends/web/0123456789ab", .entry(web, id)), ("/backends/web/0123456789ab/meta", .meta(web, id)),
            ("/backends/web/config", .config(web)), ("/backends/web/port", .port(web)),
            ("/backends/config/1", .entry(ServiceName("config")!, InstanceID("1")!)),
            ("/backends/port/port", .port(ServiceName("port")!)),
            ("/backends/web/meta", .entry(web, InstanceID("meta")!)),
            ("/backends/web/meta/meta", .meta(web, InstanceID("meta")!)), ("/backends-ports/web", .claim(web)),
            ("/backends/web/0123456789ab/config", .endpointConfig(web, id)),
            ("/backends-routes/shop", .route(RouteName("shop")!)),
        ]
        for (text, key) in expected {
            #expect(try keyspace.parse(text.utf8) == key)
            #expect(keyspace.text(of: key) == text)
        }
    }

    @Test(arguments: [
        ("", Keyspace.KeyProblem.foreign), ("/", .foreign), ("/backends", .foreign), ("/backend/web/1", .foreign),
        ("/Backends/web/1", .foreign), ("backends/web/1", .foreign), (" /backends/web/1", .foreign),
        ("\0/backends/web/1", .foreign),
        ("/backends/", .unknown), ("/backends/web", .unknown), ("/backends/web/1/2", .unknown),
        ("/backends/web/1/meta/", .unknown), ("/backends/web/1/meta/x", .unknown), ("/backends/web/1/META", .unknown),
        ("/backends/web/1/meta\0", .unknown), ("/backends/web/1/", .unknown),
        ("/backends-ports/", .badService("")), ("/backends-ports/a/b", .badService("a/b")),
        ("/backends-routes/", .badRoute("")), ("/backends-routes/a/b", .badRoute("a/b")),
        ("/backends-port/web", .foreign), ("/backends-ports", .foreign),
        ("/backends/-ports/web", .badService("-ports")),
        ("/backends//1", .badService("")), ("/backends/a b/1", .badService("a b")),
        ("/backends/a\n/1", .badService("a\n")),
        ("/backends/../1", .badService("..")), ("/backends/-/meta/meta", .badService("-")),
        ("/backends/web/", .badInstance("")), ("/backends/web/a b", .badInstance("a b")),
        ("/backends/web/1\0", .badInstance("1\0")), ("/backends/web/1\n", .badInstance("1\n")),
        ("/backends/web/config/meta", .badInstance("config")), ("/backends/web/port/meta", .badInstance("port")),
        ("/backends/web//meta", .badInstance("")),
    ])
    func `a key that is none of the contract's says why`(text: String, problem: Keyspace.KeyProblem) {
        #expect(throws: problem) { try keyspace.parse(text.utf8) }
    }

    @Test func `bytes that are not UTF-8 are foreign, wherever they stand`() {
        for bytes: [UInt8] in [
            [0xff], Array("/backends/web/1".utf8) + [0xff], Array("/backends/\u{e9}".utf8).dropLast(),
        ] {
            #expect(throws: Keyspace.KeyProblem.foreign) { try keyspace.parse(bytes) }
        }
    }

    @Test(arguments: [
        "/backends/\u{301}web/1", "/backends/web/1/\u{301}meta", "/backends\u{301}/web/1", "/backends/web\u{301}/1",
    ])
    func `a combining mark belongs to no slash and no name`(text: String) {
        #expect(throws: Keyspace.KeyProblem.self) { try keyspace.parse(text.utf8) }
    }

    @Test func `a letter that only looks the same is not in the prefix`() {
        // U+212A, the sign of the kelvin, counts as equal to K in comparisons of Unicode text.
        #expect(throws: Keyspace.KeyProblem.foreign) { try Keyspace(prefix: "/K")!.parse("/\u{212a}/web/1".utf8) }
    }

    @Test func `a key of a megabyte is parsed at once and refused`() {
        let long = "/backends/web/" + String(repeating: "a", count: 1 << 20)
        #expect(throws: Keyspace.KeyProblem.self) { try keyspace.parse(long.utf8) }
        let slashes = "/backends/" + String(repeating: "/", count: 1 << 20)
        #expect(throws: Keyspace.KeyProblem.unknown) { try keyspace.parse(slashes.utf8) }
    }
}
