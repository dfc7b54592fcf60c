// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import TestSupport
import Testing

@testable import Register

@Suite("Plain keys", .enabled(if: RealParts.canRun("etcd", "etcdctl"), "needs etcd"), .timeLimit(.minutes(1)))
struct HostKeysTests {
    static let limit = Duration.seconds(15)

    let server: EtcdServer
    let etcd: Etcd.Client
    let registry: EntryStore
    let log = CapturedLines()

    init() async throws {
        server = try await EtcdServer()
        etcd = Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [server.origin]))
        registry = EntryStore(etcd: etcd, keyspace: Keyspace(prefix: "/backends")!, deadline: Self.limit)
    }

    private func plainKeys(_ keys: [String: String]) -> Publishing {
        let logger = Logger(level: .debug, format: .logfmt, write: log.add)
        return Publishing(keys: HostKeys(registry, logger: logger), desired: keys.mapValues { Array($0.utf8) })
    }

    /// Keys as the publisher has them applied.
    private struct Publishing {
        var keys: HostKeys
        var desired: [String: [UInt8]]
        var isRereading = false

        mutating func desire(_ keys: [String: [UInt8]]) { desired = keys }
        mutating func doubt() { isRereading = true }

        mutating func publish(under lease: Int64) async throws {
            try await keys.apply(desired, under: lease, rereading: isRereading)
            isRereading = false
        }
    }

    private func lease() async throws -> Int64 { try await etcd.grantLease(ttl: 60, deadline: Self.limit).id }

    private func listing() async throws -> Etcd.RangeResult { try await etcd.range(prefix: "/", deadline: Self.limit) }

    private func values() async throws -> [String: String] {
        Dictionary(
            uniqueKeysWithValues: try await listing().keyValues.map {
                (String(decoding: $0.key, as: UTF8.self), String(decoding: $0.value, as: UTF8.self))
            })
    }

    @Test func `keys are put under the lease, and looking again writes nothing`() async throws {
        let lease = try await lease()
        var keys = plainKeys(["/i/ip": "10.0.0.1", "/i/role": "db", "/i/empty": ""])
        try await keys.publish(under: lease)
        #expect(try await values() == ["/i/ip": "10.0.0.1", "/i/role": "db", "/i/empty": ""])
        let before = try await listing()
        #expect(before.keyValues.allSatisfy { $0.lease == lease })
        for _ in 0..<3 {
            keys.doubt()
            try await keys.publish(under: lease)
        }
        #expect(try await listing() == before)
        #expect(log.count(of: "host key published") == 3)
        #expect(log.all.count == 3)
    }

    @Test func `more keys than a transaction takes are put, changed and deleted`() async throws {
        let lease = try await lease()
        let all = Dictionary(uniqueKeysWithValues: (0..<300).map { ("/i/\($0)", String(repeating: "x", count: 8192)) })
        var keys = plainKeys(all)
        try await keys.publish(under: lease)
        #expect(try await listing().keyValues.count == 300)
        keys.desire(["/i/7": Array("new".utf8)])
        try await keys.publish(under: lease)
        #expect(try await values() == ["/i/7": "new"])
    }

    @Test func `an agent that starts again takes the keys over under its lease, by a put`() async throws {
        let first = try await lease()
        var before = plainKeys(["/i/ip": "10.0.0.1", "/i/gone": "x"])
        try await before.publish(under: first)
        let second = try await lease()
        var after = plainKeys(["/i/ip": "10.0.0.1"])
        try await after.publish(under: second)
        let keys = try await listing().keyValues
        let taken = try #require(keys.first { $0.key == Array("/i/ip".utf8) })
        #expect(taken.lease == second)
        // It was never missing.
        #expect(taken.createRevision < taken.modRevision)
        // What the file lost in the meantime goes with the former lease.
        #expect(keys.first { $0.key == Array("/i/gone".utf8) }?.lease == first)
        try await etcd.revoke(lease: first, deadline: Self.limit)
        #expect(try await values() == ["/i/ip": "10.0.0.1"])
    }

    @Test(arguments: [["put", "/i/ip", "other"], ["put", "/i/ip", "10.0.0.1"], ["del", "/i/ip"]])
    func `what somebody else does to them is put right, and told once`(command: [String]) async throws {
        let lease = try await lease()
        var keys = plainKeys(["/i/ip": "10.0.0.1"])
        try await keys.publish(under: lease)
        for _ in 0..<2 {
            if command.count == 3 {
                try await server.ctl(command[0], command[1], command[2])
            } else {
                try await server.ctl(command[0], command[1])
            }
            keys.doubt()
            try await keys.publish(under: lease)
            let found = try #require(try await listing().keyValues.first)
            #expect(found.value == Array("10.0.0.1".utf8) && found.lease == lease)
        }
        #expect(log.count(of: "were deleted or changed") == 1)
        keys.doubt()
        try await keys.publish(under: lease)
        try await server.ctl("del", "/i/ip")
        keys.doubt()
        try await keys.publish(under: lease)
        #expect(log.count(of: "were deleted or changed") == 2)
    }

    @Test func `under a new lease everything is put again, without a word about others`() async throws {
        let first = try await lease()
        var keys = plainKeys(["/i/ip": "10.0.0.1"])
        try await keys.publish(under: first)
        try await etcd.revoke(lease: first, deadline: Self.limit)
        let second = try await lease()
        try await keys.publish(under: second)
        #expect(try await listing().keyValues.map(\.lease) == [second])
        #expect(!log.contain("vanished"))
    }

    @Test func `a key is deleted when it is no longer wanted, unless somebody has taken it`() async throws {
        let lease = try await lease()
        var keys = plainKeys(["/i/a": "1", "/i/b": "2", "/i/c": "3", "/other": "4"])
        try await keys.publish(under: lease)
        try await server.ctl("put", "/i/b", "theirs")
        try await server.ctl("del", "/i/c")
        keys.desire(["/other": Array("4".utf8)])
        try await keys.publish(under: lease)
        #expect(try await values() == ["/i/b": "theirs", "/other": "4"])
        #expect(log.count(of: "host key removed") == 1)
    }

    @Test func `a lease that is gone is an error that tells so`() async throws {
        let lease = try await lease()
        try await etcd.revoke(lease: lease, deadline: Self.limit)
        var keys = plainKeys(["/i/a": "1"])
        let error = await #expect(throws: Etcd.Error.self) { try await keys.publish(under: lease) }
        #expect(error?.isLeaseGone == true)
    }

    @Test func `keys that etcd refuses are told once, and put when it takes them`() async throws {
        try await server.ctl("user", "add", "root:root")
        try await server.ctl("user", "grant-role", "root", "root")
        try await server.ctl("user", "add", "agent:agent")
        try await server.ctl("role", "add", "agent")
        try await server.ctl("role", "grant-permission", "agent", "readwrite", "/backends/", "--prefix")
        try await server.ctl("user", "grant-role", "agent", "agent")
        try await server.ctl("auth", "enable")
        let configuration = Etcd.Configuration(
            endpoints: [server.origin], credentials: Etcd.Credentials(user: "agent", password: "agent"))
        let etcd = Etcd.Client(try #require(HTTPClient()), configuration)
        let hostKeys = HostKeys(
            EntryStore(etcd: etcd, keyspace: registry.keyspace, deadline: Self.limit),
            logger: Logger(level: .debug, format: .logfmt, write: log.add))
        var keys = Publishing(keys: hostKeys, desired: ["/i/a": [1]])
        let lease = try await etcd.grantLease(ttl: 60, deadline: Self.limit).id
        for _ in 0..<3 {
            keys.doubt()
            try await keys.publish(under: lease)
        }
        #expect(log.count(of: "etcd rejected the host keys") == 1)
        try await server.ctl("--user=root:root", "role", "grant-permission", "agent", "readwrite", "/i/", "--prefix")
        keys.doubt()
        try await keys.publish(under: lease)
        #expect(log.contain("etcd accepts the host keys again"))
        #expect(log.contain("host key published", "/i/a"))
    }
}
