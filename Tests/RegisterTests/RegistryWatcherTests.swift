// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Synchronization
import TestSupport
import Testing

@testable import Register

@Suite("Registry watcher", .enabled(if: RealParts.canRun("etcd", "etcdctl"), "needs etcd"), .timeLimit(.minutes(1)))
struct RegistryWatcherTests {
    private static let limit = Duration.seconds(15)

    private final class Rings: Sendable {
        private let number = Atomic(0)
        func ring() { number.add(1, ordering: .relaxed) }
        var count: Int { number.load(ordering: .relaxed) }
    }

    @Test func `in a large fleet it does not watch, and in one that becomes large it stops`() async throws {
        let server = try await EtcdServer()
        let http = try #require(HTTPClient())
        let etcd = Etcd.Client(http, Etcd.Configuration(endpoints: [server.origin]))
        let registry = EntryStore(etcd: etcd, keyspace: Keyspace(prefix: "/b")!, deadline: Self.limit)
        let (expectation, rings) = (RegistryWatcher.ExpectedValues(), Rings())
        let fleet = SharedSnapshot<Int?>(RegistryWatcher.mostWatching)
        let watcher = RegistryWatcher(registry, expectation, fleet, logger: .discard)
        let task = Task { try await watcher.run { rings.ring() } }
        defer { task.cancel() }
        func change() async throws {
            let put = Etcd.Transaction([.put(key: "/b/web/1", value: [1], lease: 0)])
            _ = try await etcd.commit(put, deadline: Self.limit)
        }
        #expect(await eventually { rings.count == 1 })
        expectation.set("/b/web/1", to: [2])
        try await change()
        #expect(await eventually { rings.count == 2 })
        fleet.put(RegistryWatcher.mostWatching + 1)
        try await change()
        func watchers() async throws -> String {
            let answer = try await http.send(
                HTTPRequest(.get, "/metrics"), to: server.origin, deadline: Self.limit, cap: 4 << 20)
            return String(decoding: answer.body, as: UTF8.self).split(separator: "\n")
                .first { $0.hasPrefix("etcd_debugging_mvcc_watcher_total ") }.map(String.init) ?? ""
        }
        #expect(try await eventually { try await watchers().hasSuffix(" 0") })
        #expect(rings.count == 2)
    }

    @Test func `it rings when it is connected, when our keys change, and not for others or our own changes`()
        async throws
    {
        let server = try await EtcdServer()
        let etcd = Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [server.origin]))
        let registry = EntryStore(etcd: etcd, keyspace: Keyspace(prefix: "/b")!, deadline: Self.limit)
        let expectation = RegistryWatcher.ExpectedValues()
        let rings = Rings()
        let watcher = RegistryWatcher(registry, expectation, logger: .discard)
        let task = Task { try await watcher.run { rings.ring() } }
        defer { task.cancel() }
        func change(_ operations: Etcd.Transaction.Operation...) async throws {
            _ = try await etcd.commit(Etcd.Transaction(operations), deadline: Self.limit)
        }
        #expect(await eventually { rings.count == 1 })
        // Somebody else's entry, then our own one, then a change of ours by somebody: only the last one rings.
        try await change(.put(key: "/b/web/1", value: [1], lease: 0))
        expectation.set("/b/web/2", to: [2])
        try await change(.put(key: "/b/web/2", value: [2], lease: 0))
        try await change(.put(key: "/b/web/2", value: [3], lease: 0))
        #expect(await eventually { rings.count == 2 })
        try await change(.delete(key: "/b/web/2"))
        #expect(await eventually { rings.count == 3 })
        // What we no longer care about.
        expectation.set("/b/web/2", to: nil)
        try await change(.put(key: "/b/web/2", value: [9], lease: 0))
        expectation.set("/b/web/3", to: [3])
        try await change(.delete(key: "/b/web/2"), .put(key: "/b/web/3", value: [4], lease: 0))
        #expect(await eventually { rings.count == 4 })
        try await server.kill()
        try await server.start()
        #expect(await eventually { rings.count == 5 })
    }
}
