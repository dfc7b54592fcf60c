import Testing

@testable import Discover

@Suite("ProblemLog")
struct ProblemLogTests {
    private let bad = Problem.badKey(key: "k", why: "w")
    private let taken = Problem.portOfStats(service("web"), port(1936))

    @Test func `each problem is told when it comes and when it goes`() {
        var log = ProblemLog()
        #expect(log.update(to: [bad]) == .init(appeared: [bad], gone: []))
        #expect(log.update(to: [bad]) == .init(appeared: [], gone: []))
        #expect(log.update(to: [bad, taken]) == .init(appeared: [taken], gone: []))
        #expect(log.update(to: []) == .init(appeared: [], gone: [bad, taken]))
        #expect(log.update(to: [bad]) == .init(appeared: [bad], gone: []))
    }

    @Test func `a port that goes from one holder to another is the same problem`() {
        var log = ProblemLog()
        let first = Problem.portUnavailable(service("web"), port(80), obstacle: "in use by process 7 (nginx)")
        let second = Problem.portUnavailable(service("web"), port(80), obstacle: "in use by another process")
        #expect(log.update(to: [first]).appeared == [first])
        #expect(log.update(to: [second]) == .init(appeared: [], gone: []))
        #expect(log.update(to: []).gone == [second])
    }

    @Test func `an excerpt is short and has one line`() {
        #expect(Problem.excerpt(Array("a\nb\0c".utf8)) == "a b c")
        #expect(Problem.excerpt([UInt8](repeating: 120, count: 100)).hasSuffix("... (100 bytes)"))
    }
}
