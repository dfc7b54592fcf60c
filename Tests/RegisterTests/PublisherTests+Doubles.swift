// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Synchronization
import TestSupport
import Testing

@testable import Register

/// Several agents for one engine, and the end of an agent.
extension PublisherTests {
    /// Lets both publishers look at each other, once at first and once when any lease of a dead one would have gone.
    private func turn(_ one: inout Publishing, _ two: inout Publishing, _ skew: Skew) async throws {
        for pass in 0..<4 {
            if pass == 2 { skew.ahead.withLock { $0 += .seconds(100) } }
            one.doubt()
            try await one.publish()
            two.doubt()
            try await two.publish()
        }
    }

    private func leases(_ key: String) async throws -> Int64? { try await keys()[key]?.lease }

    @Test func `of two agents for one engine and address both name the other, and the younger one waits`() async throws
    {
        let web = try registration("web")
        let skew = Skew()
        var older = publisher(skew: skew)
        try await desire(web, by: &older)
        let ofElder = try await leases(Self.entryKey)
        var younger = publisher(skew: skew)
        try await desire(web, by: &younger)
        #expect(try await leases(Self.entryKey) != ofElder)
        let words = "another docker-register runs for this engine; stop one of them"
        try await turn(&older, &younger, skew)
        #expect(log.all.contains { $0.contains(words) && $0.contains("registers") })
        #expect(log.all.contains { $0.contains(words) && $0.contains("stands by") })
        older.doubt()
        try await older.publish()
        #expect(try await leases(Self.entryKey) == ofElder)
        // The younger one leaves everything as it is.
        younger.desire(Desired())
        younger.doubt()
        try await younger.publish()
        #expect(try await leases(Self.entryKey) == ofElder)
        // When the older is gone it takes over, and brings all to what it wants.
        try await older.publisher.leave()
        #expect(try await keys()[Self.entryKey] != nil)
        younger.renewalIsDue()
        try await younger.publish()
        #expect(try await keys()[Self.entryKey] == nil)
        #expect(log.all.contains { $0.contains("the other docker-register has ended") })
    }

    @Test func `of two agents for one engine under different addresses the younger one stands by as well`() async throws
    {
        let moved = Owner(Docker.Identity(id: "ENGINE", name: "host1", place: "here"), IPAddress("10.0.0.9")!)
        let skew = Skew()
        var older = publisher(moved, skew: skew)
        try await desire(try registration("web", 0, moved), by: &older)
        var younger = publisher(skew: skew)
        try await desire(try registration("web"), by: &younger)
        try await turn(&older, &younger, skew)
        #expect(younger.publisher.leader != nil && older.publisher.leader == nil)
        #expect(log.contain("another docker-register runs for this engine", "stands by"))
        older.doubt()
        try await older.publish()
        let before = try await keys()
        #expect(values(before)[Self.entryKey] == "10.0.0.9:8080")
        younger.desire(Self.desired([try registration("web"), try registration("web", 1)]))
        for _ in 0..<3 {
            younger.doubt()
            try await younger.publish()
            #expect(try await keys() == before)
        }
        try await older.publisher.leave()
        younger.renewalIsDue()
        try await younger.publish()
        #expect(younger.publisher.leader == nil)
        #expect(values(try await keys())[Self.entryKey] == "10.0.0.1:8080")
        #expect(values(try await keys())["/backends/web/000000000001"] == "10.0.0.1:8080")
    }

    @Test func `agents of copied machines, whose engines have one id, register side by side`() async throws {
        let copy = Owner(Docker.Identity(id: "ENGINE", name: "host1", place: "elsewhere"), IPAddress("10.0.0.9")!)
        let skew = Skew()
        var (one, two) = (publisher(skew: skew), publisher(copy, skew: skew))
        try await desire(try registration("web"), by: &one)
        try await desire(try registration("web", 1, copy), by: &two)
        try await turn(&one, &two, skew)
        #expect(one.publisher.leader == nil && two.publisher.leader == nil)
        #expect(values(try await keys())[Self.entryKey] == "10.0.0.1:8080")
        #expect(values(try await keys())["/backends/web/000000000001"] == "10.0.0.9:8080")
        #expect(!log.contain("another docker-register"))
    }

