import Synchronization
import TestSupport
import Testing

@testable import Shared

@Suite("etcd watch", .enabled(if: RealParts.canRun("etcd", "etcdctl"), "needs etcd"), .timeLimit(.minutes(1)))
struct EtcdWatchTests {
    private static let limit = Duration.seconds(15)
    private let http: HTTPClient

    init() throws {
        http = try #require(HTTPClient())
    }

    private func client(_ origins: HTTPOrigin...) -> Etcd.Client {
        Etcd.Client(http, Etcd.Configuration(endpoints: origins))
    }

    private func put(_ etcd: Etcd.Client, _ key: String, _ value: String) async throws {
        _ = try await etcd.commit(
            Etcd.Transaction([.put(key: key, value: Array(value.utf8), lease: 0)]), deadline: Self.limit)
    }

    /// The values of the next puts, in order.
    private func values(_ count: Int, _ reader: inout Etcd.Watch.Iterator) async throws -> [String] {
        var values: [String] = []
        while values.count < count, let changes = try await reader.next() {
            for case .put(let keyValue) in changes.events {
                values.append(String(decoding: keyValue.value, as: UTF8.self))
            }
        }
        return values
    }

    private func watch(
        _ etcd: Etcd.Client, _ timing: Etcd.Watch.Timing = .init(),
        onInterruption: @escaping @Sendable (any Error) -> Void = { _ in }
    ) async throws -> Etcd.Watch {
        let now = try await etcd.range(prefix: "/b/", deadline: Self.limit)
        return etcd.watch(
            prefix: "/b/", after: now.revision, of: now.clusterID, timing: timing, onInterruption: onInterruption)
    }

    @Test func `puts and deletions below the prefix arrive in order, from the revision on, and nothing else`()
        async throws
    {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        try await put(etcd, "/b/early", "0")
        let watch = try await watch(etcd)
        try await put(etcd, "/b/x", "1")
        try await put(etcd, "/c/x", "other")
        _ = try await etcd.commit(Etcd.Transaction([.delete(key: "/b/x")]), deadline: Self.limit)
        var reader = watch.makeAsyncIterator()
        var events: [Etcd.Event] = []
        while events.count < 2, let changes = try await reader.next() {
            #expect(changes.events.allSatisfy { $0.revision <= changes.revision })
            events += changes.events
        }
        guard case .put(let keyValue) = events[0] else { throw Etcd.Error.malformed(server: "", reason: "no put") }
        #expect(keyValue.value == Array("1".utf8))
        #expect(events[1] == .delete(key: Array("/b/x".utf8), modRevision: keyValue.modRevision + 2))
    }

