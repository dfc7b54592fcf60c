// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Synchronization
import TestSupport
import Testing

@testable import Register

@Suite("Publisher", .enabled(if: RealParts.canRun("etcd", "etcdctl"), "needs etcd"), .timeLimit(.minutes(1)))
struct PublisherTests {
    static let limit = Duration.seconds(15)
    static let owner = Owner(
        Docker.Identity(id: "ENGINE", name: "host1", place: "here"), IPAddress("10.0.0.1")!)
    static let other = Owner(Docker.Identity(id: "OTHER", name: "host2"), IPAddress("10.0.0.2")!)

    let server: EtcdServer
    let http: HTTPClient
    let log = CapturedLines()

    init() async throws {
        server = try await EtcdServer()
        http = try #require(HTTPClient())
    }

    func registry(_ origin: HTTPOrigin? = nil) -> EntryStore {
        let etcd = Etcd.Client(http, Etcd.Configuration(endpoints: [origin ?? server.origin]))
        return EntryStore(etcd: etcd, keyspace: Keyspace(prefix: "/backends")!, deadline: Self.limit)
    }

    func publisher(
        _ owner: Owner = owner, at origin: HTTPOrigin? = nil, ttl: Duration = .seconds(60), skew: Skew = Skew()
    ) -> Publishing {
        Publishing(
            Publisher(
                registry(origin), owner, ttl: ttl, logger: Logger(level: .debug, format: .logfmt, write: log.add),
                clock: { skew.now }))
    }

    /// A publisher as the loop has it apply things: what was desired last, and again in full what has failed.
    struct Publishing {
        private(set) var publisher: Publisher
        private var desired: Desired?
        private var isRereading = false
        private var isRenewing = false
        private var isAuditing = false

        init(_ publisher: Publisher) { self.publisher = publisher }

        mutating func desire(_ desired: Desired) { self.desired = desired }
        mutating func doubt() { isRereading = true }
        mutating func audit() { isAuditing = true }
        mutating func renewalIsDue() { isRenewing = true }
        mutating func move(to address: IPAddress) { publisher.move(to: address) }

        mutating func publish() async throws {
            guard let desired else {
                _ = try await publisher.load()
                return
            }
            try await publisher.apply(desired, rereading: isRereading, auditing: isAuditing, renewing: isRenewing)
            (isRereading, isAuditing, isRenewing) = (false, false, false)
        }
    }

    /// How far the publishers' clock is ahead.
    final class Skew: Sendable {
        let ahead = Mutex(Duration.zero)
        var now: ContinuousClock.Instant { .now + ahead.withLock { $0 } }
    }

    func registration(_ service: String, _ number: Int = 0, port: Int = 8080, _ owner: Owner = owner) throws
        -> DesiredEntry
    {
        let id = String(number, radix: 16)
        var meta = Meta()
        meta.container = "c"
        meta.owner = owner.text
        meta.options.port = Port(8000)
        return DesiredEntry(
            id: EntryID(
                service: ServiceName(service)!,
                id: InstanceID(containerID: String(repeating: "0", count: 12 - id.count) + id)!),
            endpoint: Endpoint(address: owner.address, port: Port(port)!), meta: try meta.json(), source: .container)
    }

    static func desired(_ entries: [DesiredEntry]) -> Desired {
        Desired(entries: Dictionary(uniqueKeysWithValues: entries.map { ($0.id, $0) }))
    }

    func desire(_ registrations: DesiredEntry..., by publisher: inout Publishing) async throws {
        publisher.desire(Self.desired(registrations))
        try await publisher.publish()
    }

    func listing() async throws -> Etcd.RangeResult {
        try await registry().etcd.range(prefix: "/backends/", deadline: Self.limit)
    }

    func keys() async throws -> [String: Etcd.KeyValue] {
        Dictionary(
            uniqueKeysWithValues: try await listing().keyValues.map { (String(decoding: $0.key, as: UTF8.self), $0) })
    }

    func commit(_ operations: Etcd.Transaction.Operation...) async throws {
        _ = try await registry().etcd.commit(Etcd.Transaction(operations), deadline: Self.limit)
    }

    func values(_ keys: [String: Etcd.KeyValue]) -> [String: String] {
        keys.mapValues { String(decoding: $0.value, as: UTF8.self) }
    }

    static let entryKey = "/backends/web/000000000000"
    static let metaKey = entryKey + "/meta"

    // MARK: Putting

    @Test func `an entry and its meta are put in one revision, under the lease`() async throws {
        var publisher = publisher()
        let web = try registration("web")
        try await desire(web, by: &publisher)
        let keys = try await keys()
        let entry = try #require(keys[Self.entryKey])
        let meta = try #require(keys[Self.metaKey])
        #expect(keys.count == 2)
        #expect(entry.value == Array("10.0.0.1:8080".utf8))
        #expect(meta.value == web.meta)
        #expect(entry.modRevision == meta.modRevision)
        #expect(entry.lease == meta.lease && entry.lease != 0)
        let state = try await registry().etcd.timeToLive(lease: entry.lease, deadline: Self.limit)
        #expect((state.remaining ?? 0) > 50)
        let ofLease = state.keys.map { String(decoding: $0, as: UTF8.self) }
        #expect(Set(ofLease.filter { $0.hasPrefix("/backends/") }) == [Self.entryKey, Self.metaKey])
        #expect(ofLease.count(where: { $0.hasPrefix("/backends-agents/ENGINE/") }) == 1)
        #expect(ofLease.count == 3)
    }