    @Test func `an agent whose address changes is no second one, and keeps its age`() async throws {
        let skew = Skew()
        var older = publisher(skew: skew)
        try await desire(try registration("web"), by: &older)
        var younger = publisher(skew: skew)
        try await younger.publish()
        try await turn(&older, &younger, skew)
        older.move(to: IPAddress("10.0.0.9")!)
        older.desire(Self.desired([try registration("web", 0, older.publisher.owner)]))
        try await turn(&older, &younger, skew)
        #expect(older.publisher.leader == nil && younger.publisher.leader != nil)
        #expect(values(try await keys())[Self.entryKey] == "10.0.0.9:8080")
        try await younger.publisher.leave()
        older.doubt()
        try await older.publish()
        older.move(to: IPAddress("10.0.0.1")!)
        skew.ahead.withLock { $0 += .seconds(100) }
        older.doubt()
        try await older.publish()
        #expect(older.publisher.leader == nil)
        #expect(try await registry().etcd.range(prefix: "/backends-agents/", deadline: Self.limit).keyValues.count == 1)
    }

    @Test func `an agent that withdraws everything says why, under a lease that outlives it`() async throws {
        var publisher = publisher()
        let all = try (0..<100).map { try registration("web", $0) }
        publisher.desire(Self.desired(all))
        try await publisher.publish()
        let lease = try #require(try await leases(Self.entryKey))
        try await publisher.publisher.withdrawEverything(because: "docker-register was stopped")
        try await publisher.publisher.leave()
        let left = try await keys()
        #expect(left.count == 100)
        #expect(left.values.allSatisfy { $0.lease != lease && $0.lease != 0 })
        #expect(left.values.allSatisfy { Meta(json: $0.value)?.withdrawn == "docker-register was stopped" })
        let etcd = registry().etcd
        #expect(try await etcd.timeToLive(lease: lease, deadline: Self.limit).remaining == nil)
    }

    @Test func `an entry of a container that nothing is known of moves to the lease of a new run`() async throws {
        var first = publisher()
        let web = try registration("web")
        try await desire(web, by: &first)
        let before = try await keys()
        var second = publisher()
        second.desire(Desired(undecided: .containers([web.id.id])))
        try await second.publish()
        let after = try await keys()
        #expect(values(after) == values(before))
        #expect(after[Self.entryKey]?.lease != before[Self.entryKey]?.lease)
    }

    @Test func `a withdrawal that is to be confirmed says so, also after the fact`() async throws {
        var publisher = publisher()
        let web = try registration("web")
        try await desire(web, by: &publisher)
        var desired = Desired(withdrawalReasons: [web.id.id: "drained"])
        publisher.desire(desired)
        try await publisher.publish()
        let first = try #require(publisher.publisher.withdrawals[web.id.id])
        #expect(Meta(json: try await keys()[Self.metaKey]?.value ?? [])?.confirm == nil)
        desired.confirm = [web.id.id]
        publisher.desire(desired)
        try await publisher.publish()
        let meta = Meta(json: try await keys()[Self.metaKey]?.value ?? [])
        #expect(meta?.confirm == true)
        #expect(meta?.withdrawn == "drained")
        let second = try #require(publisher.publisher.withdrawals[web.id.id])
        #expect(second > first)
        desired.confirm = []
        publisher.desire(desired)
        try await publisher.publish()
        #expect(publisher.publisher.withdrawals[web.id.id] == second)
        // Nobody waits for an earlier withdrawal of what is there again.
        try await desire(web, by: &publisher)
        #expect(publisher.publisher.withdrawals == [:])
    }

    @Test func `a lease is renewed after a third of the TTL, by the publisher's own clock`() async throws {
        let skew = Skew()
        var publisher = publisher(ttl: .seconds(600), skew: skew)
        try await desire(registration("web"), by: &publisher)
        let lease = try #require(try await leases(Self.entryKey))
        // A renewal notices that it is gone.
        try await registry().etcd.revoke(lease: lease, deadline: Self.limit)
        skew.ahead.withLock { $0 = .seconds(100) }
        try await publisher.publish()
        #expect(try await keys().isEmpty)
        skew.ahead.withLock { $0 = .seconds(200) }
        try await publisher.publish()
        #expect(try await leases(Self.entryKey) != nil)
    }

    @Test func `a renewal that etcd refuses is tried until it succeeds, although the lease itself lives`() async throws
    {
        var publisher = publisher()
        try await desire(registration("web"), by: &publisher)
        for words in [["user", "add", "root:pw"], ["user", "grant-role", "root", "root"], ["auth", "enable"]] {
            try await server.ctl(words)
        }
        publisher.renewalIsDue()
        for _ in 0..<3 {
            await #expect(throws: Etcd.Error.self) { try await publisher.publish() }
        }
        try await server.ctl(["--user", "root:pw", "auth", "disable"])
        try await publisher.publish()
    }
}
