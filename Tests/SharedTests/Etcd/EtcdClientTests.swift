import Synchronization
import TestSupport
import Testing

@testable import Shared

@Suite("etcd client", .enabled(if: RealParts.canRun("etcd", "etcdctl"), "needs etcd"), .timeLimit(.minutes(1)))
struct EtcdClientTests {
    private static let limit = Duration.seconds(15)
    private let http: HTTPClient

    init() throws {
        http = try #require(HTTPClient())
    }

    private func client(_ origins: HTTPOrigin..., credentials: Etcd.Credentials? = nil) -> Etcd.Client {
        Etcd.Client(http, Etcd.Configuration(endpoints: origins, credentials: credentials))
    }

    private func put(_ pairs: [(String, String)], lease: Int64 = 0) -> Etcd.Transaction {
        Etcd.Transaction(pairs.map { .put(key: $0.0, value: Array($0.1.utf8), lease: lease) })
    }

    // MARK: Keys

    @Test func `a listing of many pages shows one revision, all keys, and nothing beside the prefix`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        for start in stride(from: 0, to: 7000, by: 100) {
            let pairs = (start..<start + 100).map { ("/b/\(10_000 + $0)", "v\($0)") }
            _ = try await etcd.commit(put(pairs), deadline: Self.limit)
        }
        _ = try await etcd.commit(put([("/a", "x"), ("/b", "x"), ("/c", "x")]), deadline: Self.limit)
        let listing = try await etcd.range(prefix: "/b/", deadline: Self.limit)
        #expect(listing.keyValues.count == 7000)
        #expect(
            listing.keyValues.map(\.key) == listing.keyValues.map(\.key).sorted { $0.lexicographicallyPrecedes($1) })
        #expect(listing.keyValues.last?.value == Array("v6999".utf8))
        #expect(listing.revision == listing.keyValues.map(\.modRevision).max().map { $0 + 1 })
        #expect(!listing.clusterID.isEmpty)
    }

    @Test func `a listing of huge values comes in smaller pages`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        let value = String(repeating: "x", count: 1_400_000)
        for number in 0..<40 { _ = try await etcd.commit(put([("/b/\(number)", value)]), deadline: Self.limit) }
        #expect(try await etcd.range(prefix: "/b/", deadline: Self.limit).keyValues.count == 40)
    }

    @Test func `an empty prefix is an empty listing with a revision`() async throws {
        let server = try await EtcdServer()
        let listing = try await client(server.origin).range(prefix: "/none/", deadline: Self.limit)
        #expect(listing.keyValues.isEmpty)
        #expect(listing.revision > 0)
    }

    @Test func `a transaction puts, deletes and reads together, and only if its conditions hold`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        let first = try await etcd.commit(
            Etcd.Transaction(
                if: [.missing(key: "/k")],
                [.put(key: "/k", value: [0, 255, 10], lease: 0), .delete(key: "/gone"), .read(key: "/k")]),
            deadline: Self.limit)
        #expect(first.succeeded)
        #expect(first.reads.first??.value == [0, 255, 10])
        let second = try await etcd.commit(
            Etcd.Transaction(if: [.missing(key: "/k")], [.delete(key: "/k")]), deadline: Self.limit)
        #expect(!second.succeeded)
        let third = try await etcd.commit(
            Etcd.Transaction(if: [.unchanged(key: "/k", modRevision: first.revision)], [.delete(key: "/k")]),
            deadline: Self.limit)
        #expect(third.succeeded)
        let last = try await etcd.commit(Etcd.Transaction([.read(key: "/k")]), deadline: Self.limit)
        #expect(last.reads == [nil])
    }

    @Test func `a refusal has etcd's code and its own words`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        let twice = put([("/k", "1"), ("/k", "2")])
        await #expect(
            throws: Etcd.Error.refused(.invalidArgument, message: "etcdserver: duplicate key given in txn request")
        ) {
            _ = try await etcd.commit(twice, deadline: Self.limit)
        }
        let orphan = put([("/k", "1")], lease: 12345)
        await #expect(throws: Etcd.Error.refused(.notFound, message: "etcdserver: requested lease not found")) {
            _ = try await etcd.commit(orphan, deadline: Self.limit)
        }
    }

    // MARK: Leases

    @Test func `a lease holds its keys while it is kept alive, and is told from one that is gone`() async throws {
        let server = try await EtcdServer()
        let etcd = client(server.origin)
        let lease = try await etcd.grantLease(ttl: 60, deadline: Self.limit)
        #expect(lease.ttl == 60)
        _ = try await etcd.commit(put([("/k", "1")], lease: lease.id), deadline: Self.limit)
        #expect(try await etcd.keepAlive(lease: lease.id, deadline: Self.limit))
        let state = try await etcd.timeToLive(lease: lease.id, deadline: Self.limit)
        #expect(state.keys == [Array("/k".utf8)])
        #expect((state.remaining ?? 0) > 50)
        try await etcd.revoke(lease: lease.id, deadline: Self.limit)
        #expect(try await etcd.keepAlive(lease: lease.id, deadline: Self.limit) == false)
        #expect(try await etcd.timeToLive(lease: lease.id, deadline: Self.limit).remaining == nil)
        #expect(try await etcd.range(prefix: "/k", deadline: Self.limit).keyValues.isEmpty)
        await #expect(throws: Etcd.Error.refused(.notFound, message: "etcdserver: requested lease not found")) {
            try await etcd.revoke(lease: lease.id, deadline: Self.limit)
        }
    }

    @Test func `etcd raises a TTL below its minimum, and the lease says so`() async throws {
        let server = try await EtcdServer()
        #expect(try await client(server.origin).grantLease(ttl: 1, deadline: Self.limit).ttl == 2)
    }

    // MARK: Members

    @Test func `a member that is gone, hangs or is no etcd is passed over, and then left alone`() async throws {
        let server = try await EtcdServer()
        let dead = HTTPOrigin.tcp("http://127.0.0.1:\(try FreePort.take())")
        let hanging = try StubServer { $0.waitForEnd() }
        let wrong = try StubServer { client in
            while client.request() != nil { client.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") }
        }
        let origins = [hanging, wrong].map { HTTPOrigin.tcp("http://127.0.0.1:\($0.port)") }
        let etcd = client(dead, origins[0], origins[1], server.origin)
        for _ in 0..<5 {
            #expect(try await etcd.range(prefix: "/", deadline: .seconds(16)).keyValues.isEmpty)
        }
        #expect(hanging.connections == 1)
        #expect(wrong.connections == 1)
    }

    @Test func `when no member answers the error names the last one`() async throws {
        let ports = [try FreePort.take(), try FreePort.take()]
        let origins = ports.map { HTTPOrigin.tcp("http://127.0.0.1:\($0)") }
        await #expect {
            _ = try await client(origins[0], origins[1]).range(prefix: "/", deadline: Self.limit)
        } throws: {
            if case HTTPError.unreachable(origins[1].name, _, _)? = $0 as? HTTPError { true } else { false }
        }
    }

    // MARK: Login

    @Test func `a client with a password logs in, again when its token expires, and also when login is off`()
        async throws
    {
        let server = try await EtcdServer(["--auth-token-ttl", "2", "--log-level", "debug"])
        let etcd = client(server.origin, credentials: Etcd.Credentials(user: "root", password: "pw"))
        _ = try await etcd.commit(put([("/k", "1")]), deadline: Self.limit)
        try await server.ctl("user", "add", "root:pw")
        try await server.ctl("auth", "enable")
        _ = try await etcd.commit(put([("/k", "2")]), deadline: Self.limit)
        #expect(await eventually { server.hasSaid("deleted a simple token") })
        _ = try await etcd.commit(put([("/k", "3")]), deadline: Self.limit)
        #expect(try await etcd.range(prefix: "/k", deadline: Self.limit).keyValues.first?.value == Array("3".utf8))
    }

    @Test func `a wrong password is told in etcd's words`() async throws {
        let server = try await EtcdServer()
        try await server.ctl("user", "add", "root:pw")
        try await server.ctl("auth", "enable")
        let etcd = client(server.origin, credentials: Etcd.Credentials(user: "root", password: "wrong"))
        let expected = "etcdserver: authentication failed, invalid user ID or password"
        await #expect(throws: Etcd.Error.refused(.invalidArgument, message: expected)) {
            _ = try await etcd.range(prefix: "/k", deadline: Self.limit)
        }
    }

    @Test func `a token for which etcd waits after a restore is given up`() async throws {
        let server = try await EtcdServer()
        try await server.enableLogin("pw")
        let snapshot = try await server.saveSnapshot("root:pw")
        let etcd = client(server.origin, credentials: Etcd.Credentials(user: "root", password: "pw"))
        // A simple token ends in the raft index of its login, which the restored etcd is far from.
        for number in 0..<60 { _ = try await etcd.commit(put([("/k", "\(number)")]), deadline: Self.limit) }
        try await server.ctl("--user", "root:pw", "user", "add", "late:pw")
        let late = client(server.origin, credentials: Etcd.Credentials(user: "root", password: "pw"))
        _ = try await late.range(prefix: "/k", deadline: Self.limit)
        try await server.stop()
        try await server.restore(snapshot)
        try await server.start()
        #expect(await eventually { (try? await late.range(prefix: "/k", deadline: .seconds(2))) != nil })
    }

    @Test func `a JSON web token whose users have changed is replaced by a new login`() async throws {
        let folder = try ScratchFolder()
        let (key, publicKey) = ("\(folder.path)/key.pem", "\(folder.path)/public.pem")
        let pair = "openssl genrsa -out \(key) 2048 && openssl rsa -in \(key) -pubout -out \(publicKey)"
        let made = try await Program("sh", ["-c", pair]).run(deadline: .seconds(20))
        #expect(made.isSuccess, "\(made.lines)")
        let server = try await EtcdServer([
            "--auth-token", "jwt,pub-key=\(publicKey),priv-key=\(key),sign-method=RS256,ttl=10m",
        ])
        try await server.enableLogin("pw")
        let etcd = client(server.origin, credentials: Etcd.Credentials(user: "root", password: "pw"))
        _ = try await etcd.commit(put([("/k", "1")]), deadline: Self.limit)
        // It names the revision of the users at its login, and etcd refuses it for the rest of its life.
        try await server.ctl("--user", "root:pw", "user", "add", "late:pw")
        _ = try await etcd.commit(put([("/k", "2")]), deadline: Self.limit)
        #expect(try await etcd.range(prefix: "/k", deadline: Self.limit).keyValues.map(\.value) == [Array("2".utf8)])
    }

    @Test func `a refused token leads to one login, whatever the code and words`() async throws {
        let refusals: [StubEtcd.Answer] = [
            .init(500, #"{"code":2,"message":"auth: revision in header is old"}"#),
            .init(401, #"{"code":16,"message":"etcdserver: invalid auth token"}"#),
            .init(400, #"{"code":13,"message":"auth: invalid auth token"}"#),
        ]
        for refusal in refusals {
            let stub = try StubEtcd([
                "auth/authenticate": [#"{"token":"first"}"#, #"{"token":"second"}"#],
                "kv/range": ["{}", refusal, "{}"],
            ])
            let etcd = client(stub.origin, credentials: Etcd.Credentials(user: "u", password: "p"))
            for _ in 0..<3 { _ = try await etcd.range(prefix: "/k", deadline: Self.limit) }
            #expect(stub.requests("auth/authenticate").count == 2)
            #expect(stub.requests("kv/range").last?.contains("second") == true)
        }
    }

    @Test func `refusals that no login helps against do not lead to one login each`() async throws {
        let stub = try StubEtcd([
            "auth/authenticate": [#"{"token":"t"}"#],
            "kv/range": [.init(500, #"{"code":2,"message":"auth: revision in header is old"}"#)],
        ])
        let etcd = client(stub.origin, credentials: Etcd.Credentials(user: "u", password: "p"))
        for _ in 0..<100 { _ = try? await etcd.range(prefix: "/k", deadline: Self.limit) }
        #expect(stub.requests("auth/authenticate").count < 20)
    }

    @Test func `a role that may not write does not lead to logins`() async throws {
        let denied = StubEtcd.Answer(403, #"{"code":7,"message":"etcdserver: permission denied"}"#)
        let stub = try StubEtcd(["auth/authenticate": [#"{"token":"t"}"#], "kv/range": [denied]])
        let etcd = client(stub.origin, credentials: Etcd.Credentials(user: "u", password: "p"))
        for _ in 0..<20 { _ = try? await etcd.range(prefix: "/k", deadline: Self.limit) }
        #expect(stub.requests("auth/authenticate").count == 1)
    }

    @Test func `a changed password is read from its file when etcd refuses`() async throws {
        let folder = try ScratchFolder()
        let file = "\(folder.path)/password"
        try AtomicFile(path: file).replace(with: Array("old\n".utf8))
        let server = try await EtcdServer()
        try await server.enableLogin("old")
        let etcd = client(
            server.origin, credentials: Etcd.Credentials(user: "root", password: "old", passwordFile: file))
        _ = try await etcd.range(prefix: "/k", deadline: Self.limit)
        let outcome = try await Program(
            "sh", ["-c", "echo new | etcdctl --user root:old user passwd root --interactive=false"],
            environment: [
                "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": "http://127.0.0.1:\(server.port)", "PATH": "/usr/bin:/bin",
            ]
        ).run(deadline: .seconds(20))
        #expect(outcome.isSuccess)
        _ = try? await etcd.range(prefix: "/k", deadline: Self.limit)
        try AtomicFile(path: file).replace(with: Array("new\n".utf8))
        #expect(await eventually { (try? await etcd.range(prefix: "/k", deadline: Self.limit)) != nil })
    }

    @Test(arguments: ["0", "-5", "9223372036854775808", "9223372036854775807"])
    func `a TTL that etcd cannot mean is not believed`(ttl: String) async throws {
        let stub = try StubEtcd([
            "lease/grant": [#"{"ID":"1","TTL":"\#(ttl)"}"#],
            "lease/keepalive": [#"{"result":{"ID":"1","TTL":"\#(ttl)"}}"#],
            "lease/timetolive": [#"{"ID":"1","TTL":"\#(ttl)"}"#],
        ])
        let etcd = client(stub.origin)
        await #expect(throws: Etcd.Error.self) { _ = try await etcd.grantLease(ttl: 15, deadline: Self.limit) }
        guard ttl != "0" else { return }
        await #expect(throws: Etcd.Error.self) { _ = try await etcd.keepAlive(lease: 1, deadline: Self.limit) }
        let state = try? await etcd.timeToLive(lease: 1, deadline: Self.limit)
        #expect(state?.remaining == nil)
    }
}
