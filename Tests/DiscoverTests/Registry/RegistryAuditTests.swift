import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("Audits of the registry")
struct RegistryAuditTests {
    private let fixture = RegistryFixture([
        "web/1": "10.0.0.1:80", "web/2": "10.0.0.2:80", "-routes/r": #"{"host":"a","to":"web"}"#,
    ])

    /// A state of the fixture's keys and of one that is not of the contract.
    private var state: RegistryState {
        var state = RegistryState(keyspace: RegistryFixture.keyspace)
        let listing = Etcd.RangeResult(
            revision: 3, clusterID: "c", keyValues: fixture.keyValues, count: 4)
        state.replace(with: listing)
        return state
    }

    private func put(_ key: String, at revision: Int64) -> Etcd.KeyValue {
        Etcd.KeyValue(
            key: Array(("/backends/" + key).utf8), value: Array("10.0.0.9:80".utf8), createRevision: revision,
            modRevision: revision, lease: 0)
    }

    private func news(_ revision: Int64, _ keys: Etcd.KeyValue..., count: Int64, cluster: String = "c")
        -> Etcd.RangeResult
    {
        Etcd.RangeResult(revision: revision, clusterID: cluster, keyValues: keys, count: count)
    }

    @Test func `what etcd counts is what is there, and what is not of the contract is counted too`() {
        let audit = RegistryAudit(state)
        #expect(audit.agrees(state, news(9, count: 4), nil))
        #expect(!audit.agrees(state, news(9, count: 3), nil))
        #expect(!audit.agrees(state, news(9, count: 4, cluster: "d"), nil))
        #expect(!audit.agrees(state, news(2, count: 4), nil))
    }

    @Test func `a put that the watch did not bring is missing, and one that comes later is not`() {
        var (state, audit) = (state, RegistryAudit(state))
        let told = news(5, put("web/3", at: 5), count: 5)
        #expect(!audit.agrees(state, told, nil))
        state.apply(Etcd.Changes(revision: 5, events: [.put(put("web/3", at: 5))]))
        audit.note(state)
        #expect(audit.agrees(state, told, nil))
        // What changes after the answer changes nothing of it.
        state.apply(Etcd.Changes(revision: 6, events: [.delete(key: put("web/3", at: 5).key, modRevision: 6)]))
        audit.note(state)
        #expect(audit.agrees(state, told, nil))
        #expect(!audit.agrees(state, news(6, put("web/1", at: 6), count: 4), nil))
    }

    @Test func `a deletion that the watch did not bring is missing`() {
        var (state, audit) = (state, RegistryAudit(state))
        let told = news(7, put("web/3", at: 5), count: 4)
        state.apply(Etcd.Changes(revision: 5, events: [.put(put("web/3", at: 5))]))
        audit.note(state)
        #expect(!audit.agrees(state, told, nil))
        state.apply(Etcd.Changes(revision: 7, events: [.delete(key: put("web/1", at: 1).key, modRevision: 7)]))
        audit.note(state)
        #expect(audit.agrees(state, told, nil))
    }

    @Test func `all audits together take a fiftieth of a processor at most, and none is longer away than an hour`() {
        #expect(RegistryAudit.interval(keys: 20_000, agents: 100) == .seconds(100))
        #expect(RegistryAudit.interval(keys: 100, agents: 0) == .milliseconds(5))
        #expect(RegistryAudit.interval(keys: 100_000, agents: 1000) == .seconds(3600))
    }
}

@Suite(
    "Following the registry", .enabled(if: RealParts.canRun("etcd", "etcdctl"), "needs etcd"), .timeLimit(.minutes(1)))
struct RegistryWatcherTests {
    private static let limit = Duration.seconds(15)

    /// Follows a registry that changes, and counts what is asked of etcd; returns the requests and the log.
    private func follow(
        _ mode: RegistryWatcher.Mode,
        _ body: (Etcd.Client, SharedSnapshot<RegistryState?>, LossyProxy) async throws -> Void
    ) async throws -> CapturedLines {
        let server = try await EtcdServer()
        let proxy = try LossyProxy(before: server.port)
        let http = try #require(HTTPClient())
        let direct = Etcd.Client(http, Etcd.Configuration(endpoints: [server.origin]))
        // Streams do not pass that proxy.
        let origin = mode == .watch ? server.origin : proxy.origin
        let log = CapturedLines()
        let logger = Logger(level: .debug, format: .logfmt, write: log.add)
        let watcher = RegistryWatcher(
            client: Etcd.Client(http, Etcd.Configuration(endpoints: [origin])), keyspace: RegistryFixture.keyspace,
            mode: mode, timing: RegistryWatcher.Timing(auditInterval: .milliseconds(20)), logger: logger,
            health: EtcdHealth(logger))
        let newest = SharedSnapshot<RegistryState?>(nil)
        let task = Task { try await watcher.run { newest.put($0) } }
        defer { task.cancel() }
        #expect(await eventually { newest.read() != nil })
        try await body(direct, newest, proxy)
        return log
    }

    private func put(_ client: Etcd.Client, _ key: String, _ value: String) async throws {
        _ = try await client.commit(
            Etcd.Transaction([.put(key: "/backends" + key, value: Array(value.utf8), lease: 0)]), deadline: Self.limit)
    }

    @Test func `a watch that brings everything passes all audits, also while much changes`() async throws {
        let log = try await follow(.watch) { client, newest, _ in
            for number in 0..<300 {
                try await put(client, "/web/\(number % 40)", "10.0.0.1:\(1000 + number)")
                try await put(client, "-routes/r\(number % 7)", #"{"host":"h\#(number)","to":"web"}"#)
                if number % 3 == 0 { _ = try await client.delete("/backends/web/\(number % 40)", deadline: Self.limit) }
                if number % 50 == 0 { try await put(client, ".others/\(number)", "x") }
            }
            let listing = try await client.range(prefix: "/backends/", deadline: Self.limit)
            #expect(
                await eventually {
                    newest.read()?.records.count { $0.value.routeName == nil } == listing.keyValues.count
                })
        }
        #expect(!log.contain("missed changes") && !log.contain("etcd unreachable"))
    }

    @Test func `few docker-discovers come back to etcd at once, and a thousand of them over ten seconds`() {
        #expect(RegistryWatcher.spread(of: 100) == .zero)
        #expect(RegistryWatcher.spread(of: 200) == .seconds(2))
        #expect(RegistryWatcher.spread(of: 5000) == .seconds(10))
    }

    @Test func `polling reads what is new, and lists only where something is gone`() async throws {
        let log = try await follow(.poll(every: .milliseconds(20))) { client, newest, proxy in
            let first = proxy.requests.count { $0.contains("kv/range") }
            try await put(client, "/web/1", "10.0.0.1:1")
            #expect(await eventually { newest.read()?.records.count == 1 })
            // One look is one question for routes and endpoints, and one for claims.
            #expect(await eventually { proxy.requests.count { $0.contains("kv/range") } > first + 20 })
            try await put(client, "-routes/r", #"{"host":"h","to":"web"}"#)
            _ = try await client.delete("/backends/web/1", deadline: Self.limit)
            #expect(await eventually { newest.read()?.records.keys.count { $0.last == 114 } == 1 })
            #expect(await eventually { newest.read()?.records.count == 1 })
        }
        #expect(!log.contain("etcd unreachable"))
    }
}
