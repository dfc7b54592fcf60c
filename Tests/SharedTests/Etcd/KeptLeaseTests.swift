import Shared
import Synchronization
import TestSupport
import Testing

@Suite("Kept lease", .timeLimit(.minutes(1)))
struct KeptLeaseTests {
    private final class Clock: Sendable {
        private let ahead = Mutex(Duration.zero)
        private let start = ContinuousClock.now
        var now: ContinuousClock.Instant { start + ahead.withLock { $0 } }
        func advance(by time: Duration) { ahead.withLock { $0 += time } }
    }

    private static let alive = #"{"result":{"ID":"1","TTL":"15"}}"#
    private static let gone = #"{"result":{"ID":"1"}}"#

    private func keptLease(_ stub: StubEtcd, _ clock: Clock) throws -> Etcd.KeptLease {
        let client = Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [stub.origin]))
        return Etcd.KeptLease(client, ttl: .seconds(15), deadline: .seconds(10)) { clock.now }
    }

    private func stub(keepAlive: [StubEtcd.Answer] = [.init(stringLiteral: alive)]) throws -> StubEtcd {
        try StubEtcd([
            "lease/grant": [#"{"ID":"1","TTL":"15"}"#, #"{"ID":"2","TTL":"15"}"#], "lease/keepalive": keepAlive,
        ])
    }

    @Test func `it is granted once, and renewed when a third of its TTL is over`() async throws {
        let (stub, clock) = (try stub(), Clock())
        var kept = try keptLease(stub, clock)
        #expect(kept.lease == nil)
        let first = try #require(try await kept.keep())
        #expect(first.lease == Etcd.Lease(id: 1, ttl: 15))
        #expect(first.isGranted && first.isNew && first.former == nil)
        kept.complete(first)
        clock.advance(by: .milliseconds(4999))
        let kept1 = try await kept.keep()
        #expect(kept1 == nil)
        clock.advance(by: .milliseconds(1))
        let second = try #require(try await kept.keep())
        #expect(second.lease == first.lease && !second.isGranted && !second.isNew)
        kept.complete(second)
        let kept2 = try await kept.keep()
        #expect(kept2 == nil)
        kept.makeDue()
        let kept3 = try await kept.keep()
        #expect(kept3 != nil)
        #expect(stub.requests("lease/grant").count == 1 && stub.requests("lease/keepalive").count == 2)
    }

    @Test func `it stays due, and new, until what is to be said under it is said`() async throws {
        let (stub, clock) = (try stub(), Clock())
        var kept = try keptLease(stub, clock)
        _ = try await kept.keep()
        for _ in 0..<2 {
            let again = try #require(try await kept.keep())
            #expect(again.isNew && !again.isGranted)
        }
        #expect(stub.requests("lease/grant").count == 1)
    }

    @Test func `one that is gone is replaced, and named until the new one is in use`() async throws {
        let answers: [StubEtcd.Answer] = [.init(stringLiteral: Self.gone), .init(stringLiteral: Self.alive)]
        let (stub, clock) = (try stub(keepAlive: answers), Clock())
        var kept = try keptLease(stub, clock)
        let first = try #require(try await kept.keep())
        kept.complete(first)
        kept.makeDue()
        let second = try #require(try await kept.keep())
        #expect(second.lease.id == 2 && second.former == first.lease && second.isGranted && second.isNew)
        // A renewal of the former one counts for nothing.
        kept.complete(first)
        let kept4 = try await kept.keep()
        #expect(kept4?.isNew == true)
        kept.complete(second)
        // Whoever holds it has heard that it is gone.
        kept.forget()
        #expect(kept.lease == nil)
        let kept5 = try await kept.keep()
        #expect(kept5?.former == second.lease)
    }

    @Test func `an error leaves it as it is`() async throws {
        let answers: [StubEtcd.Answer] = [.init(500, "no"), .init(stringLiteral: Self.alive)]
        let (stub, clock) = (try stub(keepAlive: answers), Clock())
        var kept = try keptLease(stub, clock)
        let first = try #require(try await kept.keep())
        kept.complete(first)
        clock.advance(by: .seconds(5))
        await #expect(throws: (any Error).self) { try await kept.keep() }
        #expect(kept.lease == first.lease)
        let kept6 = try await kept.keep()
        #expect(kept6?.isNew == false)
    }

    @Test func `one whose renewal fails twice in a row is replaced where etcd grants another`() async throws {
        let refusal = StubEtcd.Answer(500, #"{"code":2,"message":"x"}"#)
        let (stub, clock) = (try stub(keepAlive: [refusal]), Clock())
        var kept = try keptLease(stub, clock)
        let first = try #require(try await kept.keep())
        kept.complete(first)
        kept.makeDue()
        await #expect(throws: (any Error).self) { try await kept.keep() }
        #expect(kept.lease == first.lease)
        let second = try #require(try await kept.keep())
        #expect(second.lease.id == 2 && second.former == first.lease && second.isGranted)
    }

    @Test func `its text is the one that etcdctl writes`() {
        #expect(Etcd.Lease(id: 255, ttl: 1).text == "ff")
        #expect(Etcd.Lease(id: -1, ttl: 1).text == "ffffffffffffffff")
    }
}

@Suite("Outage")
struct OutageTests {
    private let start = ContinuousClock.now

    /// What the log hears of failures (`-`), certain ones (`!`) and successes (`+`), each at its second.
    private func news(_ events: [(Double, Character)]) -> [String] {
        var outage = Outage<String>()
        return events.compactMap { second, event -> String? in
            let now = start + .seconds(second)
            if event == "+" { return outage.succeeded(at: now) ? "back at \(second)" : nil }
            return outage.failed("\(second)", isCertain: event == "!", at: now) ? "lost at \(second)" : nil
        }
    }

    @Test func `a loss is logged with its second failure, or at once where it is certain, and its return at once`() {
        #expect(news([(0, "-"), (1, "-"), (2, "-"), (3, "+"), (4, "+")]) == ["lost at 1.0", "back at 3.0"])
        #expect(news([(0, "!"), (1, "-"), (3, "+")]) == ["lost at 0.0", "back at 3.0"])
    }

    @Test func `breaks that pass at once are none, as long as there is time between them`() {
        #expect(news([(0, "-"), (1, "+"), (7, "-"), (8, "+"), (20, "-"), (21, "+")]) == [])
    }

    @Test func `losses and returns that alternate are one outage, until a return lasts`() {
        let cuts = (0..<30).flatMap { [(Double($0), Character("-")), (Double($0) + 0.5, Character("+"))] }
        #expect(news(cuts) == ["lost at 1.0"])
        #expect(news(cuts + [(36, "+")]) == ["lost at 1.0", "back at 36.0"])
    }

    @Test func `its cause is the first one, while it fails`() {
        var outage = Outage<String>()
        _ = outage.failed("one")
        _ = outage.failed("two")
        #expect(outage.cause == "one")
        _ = outage.succeeded()
        #expect(outage.cause == nil)
    }
}
