import Shared
import Testing

@testable import Register

@Suite("Other agents and back-off")
struct OtherAgentsTests {
    private let start = ContinuousClock.now

    private func other(_ lease: Int64, _ revision: Int64) -> AgentRegistration.Other {
        AgentRegistration.Other(
            record: AgentRegistration.Record(host: "h\(lease)", pid: 1, started: "", owner: "E@10.0.0.1"), lease: lease,
            createRevision: revision)
    }

    @Test func `a lease that outlives what was left of it belongs to a live agent, any other one does not yet`() {
        var others = OtherAgents()
        others.update(with: [other(1, 5), other(2, 3)], remaining: [1: 10, 2: 4], at: start)
        #expect(others.alive == [])
        #expect(others.knows(1) && others.knows(2) && !others.knows(3))
        others.update(with: [other(1, 5), other(2, 3)], remaining: [:], at: start + .seconds(7))
        #expect(others.alive == [other(2, 3)])
        others.update(with: [other(1, 5), other(2, 3)], remaining: [:], at: start + .seconds(13))
        #expect(others.alive == [other(2, 3), other(1, 5)])
        others.update(with: [other(1, 5)], remaining: [:], at: start + .seconds(14))
        #expect(others.alive == [other(1, 5)])
        #expect(!others.knows(2))
    }

    @Test func `a lease that etcd has not got round to ending yet makes nobody alive`() {
        var rivals = OtherAgents()
        rivals.update(with: [other(1, 5)], remaining: [1: 10], at: start)
        // etcd told whole seconds, and looks for leases that have run out only now and then.
        for late in [Duration.seconds(11), .seconds(12)] {
            rivals.update(with: [other(1, 5)], remaining: [:], at: start + late)
            #expect(rivals.alive == [])
        }
        rivals.update(with: [other(1, 5)], remaining: [:], at: start + .milliseconds(12_001))
        #expect(rivals.alive == [other(1, 5)])
    }

    @Test func `a lease that was seen once, and ran out, was a dead agent's`() {
        var others = OtherAgents()
        others.update(with: [other(1, 5)], remaining: [1: 10], at: start)
        others.update(with: [], remaining: [:], at: start + .seconds(11))
        #expect(others == OtherAgents())
    }

    @Test func `entries are put back at once a few times, then more and more slowly, until it has been quiet`() {
        var contention = RestoreBackoff()
        var now = start
        for _ in 0..<5 {
            contention.restored(at: now)
            #expect(contention.wait(at: now) == nil)
        }
        var waits: [Duration] = []
        for _ in 0..<10 {
            contention.restored(at: now)
            let wait = contention.wait(at: now)
            waits.append(wait ?? .zero)
            now = now + (wait ?? .zero)
            #expect(contention.wait(at: now) == nil)
        }
        #expect(waits.first == .milliseconds(100))
        #expect(waits == waits.sorted())
        #expect(waits.last == .seconds(5))
        now = now + .seconds(16)
        contention.restored(at: now)
        #expect(contention.wait(at: now) == nil)
        #expect(!contention.isHot)
    }
}
