// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Synchronization
import TestSupport
import Testing

@testable import Register

/// What the agent before, other agents, people and the network do to the registry.
extension PublisherTests {
    @Test(arguments: ["delete", "delete meta", "put"])
    func `an audit finds what somebody else has done to an entry`(deed: String) async throws {
        var publisher = publisher()
        let web = try registration("web")
        try await desire(web, by: &publisher)
        let before = try await keys()
        publisher.audit()
        try await publisher.publish()
        #expect(try await keys() == before)
        switch deed {
        case "delete": try await server.ctl("del", Self.entryKey)
        case "delete meta": try await server.ctl("del", Self.metaKey)
        default: try await server.ctl("put", Self.entryKey, "10.0.0.9:1")
        }
        try await publisher.publish()
        #expect(try await keys() != before)
        publisher.audit()
        try await publisher.publish()
        let after = try await keys()
        #expect(after.mapValues(\.value) == before.mapValues(\.value))
        #expect(Set(after.values.map(\.lease)) == Set(before.values.map(\.lease)))
    }

    // MARK: Taking over

    @Test func `a new agent takes its earlier entries over under its own lease, and no key is ever missing`()
        async throws
    {
        var first = publisher()
        try await desire(registration("web"), registration("web", 1), by: &first)
        let old = try await keys()
        let now = try await listing()
        let watch = registry().etcd.watch(prefix: "/backends/", after: now.revision, of: now.clusterID)
        var second = publisher()
        try await desire(registration("web"), registration("web", 1), by: &second)
        let new = try await keys()
        #expect(values(new) == values(old))
        #expect(Set(new.values.map(\.lease)).count == 1)
        #expect(Set(new.values.map(\.lease)).isDisjoint(with: old.values.map(\.lease)))
        #expect(new.values.map(\.createRevision).sorted() == old.values.map(\.createRevision).sorted())
        try await registry().etcd.revoke(lease: try #require(old[Self.entryKey]).lease, deadline: Self.limit)
        try await commit(.put(key: "/backends/end", value: [], lease: 0))
        var events: [Etcd.Event] = []
        for try await changes in watch {
            events += changes.events
            if events.last?.key == Array("/backends/end".utf8) { break }
        }
        #expect(!events.contains { if case .delete = $0 { true } else { false } })
        #expect(events.count == 5)
    }

    @Test func `a new agent withdraws its earlier entries whose containers are gone, but not before it knows`()
        async throws
    {
        var first = publisher()
        try await desire(registration("web"), registration("web", 1), by: &first)
        var second = publisher()
        try await second.publish()
        #expect(try await keys().count == 4)
        try await desire(registration("web", 1), by: &second)
        let keys = try await keys()
        #expect(keys[Self.entryKey] == nil)
        #expect(Meta(json: try #require(keys[Self.metaKey]).value)?.withdrawn == "container stopped")
        #expect(values(keys)["/backends/web/000000000001"] == "10.0.0.1:8080")
    }

    @Test func `what others own, or nobody, is never touched`() async throws {
        var foreign = publisher(Self.other)
        try await desire(registration("web", 7, Self.other), by: &foreign)
        try await commit(
            .put(key: "/backends/web/by-hand", value: Array("10.0.0.9:80".utf8), lease: 0),
            .put(key: "/backends/web/config", value: Array("{}".utf8), lease: 0),
            .put(key: "/backends/web/odd/meta", value: Array("nonsense".utf8), lease: 0),
            .put(key: "/backends/web/lone/meta", value: Array(#"{"owner":"x"}"#.utf8), lease: 0),
            .put(key: "/backends/not of/the contract", value: [0xff], lease: 0))
        let before = try await keys()
        var publisher = publisher()
        try await desire(registration("web"), by: &publisher)
        try await desire(by: &publisher)
        publisher.doubt()
        try await publisher.publish()
        var after = try await keys()
        after[Self.metaKey] = nil
        #expect(after == before)
    }

    @Test func `an entry that another agent has taken over is left to it`() async throws {
        var publisher = publisher()
        try await desire(registration("web"), by: &publisher)
        // The same engine under another address: its agent was told another HOST_IP.
        let theirs = try registration("web", 0, Self.other)
        try await commit(
            .put(key: Self.entryKey, value: theirs.value, lease: 0),
            .put(key: Self.metaKey, value: theirs.meta, lease: 0))
        let before = try await keys()
        publisher.doubt()
        try await desire(by: &publisher)
        #expect(try await keys() == before)
    }

    // MARK: Another address

    @Test func `a host that gets another address moves its entries, and what goes later is withdrawn`() async throws {
        var publisher = publisher()
        try await desire(registration("web"), registration("web", 1), by: &publisher)
        let before = try await keys()
        publisher.move(to: IPAddress("10.0.0.9")!)
        let moved = publisher.publisher.owner
        #expect(moved.text == "ENGINE@10.0.0.9")
        // In doubt before anything is moved, the entries with the former address are still its own.
        publisher.doubt()
        try await desire(registration("web", 0, moved), by: &publisher)
        let after = try await keys()
        #expect(values(after)[Self.entryKey] == "10.0.0.9:8080")
        #expect(after[Self.entryKey]?.lease == before[Self.entryKey]?.lease)
        #expect(Meta(json: try #require(after[Self.metaKey]).value)?.owner == moved.text)
        #expect(after["/backends/web/000000000001"] == nil)
        let meta = try #require(after["/backends/web/000000000001/meta"])
        #expect(Meta(json: meta.value)?.withdrawn == "container stopped")
    }

    @Test
    func `an agent that starts with another address takes over what still runs, and leaves the rest to its lease`()
        async throws
    {
        var first = publisher()
        try await desire(registration("web"), registration("web", 1), by: &first)
        let now = try await listing()
        let watch = registry().etcd.watch(prefix: "/backends/", after: now.revision, of: now.clusterID)
        var moved = Self.owner
        moved.address = IPAddress("10.0.0.9")!
        var second = publisher(moved)
        try await desire(registration("web", 0, moved), by: &second)
        let after = try await keys()
        #expect(values(after)[Self.entryKey] == "10.0.0.9:8080")
        #expect(values(after)["/backends/web/000000000001"] == "10.0.0.1:8080")
        #expect(after[Self.entryKey]?.lease != after["/backends/web/000000000001"]?.lease)
        for try await changes in watch {
            #expect(!changes.events.contains { if case .delete = $0 { true } else { false } })
            if !changes.events.isEmpty { break }
        }
    }

    // MARK: What others do

    @Test func `after somebody revoked the lease everything is put back under a new one`() async throws {
        var publisher = publisher()
        try await desire(registration("web"), registration("web", 1), by: &publisher)
        let before = try await keys()
        let lease = try #require(before[Self.entryKey]).lease
        try await registry().etcd.revoke(lease: lease, deadline: Self.limit)
        #expect(try await keys().isEmpty)
        publisher.renewalIsDue()
        try await publisher.publish()
        let after = try await keys()
        #expect(values(after) == values(before))
        #expect(after.values.allSatisfy { $0.lease != lease && $0.lease != 0 })
        #expect(log.contain("lease lost"))
    }

    @Test func `a lease that goes between two turns is noticed by the put that needs it`() async throws {
        var publisher = publisher()
        try await desire(registration("web"), by: &publisher)
        let lease = try #require(try await keys()[Self.entryKey]).lease
        try await registry().etcd.revoke(lease: lease, deadline: Self.limit)
        await #expect(throws: Publisher.LeaseLost.self) {
            try await desire(registration("web"), registration("api"), by: &publisher)
        }
        try await publisher.publish()
        #expect(try await keys().count == 4)
    }

    @Test(arguments: [
        "entry deleted", "meta deleted", "both deleted", "entry changed", "meta changed", "other lease", "all at once",
    ])
    func `what somebody does to our keys is put right`(deed: String) async throws {
        var publisher = publisher()
        try await desire(registration("web"), registration("web", 1), by: &publisher)
        let before = try await keys()
        let lease = try #require(before[Self.entryKey]).lease
        switch deed {
        case "entry deleted": try await commit(.delete(key: Self.entryKey))
        case "meta deleted": try await commit(.delete(key: Self.metaKey))
        case "both deleted": try await commit(.delete(key: Self.entryKey), .delete(key: Self.metaKey))
        case "entry changed": try await commit(.put(key: Self.entryKey, value: [0xff, 0], lease: lease))
        case "meta changed": try await commit(.put(key: Self.metaKey, value: Array("{}".utf8), lease: lease))
        case "other lease": try await commit(.put(key: Self.entryKey, value: try registration("web").value, lease: 0))
        default: try await commit(.delete(key: Self.entryKey), .put(key: Self.metaKey, value: [], lease: 0))
        }
        publisher.doubt()
        try await publisher.publish()
        let after = try await keys()
        #expect(values(after) == values(before))
        #expect(after.values.allSatisfy { $0.lease == lease })
        #expect(after["/backends/web/000000000001"] == before["/backends/web/000000000001"])
    }

    @Test func `a lease that goes between two transactions ends the turn, and the next one begins anew`() async throws {
        let alive: StubEtcd.Answer = #"{"result":{"ID":"1","TTL":"60"}}"#
        let stub = try StubEtcd([
            "lease/grant": [#"{"ID":"1","TTL":"60"}"#, #"{"ID":"2","TTL":"60"}"#],
            // At the turn's begin, before the first transaction, and before the second one.
            "lease/keepalive": [alive, alive, #"{"result":{"ID":"1"}}"#, alive],
            "kv/range": [#"{"header":{"cluster_id":"1","revision":"5"},"count":"0"}"#],
            "kv/txn": [#"{"header":{"cluster_id":"1","revision":"5"},"succeeded":true,"responses":[]}"#],
        ])
        let etcd = Etcd.Client(http, Etcd.Configuration(endpoints: [stub.origin]))
        let store = EntryStore(etcd: etcd, keyspace: Keyspace(prefix: "/backends")!, deadline: Self.limit)
        // A third of the TTL is over whenever somebody looks.
        let ahead = Mutex(Duration.zero)
        var publisher = Publisher(
            store, Self.owner, ttl: .seconds(60), logger: Logger(level: .debug, format: .logfmt, write: log.add)
        ) {
            .now
                + ahead.withLock { ahead in
                    ahead += .seconds(20)
                    return ahead
                }
        }
        let desired = Self.desired(try (0..<100).map { try registration("web", $0) })
        _ = try await publisher.load()
        await #expect(throws: Publisher.LeaseLost.self) { try await publisher.apply(desired) }
        #expect(log.count(of: "lease lost") == 1)
        #expect(log.count(of: "endpoint=") == EntryStore.changesAtOnce)
        // Besides, the agent itself was registered, under either lease.
        #expect(stub.requests("kv/txn").count == 3)
        // What is there under the new lease is read before anything is put; here nothing sensible is answered.
        await #expect(throws: Etcd.Error.self) { try await publisher.apply(desired) }
        let requests = stub.requests("kv/txn")
        #expect(requests.count == 4 && requests.last?.contains("request_range") == true)
    }

    // MARK: Answers that are lost

    @Test func `an entry whose put was done but never confirmed is withdrawn when its container is gone`() async throws
    {
        let proxy = try LossyProxy(before: server.port)
        var publisher = publisher(at: proxy.origin)
        try await publisher.publish()
        proxy.lose { $0.contains("/v3/kv/txn") }
        await #expect(throws: (any Error).self) { try await desire(registration("web"), by: &publisher) }
        #expect(proxy.losses > 0)
        #expect(try await keys().count == 2)
        proxy.lose { _ in false }
        try await desire(by: &publisher)
        #expect(try await keys()[Self.entryKey] == nil)
        #expect(Meta(json: try #require(try await keys()[Self.metaKey]).value)?.withdrawn == "container stopped")
    }

    @Test func `a withdrawal that was done but never confirmed leaves nothing behind for ever`() async throws {
        let proxy = try LossyProxy(before: server.port)
        var publisher = publisher(at: proxy.origin, ttl: .milliseconds(2100))
        try await desire(registration("web"), by: &publisher)
        proxy.lose { $0.contains("/v3/kv/txn") }
        await #expect(throws: (any Error).self) { try await desire(by: &publisher) }
        #expect(proxy.losses > 0)
        proxy.lose { _ in false }
        let isGone = try await eventually {
            // So short a lease may be gone before it is used; the agent tries again, too.
            try? await publisher.publish()
            return try await keys().isEmpty
        }
        #expect(isGone)
    }

    @Test func `what was done but never confirmed is neither done twice nor taken for somebody else's`() async throws {
        let proxy = try LossyProxy(before: server.port)
        var publisher = publisher(at: proxy.origin)
        try await desire(registration("web", 1), registration("web", 2), by: &publisher)
        proxy.lose { $0.contains("/v3/kv/txn") }
        await #expect(throws: (any Error).self) {
            try await desire(registration("web"), registration("web", 1, port: 9090), by: &publisher)
        }
        proxy.lose { _ in false }
        let done = try await listing()
        #expect(done.keyValues.count == 5)
        try await desire(registration("web"), registration("web", 1, port: 9090), by: &publisher)
        let after = try await keys()
        #expect(values(after)[Self.entryKey] == "10.0.0.1:8080")
        #expect(values(after)["/backends/web/000000000001"] == "10.0.0.1:9090")
        #expect(after["/backends/web/000000000002"] == nil)
        #expect(!log.contain("were deleted or changed"))
    }
}
