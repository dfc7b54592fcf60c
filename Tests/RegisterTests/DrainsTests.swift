// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import TestSupport
import Testing

@testable import Register

@Suite("Drains", .enabled(if: RealParts.canRun("etcd", "etcdctl"), "needs etcd"), .timeLimit(.minutes(1)))
struct DrainsTests {
    private static let owner = Owner(Docker.Identity(id: "ENGINE", name: "host1"), IPAddress("10.0.0.1")!)
    private static let time = "2026-01-01T00:00:00Z"

    private let server: EtcdServer
    private let registry: EntryStore

    init() async throws {
        server = try await EtcdServer()
        let etcd = Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [server.origin]))
        registry = EntryStore(etcd: etcd, keyspace: Keyspace(prefix: "/backends")!, deadline: .seconds(15))
    }

    private func drains(_ owner: Owner = Self.owner) -> Drains {
        Drains(registry, owner, logger: Logger(level: .error, format: .logfmt, write: { _ in }))
    }

    private func container(_ id: String, started: String = "1") -> Docker.Container {
        Docker.Container(
            id: InstanceID(containerID: id)!, name: "c", image: "web", labels: [:], environment: [:], started: started,
            bindings: [])
    }

    private func look(_ containers: [Docker.Container], paused: Docker.Container? = nil) -> Docker.ContainerList {
        let idle = paused.map { paused in
            var subject = paused.subject
            subject.state = "paused"
            return [Docker.StoppedContainer(subject: subject, reason: .notRunning(state: "paused"))]
        }
        return Docker.ContainerList(containers: containers, idle: idle ?? [])
    }

    @Test func `a drain outlives the agent, and ends with the container's life or by undrain`() async throws {
        let (one, two) = (container("aaaaaaaaaaaa"), container("bbbbbbbbbbbb"))
        var first = drains()
        try await first.load()
        first.accept(look([one, two]))
        first.drain(one, at: Self.time)
        first.drain(two, at: Self.time)
        try await first.store()
        var second = drains()
        try await second.load()
        second.accept(look([one, two]))
        #expect(second.ids == [one.id, two.id])
        #expect(second.since(one.id) == Self.time)
        // It is paused: still the same life.
        second.accept(look([one], paused: two))
        #expect(second.ids == [one.id, two.id])
        second.accept(look([container("aaaaaaaaaaaa", started: "2"), two]))
        #expect(second.ids == [two.id])
        second.undrain(two.id)
        try await second.store()
        var third = drains()
        try await third.load()
        third.accept(look([one, two]))
        #expect(third.ids == [])
    }

    @Test func `a drain of the services file outlives agent and address, until the file lists the instance no more`()
        async throws
    {
        let id = InstanceID("main")!
        var first = drains()
        try await first.load()
        first.accept(look([]), services: [id])
        first.drain(id, of: ServiceName("db")!, at: Self.time)
        first.accept(look([]), services: [id])
        #expect(first.ids == [id])
        try await first.store()
        var moved = Self.owner
        moved.address = IPAddress("10.0.0.9")!
        var second = drains(moved)
        try await second.load()
        // The engine has not listed its containers: what was drained does not come back meanwhile.
        #expect(second.ids == [id])
        second.accept(look([]), services: [id])
        #expect(second.ids == [id])
        second.accept(look([]), services: [])
        #expect(second.ids == [])
        try await second.store()
        #expect(try await server.ctl("get", "--prefix", "/backends-drained/") == [])
        var another = drains(Owner(Docker.Identity(id: "OTHER", name: "host2"), IPAddress("10.0.0.1")!))
        try await first.store(rereading: true)
        try await another.load()
        another.accept(look([]), services: [id])
        #expect(another.ids == [])
    }

    @Test func `etcd's copy is put back, and those of other agents stay`() async throws {
        let one = container("aaaaaaaaaaaa")
        var mine = drains()
        try await mine.load()
        mine.accept(look([one]))
        mine.drain(one, at: Self.time)
        try await mine.store()
        let foreign = #"{"container":"x","started":"1","owner":"OTHER@10.0.0.2","at":"t"}"#
        let etcd = registry.etcd
        _ = try await etcd.commit(
            Etcd.Transaction([
                .delete(key: "/backends-drained/aaaaaaaaaaaa"),
                .put(key: "/backends-drained/cccccccccccc", value: Array(foreign.utf8), lease: 0),
                .put(key: "/backends-drained/dddddddddddd", value: Array("nonsense".utf8), lease: 0),
            ]), deadline: .seconds(15))
        try await mine.store(rereading: true)
        let keys = try await etcd.range(prefix: "/backends-drained/", deadline: .seconds(15)).keyValues
        #expect(
            keys.map { String(decoding: $0.key.suffix(12), as: UTF8.self) } == [
                "aaaaaaaaaaaa", "cccccccccccc", "dddddddddddd",
            ])
        #expect(mine.ids == [one.id])
    }

    @Test func `a drain outlives a change of the host's address while no agent runs`() async throws {
        let (one, two) = (container("aaaaaaaaaaaa"), container("bbbbbbbbbbbb"))
        var before = drains()
        try await before.load()
        before.accept(look([one, two]))
        before.drain(one, at: Self.time)
        before.drain(two, at: Self.time)
        try await before.store()
        let owner = Owner(Docker.Identity(id: "ENGINE", name: "host1"), IPAddress("10.0.0.2")!)
        // One has another life now; one of a copied machine is none of this agent's.
        let now = look([one, container("bbbbbbbbbbbb", started: "2")])
        var after = drains(owner)
        try await after.load()
        after.accept(now)
        #expect(after.ids == [one.id])
        try await after.store()
        let key = "/backends-drained/aaaaaaaaaaaa"
        let kept = try await registry.etcd.range(prefix: key, deadline: .seconds(15)).keyValues
        #expect(kept.contains { String(decoding: $0.value, as: UTF8.self).contains("ENGINE@10.0.0.2") })
        after.undrain(one.id)
        try await after.store(rereading: true)
        var last = drains()
        try await last.load()
        last.accept(look([one, two]))
        #expect(last.ids == [two.id])
        var paused = drains(owner)
        try await paused.load()
        paused.accept(look([], paused: two))
        #expect(paused.ids == [two.id])
    }

    @Test func `a role that may not write drains costs only that they end with the agent`() async throws {
        let empty = #"{"header":{"cluster_id":"1","revision":"5"},"count":"0"}"#
        let refusal = #"{"error":"etcdserver: permission denied","code":7,"message":"etcdserver: permission denied"}"#
        let stub = try StubEtcd(["kv/range": [.init(200, empty)], "kv/txn": [.init(403, refusal)]])
        let lines = CapturedLines()
        let etcd = Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [stub.origin]))
        let registry = EntryStore(etcd: etcd, keyspace: Keyspace(prefix: "/backends")!, deadline: .seconds(15))
        let logger = Logger(level: .warning, format: .logfmt, write: lines.add)
        var drains = Drains(registry, Self.owner, logger: logger)
        let one = container("aaaaaaaaaaaa")
        try await drains.load()
        drains.accept(look([one]))
        drains.drain(one, at: Self.time)
        try await drains.store()
        try await drains.store()
        #expect(drains.ids == [one.id])
        #expect(lines.count(of: "they end with this agent") == 1)
        #expect(lines.all.count == 1)
    }
}
