import Testing

@testable import Discover

@Suite("WorkerProbe")
struct WorkerProbeTests {
    private let begin = ContinuousClock.now
    private var probe = WorkerProbe(patience: .seconds(5))

    private mutating func note(_ isSilent: Bool, _ worker: Int32, _ second: Int) -> WorkerProbe.Finding? {
        probe.note(isSilent: isSilent, worker, asked: begin + .seconds(second - 2), at: begin + .seconds(second))
    }

    @Test mutating func `one that does not answer is found at once, and given up after a while`() {
        #expect(note(false, 7, 2) == nil)
        #expect(note(true, 7, 4) == .silent)
        #expect(note(true, 7, 6) == nil)
        #expect(note(true, 7, 7) == .hangs)
    }

    @Test mutating func `one that answers again is as before`() {
        #expect(note(true, 7, 2) == .silent)
        #expect(note(false, 7, 4) == .answersAgain)
        #expect(note(false, 7, 6) == nil)
        #expect(note(true, 7, 8) == .silent)
    }

    @Test mutating func `another one begins anew`() {
        #expect(note(true, 7, 2) == .silent)
        #expect(note(true, 8, 9) == .silent)
        #expect(note(false, 9, 11) == nil)
    }
}
