import Testing

@testable import Discover

@Suite("HealthPage")
struct HealthPageTests {
    private let begin = ContinuousClock.now
    private let well = HealthPage.command(isWell: true)
    private let unwell = HealthPage.command(isWell: false)

    @Test func `a worker is told once, again after a while, and when it is another one`() {
        var sign = HealthPage()
        #expect(sign.message(for: 7, at: begin) == well)
        sign.noteTold(true, to: 7, at: begin)
        #expect(sign.message(for: 7, at: begin + .seconds(4)) == nil)
        #expect(sign.due(at: begin) == begin + .seconds(5))
        #expect(sign.message(for: 7, at: begin + .seconds(5)) == well)
        #expect(sign.message(for: 8, at: begin + .seconds(1)) == well)
    }

    @Test func `a refusal is told at once, and what was reached as well`() {
        var sign = HealthPage()
        sign.noteTold(true, to: 7, at: begin)
        sign.failed()
        #expect(sign.message(for: 7, at: begin) == unwell)
        sign.noteTold(true, to: 7, at: begin)
        #expect(sign.message(for: 7, at: begin + .seconds(1)) == nil)
        sign.reached()
        #expect(sign.message(for: 7, at: begin + .seconds(1)) == well)
    }

    @Test func `what waits for its turn is well until that takes too long`() {
        var sign = HealthPage()
        sign.noteTold(true, to: 7, at: begin)
        sign.waits(at: begin)
        sign.waits(at: begin + .seconds(1))
        #expect(sign.message(for: 7, at: begin + .seconds(1)) == nil)
        #expect(sign.due(at: begin + .seconds(1)) == begin + .seconds(2))
        #expect(sign.message(for: 7, at: begin + .seconds(2)) == unwell)
        #expect(sign.due(at: begin + .seconds(2)) == begin + .seconds(5))
    }

    @Test func `a worker that was not reached is told soon`() {
        var sign = HealthPage()
        sign.noteTold(false, to: 7, at: begin)
        #expect(sign.due(at: begin) == begin + .seconds(1))
        #expect(sign.message(for: 7, at: begin) == well)
    }
}
