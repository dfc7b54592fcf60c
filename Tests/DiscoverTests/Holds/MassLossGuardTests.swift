import Shared
import Testing

@testable import Discover

@Suite("MassLossGuard")
struct MassLossGuardTests {
    /// A guard that follows a story; HAProxy has what was registered and sees it up, unless told otherwise.
    private struct Desk {
        var story: RegistryStory
        var massLoss = MassLossGuard(holdTime: .seconds(600))
        var now = Duration.seconds(1_000)
        var down: Set<String> = []
        var absent: Set<String> = []
        private var seen: Set<EntryID> = []

        init(_ names: String...) {
            story = RegistryStory()
            story.register(names)
            look()
        }

        /// Lets docker-discover look; gives what it tells.
        @discardableResult
        mutating func look(after pause: Duration = .zero) -> [HoldChange] {
            now += pause
            let taken = massLoss.accept(story.state, at: now)
            let names = story.state.losses.values.map(\.name) + massLoss.held.map(\.name)
            let up = Dictionary(names.map { ($0, !down.contains($0.description)) }) { first, _ in first }
            let verdicts = ServerHealth(isUp: up.filter { !absent.contains($0.key.description) })
            return taken + massLoss.evaluate(verdicts, at: now)
        }

        var held: [String] { massLoss.held.map(\.name.description) }
    }

    /// What happens to endpoints of a service `web`, one list of names after another, and what is held then.
    struct Case: CustomTestStringConvertible, Sendable {
        let have: Int
        let lost: [ClosedRange<Int>]
        let held: [Int]
        var testDescription: String { "\(lost) of \(have)" }
    }

    @Test(
        arguments: [
            Case(have: 1, lost: [1...1], held: [1]),
            Case(have: 2, lost: [1...1], held: []),
            Case(have: 2, lost: [1...2], held: [1, 2]),
            Case(have: 3, lost: [1...2], held: [1, 2]),
            Case(have: 4, lost: [1...2], held: []),
            Case(have: 4, lost: [1...3], held: [1, 2, 3]),
            Case(have: 5, lost: [1...2], held: []),
            // Judged against what was there before the losses: what left stays away, what follows is held.
            Case(have: 6, lost: [1...2, 3...4], held: [3, 4]),
            Case(have: 6, lost: [1...1, 2...2, 3...3], held: []),
            Case(have: 6, lost: [1...3, 4...4, 5...6], held: [4, 5, 6]),
        ])
    func `fewer than half would remain`(given: Case) {
        var desk = Desk()
        desk.story.register((1...given.have).map { "web/\($0)" })
        desk.look()
        for range in given.lost {
            let names = range.map { "web/\($0)" }
            desk.story.watch(names.flatMap { [.delete($0), .delete($0 + "/meta")] })
            desk.look(after: .seconds(1))
        }
        #expect(desk.held == given.held.map { "web/\($0)" })
    }

    @Test func `losses that are further apart than the hold time are judged each for itself`() {
        var desk = Desk("web/1", "web/2", "web/3", "web/4", "web/5", "web/6")
        desk.story.expire("web/1", "web/2")
        desk.look()
        desk.story.expire("web/3", "web/4")
        desk.look(after: .seconds(601))
        #expect(desk.held == [])
    }

    @Test func `each service is judged for itself, and what was withdrawn does not count`() {
        var desk = Desk("web/1", "web/2", "api/1", "api/2", "api/3", "api/4", "db/1")
        desk.story.withdraw("api/1", "api/2")
        desk.story.withdraw("db/1")
        desk.story.expire("web/1", "web/2", "api/3")
        let told = desk.look()
        #expect(desk.held == ["web/1", "web/2"])
        #expect(told.count == 1)
        #expect(told.first?.holds.map(\.until) == [.seconds(1_600), .seconds(1_600)])
    }

    @Test func `what HAProxy sees down, or does not have, is not held`() {
        var desk = Desk("web/1", "web/2", "web/3")
        (desk.down, desk.absent) = (["web/1"], ["web/2"])
        desk.story.expire("web/1", "web/2", "web/3")
        desk.look()
        #expect(desk.held == ["web/3"])
        // That a held one is not there is no news of it; that it is down is.
        desk.absent = ["web/3"]
        #expect(desk.look(after: .seconds(1)) == [])
        (desk.down, desk.absent) = (["web/3"], [])
        #expect(desk.look(after: .seconds(1)).map(\.ending) == [.failed])
        desk.down = []
        desk.look(after: .seconds(1))
        #expect(desk.held == [])
    }

    @Test func `while HAProxy says nothing, nothing is let go but at the end of its time`() {
        var desk = Desk("web/1")
        desk.story.expire("web/1")
        _ = desk.massLoss.accept(desk.story.state, at: desk.now)
        #expect(desk.massLoss.wait(at: desk.now) == .zero && desk.massLoss.services == [service("web")])
        #expect(desk.massLoss.evaluate(nil, at: desk.now).count == 1)
        #expect(desk.massLoss.evaluate(nil, at: desk.now + .seconds(599)) == [])
        #expect(desk.held == ["web/1"])
        #expect(desk.massLoss.evaluate(nil, at: desk.now + .seconds(600)).map(\.ending) == [.expired])
        #expect(desk.massLoss.services == [])
    }

