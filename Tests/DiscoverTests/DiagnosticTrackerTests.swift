import Testing

@testable import Discover

@Suite("DiagnosticTracker")
struct DiagnosticTrackerTests {
    private let bad = Diagnostic.badKey(key: "k", why: "w")
    private let taken = Diagnostic.portOfStats(service("web"), port(1936))

    @Test func `each problem is told when it comes and when it goes`() {
        var log = DiagnosticTracker()
        #expect(log.update(to: [bad]) == .init(appeared: [bad], gone: []))
        #expect(log.update(to: [bad]) == .init(appeared: [], gone: []))
        #expect(log.update(to: [bad, taken]) == .init(appeared: [taken], gone: []))
        #expect(log.update(to: []) == .init(appeared: [], gone: [bad, taken]))
        #expect(log.update(to: [bad]) == .init(appeared: [bad], gone: []))
    }

    @Test func `a port that goes from one holder to another is the same problem`() {
        var log = DiagnosticTracker()
        let first = Diagnostic.portUnavailable(service("web"), port(80), obstacle: "in use by process 7 (nginx)")
        let second = Diagnostic.portUnavailable(service("web"), port(80), obstacle: "in use by another process")
        #expect(log.update(to: [first]).appeared == [first])
        #expect(log.update(to: [second]) == .init(appeared: [], gone: []))
        #expect(log.update(to: []).gone == [second])
    }

    @Test func `an excerpt is short and has one line`() {
        #expect(Diagnostic.excerpt(Array("a\nb\0c".utf8)) == "a b c")
        #expect(Diagnostic.excerpt([UInt8](repeating: 120, count: 100)).hasSuffix("... (100 bytes)"))
    }
}
