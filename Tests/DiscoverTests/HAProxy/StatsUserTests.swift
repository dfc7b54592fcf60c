import Shared
import Testing

@testable import Discover

@Suite("StatsUser")
struct StatsUserTests {
    @Test func `lines are user and password, and others do not count`() throws {
        let users = try StatsUser.parse("# who\r\nme:a:b c\r\n\nyou:ü\n", of: "/f")
        #expect(users.map(\.name) == ["me", "you"])
        #expect(users.map(\.password) == ["a:b c", "ü"])
    }

    @Test func `what HAProxy would take for syntax is quoted`() throws {
        let users = try StatsUser.parse(#"it's:$HOME"'#\"#, of: "/f")
        #expect(users.map(\.line) == [#"user 'it'\''s' insecure-password '$HOME"'\''#\'"#])
    }

    @Test(
        arguments: [
            ("secret", 1), ("me:x\n:secret", 2), ("me:x\n\nyou:", 3), ("me:sec\u{1}ret", 1), ("me:\tsecret", 1),
            ("me:x\nme:secret", 2), ("me:" + String(repeating: "secret", count: 50), 1),
        ])
    func `a wrong line is named, and not shown`(text: String, line: Int) {
        let error = #expect(throws: StatsUser.Failure.self) { try StatsUser.parse(text, of: "/f") }
        #expect(error?.description.hasPrefix("/f, line \(line): ") == true)
        #expect(error?.description.contains("secret") == false)
    }

    @Test func `a file without users is refused, as it would let nobody in or everybody`() {
        #expect(throws: StatsUser.Failure.empty(path: "/f")) { try StatsUser.parse("# nobody\n", of: "/f") }
        #expect(throws: StatsUser.Failure.missing(path: "/nowhere")) { try StatsUser.read("/nowhere") }
    }
}
