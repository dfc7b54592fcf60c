// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import TestSupport
import Testing

@testable import Discover

@Suite(
    "Consumer presence", .enabled(if: RealParts.canRun("etcd", "etcdctl"), "needs etcd"), .timeLimit(.minutes(1)))
struct ConsumerRegistrationTests {
    private let keyspace = Keyspace(prefix: "/backends")!

    @Test func `a docker-discover says that it runs, what it applied for those who wait, and that it ends`()
        async throws
    {
        let server = try await EtcdServer()
        let client = Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [server.origin]))
        var timing = ConsumerRegistration.Timing()
        timing.ttl = 3
        let presence = ConsumerRegistration(
            client, keyspace, instance: "i1", timing: timing,
            logger: Logger(level: .error, format: .logfmt, write: { _ in }))
        let task = Task { await presence.run() }
        func record() async throws -> ConsumerRecord? {
            let found = try await client.range(prefix: "/backends-consumers/", deadline: .seconds(15)).keyValues
            #expect(found.count <= 1)
            return found.first.flatMap { ConsumerRecord(json: $0.value) }
        }
        #expect(await eventually { (try? await record())?.revision == 0 })
        presence.confirm(17, of: "c1")
        #expect(await eventually { (try? await record())?.revision == 17 })
        #expect(try await record()?.cluster == "c1")
        // Somebody revokes the lease: it comes back.
        let all = try await client.range(prefix: "/backends-consumers/", deadline: .seconds(15)).keyValues
        try await client.revoke(lease: try #require(all.first).lease, deadline: .seconds(15))
        #expect(await eventually { (try? await record())?.revision == 17 })
        task.cancel()
        await task.value
        #expect(try await record() == nil)
    }

    @Test func `a stop before the answer to the first put takes the record back all the same`() async throws {
        let server = try await EtcdServer()
        let proxy = try LossyProxy(before: server.port)
        proxy.hold { $0.contains("/v3/kv/txn") }
        let presence = ConsumerRegistration(
            Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [proxy.origin])), keyspace,
            instance: "i1", logger: Logger(level: .error, format: .logfmt, write: { _ in }))
        let task = Task { await presence.run() }
        func isThere() async throws -> Bool { try await !server.ctl("get", "--prefix", "/backends-consumers/").isEmpty }
        #expect(try await eventually { try await isThere() })
        task.cancel()
        await task.value
        #expect(try await !isThere())
    }

    @Test func `what is to be confirmed is the newest revision that somebody asked it for`() {
        let key = Array("/backends/web/1/meta".utf8)
        func put(_ json: String, _ revision: Int64) -> Etcd.KeyValue {
            Etcd.KeyValue(key: key, value: Array(json.utf8), createRevision: 1, modRevision: revision, lease: 1)
        }
        var state = RegistryState(keyspace: keyspace)
        #expect(state.revisionToConfirm == 0)
        state.replace(
            with: Etcd.RangeResult(
                revision: 9, clusterID: "c", keyValues: [put(#"{"withdrawn":"drained","confirm":true}"#, 7)]))
        #expect(state.revisionToConfirm == 7)
        state.apply(Etcd.Changes(revision: 12, events: [.put(put(#"{"withdrawn":"x"}"#, 12))]))
        #expect(state.revisionToConfirm == 7)
        state.apply(Etcd.Changes(revision: 13, events: [.put(put(#"{"confirm":true}"#, 13))]))
        #expect(state.revisionToConfirm == 13)
        state.replace(with: Etcd.RangeResult(revision: 2, clusterID: "d", keyValues: []))
        #expect(state.revisionToConfirm == 0)
    }
}
