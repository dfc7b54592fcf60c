import Testing

@testable import Shared

/// Texts that no name, id, port, address or endpoint of the contract may be made of.
enum BadInput {
    static let everywhere = [
        "", " ", "\n", "\0", "\r\n", "a b", " a", "a ", "a\n", "a\0b", "a/b", "/a", "a/", "a%2Fb", "a\"b", "a$b", "a#b",
        "a;b",
        "\u{e9}", "a\u{301}", "\u{212a}", "\u{ff21}", "\u{660}", "-a", ".a", "_a", "@", "..", ".",
        String(repeating: "a", count: 129),
    ]

    /// Texts of a megabyte and more; in the arguments of a test they would fill its log.
    static let huge = ["9", ":", " ", "/", "\0", "\u{301}", "a"].flatMap { piece in
        let text = String(repeating: piece, count: 1 << 20)
        return [text, text + "1.2.3.4:80", "1.2.3.4:80" + text]
    }
}

@Suite("Service name and instance id")
struct NamesTests {
    @Test(arguments: [
        "a", "0", "whoami", "Team.web_1-blue", "stats", "global", "meta", String(repeating: "x", count: 128),
    ])
    func `what follows the grammar is a name and an id, and prints as it was`(text: String) {
        #expect(ServiceName(text)?.description == text)
        #expect(InstanceID(text)?.description == text)
    }

    @Test(arguments: BadInput.everywhere)
    func `anything else is neither`(text: String) {
        #expect(ServiceName(text) == nil)
        #expect(InstanceID(text) == nil)
    }

    @Test func `a megabyte is neither`() {
        #expect(BadInput.huge.compactMap { ServiceName($0) } == [])
        #expect(BadInput.huge.compactMap { InstanceID($0) } == [])
    }

    @Test func `the words that the contract keeps for a service are no ids`() {
        #expect(InstanceID("config") == nil)
        #expect(InstanceID("port") == nil)
        #expect(InstanceID("Config")?.text == "Config")
        #expect(ServiceName("config")?.text == "config")
    }

    @Test(arguments: ["0123456789ab", "0123456789abcdef", "deadbeefcafe" + String(repeating: "0", count: 52)])
    func `a container's id is cut to 12 digits`(id: String) {
        #expect(InstanceID(containerID: id)?.text == String(id.prefix(12)))
    }

    @Test(arguments: [
        "", "0123456789a", "0123456789AB", "sha256:01234", "0123456789a/", "0123456789a\u{660}", "0123456789a\u{301}b",
        "\0",
    ])
    func `what does not begin with 12 lower-case hexadecimal digits is no container's id`(id: String) {
        #expect(InstanceID(containerID: id) == nil)
    }

    @Test func `a further port makes a longer name, as far as there is room`() throws {
        let port = try #require(Port(9000))
        #expect(ServiceName("web")?.suffixed(by: port)?.text == "web-9000")
        #expect(ServiceName(String(repeating: "x", count: 123))?.suffixed(by: port)?.text.utf8.count == 128)
        #expect(ServiceName(String(repeating: "x", count: 124))?.suffixed(by: port) == nil)
    }

    @Test func `names and ids are ordered by their bytes`() {
        let texts = ["Z", "a", "0", "a-", "a.", "a_", "aa", "B"]
        let expected = texts.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
        #expect(texts.compactMap { ServiceName($0) }.sorted().map(\.text) == expected)
        #expect(texts.compactMap { InstanceID($0) }.sorted().map(\.text) == expected)
    }
}