    @Test func `HAProxy is asked at once of what was lost, and then in intervals while something is held`() {
        var desk = Desk("web/1", "api/1", "api/2")
        #expect(desk.massLoss.wait(at: desk.now) == nil)
        desk.story.expire("web/1")
        _ = desk.massLoss.accept(desk.story.state, at: desk.now)
        #expect(desk.massLoss.wait(at: desk.now) == .zero)
        desk.look()
        #expect(desk.massLoss.wait(at: desk.now) == .seconds(1))
        #expect(desk.massLoss.wait(at: desk.now + .milliseconds(700)) == .milliseconds(300))
        #expect(desk.massLoss.wait(at: desk.now + .seconds(3)) == .zero)
        desk.story.expire("api/1")
        _ = desk.massLoss.accept(desk.story.state, at: desk.now)
        #expect(desk.massLoss.wait(at: desk.now) == .zero)
        desk.look()
        #expect(desk.massLoss.services == [service("web")])
        _ = desk.massLoss.release(nil)
        #expect(desk.massLoss.wait(at: desk.now) == nil)
    }

    @Test func `a hold ends when its entry is back or withdrawn after all, and the others stay`() {
        var desk = Desk("web/1", "web/2", "web/3")
        desk.story.expire("web/1", "web/2", "web/3")
        desk.look()
        desk.story.register(["web/1", "web/2"])
        #expect(desk.look(after: .seconds(1)).map(\.ending) == [.registered])
        #expect(desk.held == ["web/3"])
        desk.story.watch([.put("web/3/meta", #"{"withdrawn":"container stopped"}"#)])
        #expect(desk.look(after: .seconds(1)).map(\.ending) == [.withdrawn])
        #expect(desk.held == [])
    }

    @Test func `who else comes to the address ends it, in any service, but not the same container or an old neighbor`()
    {
        var desk = Desk("web/1", "web/2", "web/3")
        let address = RegistryStory.address(of:)
        desk.story.watch([.put("alias/a", address("web/1"), lease: 0)])
        desk.look()
        desk.story.expire("web/1", "web/2", "web/3")
        desk.look()
        desk.story.watch([.put("alias/a", address("web/1"), lease: 0), .put("canary/1", address("web/1"))])
        #expect(desk.look(after: .seconds(1)) == [])
        desk.story.watch([.put("api/9", address("web/2"))])
        #expect(desk.look(after: .seconds(1)).map(\.ending) == [.replaced(by: server("api/9"))])
        desk.story.watch([.put("web/33", address("web/3"))])
        #expect(desk.look(after: .seconds(1)).map(\.ending) == [.replaced(by: server("web/33"))])
        #expect(desk.held == ["web/1"])
    }

    @Test func `what moved to another id at the same address was not lost`() {
        var desk = Desk("web/1", "web/2")
        let (one, two) = (RegistryStory.address(of: "web/1"), RegistryStory.address(of: "web/2"))
        desk.story.watch([.delete("web/1"), .put("web/3", one), .delete("web/2"), .put("other/4", two)])
        #expect(desk.look() == [])
        #expect(desk.held == [])
    }

    @Test func `release ends what is held, for good, and the next loss is held again`() {
        var desk = Desk("web/1", "api/1")
        desk.story.expire("web/1", "api/1")
        desk.look()
        #expect(desk.massLoss.release(service("api")).flatMap(\.holds).map(\.name) == [server("api/1")])
        #expect(desk.massLoss.release(service("api")) == [])
        desk.look(after: .seconds(1))
        #expect(desk.held == ["web/1"])
        #expect(desk.massLoss.release(nil).map(\.ending) == [.released])
        desk.story.register(["web/1"])
        desk.look(after: .seconds(1))
        desk.story.expire("web/1")
        desk.look(after: .seconds(1))
        #expect(desk.held == ["web/1"])
    }

    @Test func `a hold that is over is not taken up again while the registry still tells the loss`() {
        var desk = Desk("web/1")
        desk.massLoss = MassLossGuard(holdTime: .seconds(5))
        desk.story.expire("web/1")
        desk.look()
        #expect(desk.look(after: .seconds(5)).map(\.ending) == [.expired])
        #expect(desk.look(after: .seconds(60)) == [])
        #expect(desk.held == [])
    }

    @Test func `holds go on after a restart, until the time that was set, or a shorter one`() {
        var desk = Desk("web/1", "web/2")
        desk.story.expire("web/1", "web/2")
        desk.look()
        let kept = desk.massLoss.persisted
        var next = MassLossGuard(holdTime: .seconds(600))
        let told = next.restore(kept, besides: desk.story.state, at: desk.now + .seconds(100))
        #expect(told.flatMap(\.holds).map(\.until) == [.seconds(1_600)] * 2)
        #expect(next.records.count == 4)
        var shorter = MassLossGuard(holdTime: .seconds(60))
        _ = shorter.restore(kept, besides: desk.story.state, at: desk.now + .seconds(10))
        #expect(shorter.held.map(\.until) == [.seconds(1_060)] * 2)
        // A clock that was set back makes no hold longer.
        _ = shorter.restore(kept, besides: desk.story.state, at: desk.now - .seconds(500))
        #expect(shorter.held.map(\.until) == [.seconds(560)] * 2)
        var off = MassLossGuard(holdTime: .zero)
        #expect(off.restore(kept, besides: desk.story.state, at: desk.now) == [])
    }

    @Test func `without a hold time nothing is held`() {
        var desk = Desk("web/1")
        desk.massLoss = MassLossGuard(holdTime: .zero)
        desk.story.expire("web/1")
        #expect(desk.look() == [])
        #expect(desk.massLoss.wait(at: desk.now) == nil)
    }
}

extension HoldChange {
    /// Why holds ended; nil where they began.
    fileprivate var ending: HeldEndpoint.EndReason? {
        if case .ended(_, let ending) = self { return ending }
        return nil
    }
}

private func * (list: [Duration], count: Int) -> [Duration] { Array(repeating: list, count: count).flatMap(\.self) }
