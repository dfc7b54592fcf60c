// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import FoundationEssentials
import Shared
import Synchronization
import TestSupport
import Testing

@testable import Register

@Suite("Address conflicts", .enabled(if: RealParts.canRun("etcd", "etcdctl"), "needs etcd"), .timeLimit(.minutes(1)))
struct AddressConflictsTests {
    /// The time, as the test moves it on.
    private final class Clock: Sendable {
        private let passed = Mutex(Duration.zero)
        private let start = ContinuousClock.now
        var now: ContinuousClock.Instant { start + passed.withLock { $0 } }
        func move(_ duration: Duration) { passed.withLock { $0 += duration } }
    }

    private let server: EtcdServer
    private let store: EntryStore
    private let clock = Clock()
    private let lines = CapturedLines()
    private let owner = Owner(
        Docker.Identity(id: "E1", name: "host1", place: "boot1 /var/lib/docker"), IPAddress("10.0.0.1")!)

    init() async throws {
        server = try await EtcdServer()
        let etcd = Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [server.origin]))
        store = EntryStore(etcd: etcd, keyspace: Keyspace(prefix: "/backends")!, deadline: .seconds(15))
    }

    private func put(_ key: String, host: String, owner: String, place: String?, lease: Int64) async throws {
        let record = AgentRegistration.Record(host: host, pid: 7, started: "t", owner: owner, place: place)
        let value = [UInt8](try JSONEncoder().encode(record))
        _ = try await store.etcd.commit(
            Etcd.Transaction([.put(key: "/backends-agents/\(key)", value: value, lease: lease)]),
            deadline: .seconds(15))
    }

    private func conflicts() -> AddressConflicts {
        AddressConflicts(
            store, pause: .seconds(5), logger: Logger(level: .info, format: .logfmt, write: lines.add),
            clock: { [clock] in clock.now })
    }

    @Test func `another host with the same HOST_IP is told once its lease was seen renewed, and when it has gone`()
        async throws
    {
        let lease = try await store.etcd.grantLease(ttl: 10, deadline: .seconds(15)).id
        try await put("E2/a", host: "host2", owner: "E2@10.0.0.1", place: "boot2 /var/lib/docker", lease: lease)
        var conflicts = conflicts()
        await conflicts.update(for: owner)
        // It may be the record of a dead agent, whose host this one replaces.
        #expect(conflicts.warnings == [])
        clock.move(.seconds(6))
        await conflicts.update(for: owner)
        #expect(conflicts.warnings == [])
        clock.move(.seconds(7))
        await conflicts.update(for: owner)
        #expect(conflicts.warnings == ["host2 registers with this HOST_IP too (process 7, since t)"])
        clock.move(.seconds(61))
        await conflicts.update(for: owner)
        #expect(lines.count(of: "another host registers with the same HOST_IP") == 1)
        try await server.ctl("del", "--prefix", "/backends-agents/")
        // Everybody's records are not read at each turn.
        await conflicts.update(for: owner)
        #expect(conflicts.warnings.count == 1)
        clock.move(.seconds(61))
        await conflicts.update(for: owner)
        #expect(conflicts.warnings == [])
        #expect(lines.count(of: "no other host registers with the same HOST_IP any more") == 1)
    }

    @Test(arguments: [
        ("host2", "E2@10.0.0.2", "boot2 /x"), ("host2", "E2@110.0.0.1", "boot2 /x"),
        // Another engine of this machine, whatever it is called.
        ("host1", "E2@10.0.0.1", "boot1 /x"), ("other", "E2@10.0.0.1", "boot1 /x"), ("host1", "E2@10.0.0.1", nil),
    ])
    func `other addresses, and other engines of this host, are no conflict`(
        host: String, owner: String, place: String?
    ) async throws {
        let lease = try await store.etcd.grantLease(ttl: 2, deadline: .seconds(15)).id
        try await put("E2/a", host: host, owner: owner, place: place, lease: lease)
        var conflicts = conflicts()
        for _ in 0..<3 {
            await conflicts.update(for: self.owner)
            clock.move(.seconds(61))
        }
        #expect(conflicts.warnings == [])
    }
}