    @Test func `it is known when, and at which revision, an entry was put`() async throws {
        var publisher = publisher()
        let web = try registration("web")
        try await desire(web, by: &publisher)
        let put = try #require(publisher.publisher.registered?[web.id]?.put)
        #expect(put.revision == (try await keys()[Self.entryKey])?.modRevision)
        #expect(put.time?.hasPrefix("20") == true)
        // Reading it anew forgets nothing, and a change of somebody else is not taken for ours.
        publisher.doubt()
        try await publisher.publish()
        #expect(publisher.publisher.registered?[web.id]?.put == put)
        try await desire(registration("web", port: 8081), by: &publisher)
        #expect(publisher.publisher.registered?[web.id]?.put?.revision ?? 0 > put.revision)
    }

    @Test func `a turn with nothing to do makes no revision, in doubt or not`() async throws {
        var publisher = publisher()
        try await desire(registration("web"), registration("web", 1), by: &publisher)
        let revision = try await listing().revision
        for _ in 0..<5 {
            try await publisher.publish()
            publisher.doubt()
            try await publisher.publish()
            publisher.renewalIsDue()
            try await desire(registration("web"), registration("web", 1), by: &publisher)
        }
        #expect(try await listing().revision == revision)
    }

    @Test func `only what changed is put again`() async throws {
        var publisher = publisher()
        try await desire(registration("web"), registration("api"), by: &publisher)
        let before = try await keys()
        try await desire(registration("web", port: 8081), registration("api"), by: &publisher)
        let after = try await keys()
        #expect(values(after)[Self.entryKey] == "10.0.0.1:8081")
        #expect(after["/backends/api/000000000000"] == before["/backends/api/000000000000"])
    }

    @Test func `300 entries are put in transactions that etcd takes, and withdrawn too`() async throws {
        var publisher = publisher()
        let all = try (0..<300).map { try registration("web", $0) }
        publisher.desire(Self.desired(all))
        try await publisher.publish()
        let keys = try await listing().keyValues
        #expect(keys.count == 600)
        let sizes = Dictionary(grouping: keys, by: \.modRevision).values.map(\.count)
        #expect(sizes.max() ?? 0 <= Etcd.Transaction.mostOperations)
        #expect(sizes.count == 5)
        publisher.doubt()
        try await publisher.publish()
        #expect(try await listing().keyValues == keys)
        publisher.desire(Desired())
        try await publisher.publish()
        #expect(try await listing().keyValues.count == 300)
    }

    // MARK: Withdrawing

    @Test func `a withdrawal is one transaction that deletes the entry and says why, under the lease`() async throws {
        var publisher = publisher()
        try await desire(registration("web"), by: &publisher)
        let lease = try #require(try await keys()[Self.entryKey]).lease
        let now = try await listing()
        var reader = registry().etcd.watch(prefix: "/backends/", after: now.revision, of: now.clusterID)
            .makeAsyncIterator()
        _ = try await reader.next()
        try await desire(by: &publisher)
        let changes = try #require(try await reader.next())
        #expect(changes.events.map(\.revision) == [now.revision + 1, now.revision + 1])
        #expect(changes.events.contains(.delete(key: Array(Self.entryKey.utf8), modRevision: now.revision + 1)))
        let keys = try await keys()
        #expect(keys.count == 1)
        let left = try #require(keys[Self.metaKey])
        #expect(left.lease == lease)
        let meta = try #require(Meta(json: left.value))
        #expect(meta.withdrawn == "container stopped")
        #expect(meta.at?.isEmpty == false)
        #expect(meta.owner == nil)
    }

    @Test func `a container that runs on without the port is withdrawn for that`() async throws {
        var publisher = publisher()
        let web = try registration("web")
        try await desire(web, by: &publisher)
        publisher.desire(Desired(withdrawalReasons: [web.id.id: "no longer published"]))
        try await publisher.publish()
        #expect(Meta(json: try #require(try await keys()[Self.metaKey]).value)?.withdrawn == "no longer published")
    }

    @Test func `what a withdrawal left is deleted some TTLs later, unless it has changed since`() async throws {
        let skew = Skew()
        var publisher = publisher(skew: skew)
        try await desire(registration("web"), registration("web", 1), registration("web", 2), by: &publisher)
        try await desire(by: &publisher)
        #expect(try await keys().count == 3)
        // One is changed by somebody, and one is registered again.
        let own = #"{"note":"mine"}"#
        try await commit(.put(key: "/backends/web/000000000001/meta", value: Array(own.utf8), lease: 0))
        try await desire(registration("web", 2), by: &publisher)
        skew.ahead.withLock { $0 += .seconds(120) }
        try await publisher.publish()
        #expect(try await keys()[Self.metaKey] != nil)
        skew.ahead.withLock { $0 += .seconds(61) }
        try await publisher.publish()
        let left = try await keys()
        #expect(values(left)["/backends/web/000000000001/meta"] == own)
        #expect(values(left)["/backends/web/000000000002"] == "10.0.0.1:8080")
        #expect(left.count == 3)
    }
}