    @Test func `after a restart of etcd the watch goes on without gap or repetition`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        let interruptions = Mutex(0)
        var reader = try await watch(etcd) { _ in interruptions.withLock { $0 += 1 } }.makeAsyncIterator()
        try await put(etcd, "/b/x", "1")
        #expect(try await values(1, &reader) == ["1"])
        try await put(etcd, "/b/x", "2")
        try await server.kill()
        try await server.start()
        try await put(etcd, "/b/x", "3")
        #expect(try await values(2, &reader) == ["2", "3"])
        #expect(interruptions.withLock { $0 } > 0)
    }

    @Test func `clients that no member takes spread, and those that lose one member go on at once`() async throws {
        let (first, second) = (try await EtcdServer(), try await EtcdServer())
        let asked = Mutex(0)
        let timing = Etcd.Watch.Timing {
            asked.withLock { $0 += 1 }
            return .milliseconds(20)
        }
        // Two clusters for the client, as it is told no cluster.
        let watch = client(first.origin, second.origin).watch(prefix: "/b/", after: 0, timing: timing)
        let lines = SharedSnapshot(0)
        let task = Task { for try await _ in watch { lines.put(lines.read() + 1) } }
        defer { task.cancel() }
        #expect(await eventually { lines.read() == 1 })
        try await first.kill()
        #expect(await eventually { lines.read() == 2 })
        #expect(asked.withLock { $0 } == 0)
        try await second.kill()
        #expect(await eventually { asked.withLock { $0 } > 5 })
        try await second.start()
        #expect(await eventually { lines.read() == 3 })
    }

    @Test func `each connection is told by changes without events`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        let now = try await etcd.range(prefix: "/b/", deadline: Self.limit).revision
        var reader = try await watch(etcd).makeAsyncIterator()
        #expect(try await reader.next() == Etcd.Changes(revision: now, events: []))
        try await server.kill()
        try await server.start()
        #expect(try await reader.next() == Etcd.Changes(revision: now, events: []))
    }

    @Test func `a compaction of what was missed is thrown, with the oldest revision that is left`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        let watch = try await watch(etcd)
        for number in 0..<5 { try await put(etcd, "/b/x", "\(number)") }
        let newest = try await etcd.range(prefix: "/b/", deadline: Self.limit).revision
        try await server.ctl("compaction", "\(newest)")
        var reader = watch.makeAsyncIterator()
        await #expect(throws: Etcd.Error.compacted(oldest: newest)) {
            while try await reader.next() != nil {}
        }
    }

    @Test func `a store that lost its data is told, rather than watched in vain`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        for number in 0..<5 { try await put(etcd, "/b/x", "\(number)") }
        var reader = try await watch(etcd).makeAsyncIterator()
        _ = try await reader.next()
        try await server.kill()
        try server.wipe()
        try await server.start()
        await #expect {
            while try await reader.next() != nil {}
        } throws: {
            if case Etcd.Error.storeReplaced? = $0 as? Etcd.Error { true } else { false }
        }
    }

    @Test func `a member that hangs is noticed by the periodic read and left for another`() async throws {
        let server = try await EtcdServer()
        let direct = client(server.origin)
        let now = try await direct.range(prefix: "/b/", deadline: Self.limit).revision
        let hanging = try StubServer { client in
            guard client.request()?.contains("/v3/watch") == true else { return client.waitForEnd() }
            client.send("HTTP/1.1 200 OK\r\n\r\n{\"result\":{\"header\":{\"revision\":\"\(now)\"},\"created\":true}}\n")
            client.waitForEnd()
        }
        let etcd = client(.tcp("http://127.0.0.1:\(hanging.port)"), server.origin)
        let timing = Etcd.Watch.Timing(deadline: .milliseconds(400), probeInterval: .milliseconds(200))
        let watch = etcd.watch(prefix: "/b/", after: now, timing: timing)
        var reader = watch.makeAsyncIterator()
        #expect(try await reader.next() == Etcd.Changes(revision: now, events: []))
        try await put(direct, "/b/x", "1")
        #expect(try await values(1, &reader) == ["1"])
    }

    @Test func `a watch that is cancelled ends at once, connected or not`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        let isConnected = Mutex(false)
        let watch = try await watch(etcd)
        let task = Task {
            for try await _ in watch { isConnected.withLock { $0 = true } }
        }
        #expect(await eventually { isConnected.withLock { $0 } })
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        try await server.kill()
        let late = Task { for try await _ in watch {} }
        late.cancel()
        await #expect(throws: CancellationError.self) { try await late.value }
    }

    @Test func `a thousand keys that go with one lease arrive together`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        let lease = try await etcd.grantLease(ttl: 600, deadline: Self.limit)
        for start in stride(from: 0, to: 5000, by: 100) {
            let puts = (start..<start + 100).map {
                Etcd.Transaction.Operation.put(key: "/b/\($0)", value: Array("v".utf8), lease: lease.id)
            }
            _ = try await etcd.commit(Etcd.Transaction(puts), deadline: Self.limit)
        }
        var reader = try await watch(etcd).makeAsyncIterator()
        _ = try await reader.next()
        try await etcd.revoke(lease: lease.id, deadline: Self.limit)
        let changes = try #require(try await reader.next())
        #expect(changes.events.count == 5000)
        #expect(Set(changes.events.map(\.revision)).count == 1)
    }
}
