import FoundationEssentials
import TestSupport
import Testing

@testable import Shared

/// What the gateways of 3.4 and 3.5 (v1) and of 3.6 (v2) send, where the server at hand sends only one of them.
@Suite("etcd messages", .timeLimit(.minutes(1)))
struct EtcdMessagesTests {
    private static let limit = Duration.seconds(15)
    private static let member = HTTPOrigin.tcp("http://10.0.0.1:2379")

    private func client(_ stub: StubEtcd) throws -> Etcd.Client {
        Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [stub.origin]))
    }

    private func failure(_ status: Int, _ body: String) -> Etcd.Error {
        Etcd.Client.failure(HTTPHead(status: status, headers: [:]), Array(body.utf8), from: Self.member)
    }

    // MARK: Errors

    @Test(arguments: [
        (
            412, #"{"error":"etcdserver: lease already exists","message":"etcdserver: lease already exists","code":9}"#,
            9
        ),
        (
            400, #"{"error":"etcdserver: lease already exists","message":"etcdserver: lease already exists","code":9}"#,
            9
        ),
        (400, #"{"code":9,"message":"etcdserver: lease already exists"}"#, 9),
        (400, #"{"code":9, "message":"etcdserver: lease already exists", "details":[]}"#, 9),
        (
            404, #"{"error":"etcdserver: lease already exists","code":5,"message":"etcdserver: lease already exists"}"#,
            5
        ),
        (404, #"{"code": 5, "message": "etcdserver: lease already exists"}"#, 5),
        (
            503,
            #"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: lease already exists","http_status":"x"}}"#,
            14
        ),
        (400, #"{"error":{"code":3,"message":"etcdserver: lease already exists"}}"# + "\n", 3),
        (200, #"{"error":{"code":99,"message":"etcdserver: lease already exists","details":[]}}"#, 99),
    ])
    func `an error in each shape has its number and etcd's own words`(status: Int, body: String, code: Int) {
        #expect(
            failure(status, body)
                == .refused(Etcd.Code(rawValue: code), message: "etcdserver: lease already exists"))
    }

    @Test(arguments: [
        (2, true, true, false), (3, false, true, false), (5, false, false, true), (7, false, false, false),
        (8, false, false, false), (9, false, false, false), (11, false, false, false), (14, true, true, false),
        (16, false, true, false),
    ])
    func `the number alone says what helps, whatever the status`(
        code: Int, anotherMember: Bool, login: Bool, newLease: Bool
    ) {
        for status in [200, 400, 401, 404, 412, 500, 503] {
            let error = failure(status, #"{"code":\#(code),"message":"x"}"#)
            #expect(error.shouldTryNextMember == anotherMember)
            #expect(error.mayComeOfToken == login)
            #expect(error.isLeaseGone == newLease)
        }
    }

    @Test(arguments: [
        (404, "404 page not found\n", "404 page not found"), (421, "", ""), (500, "{}", "{}"),
        (502, "<html>", "<html>"),
        (
            400, "CommonName of client sending a request against gateway will be ignored and not used as expected\n",
            "CommonName of client sending a request against gateway will be ignored and not used as expected"
        ),
        (500, #"{"message":"no number"}"#, #"{"message":"no number"}"#), (500, "[]", "[]"), (500, "null", "null"),
        (500, #"{"code":"9","message":"a text"}"#, #"{"code":"9","message":"a text"}"#),
        (500, "{\"code\":", "{\"code\":"),
        (500, #"{"error":{}}"#, #"{"error":{}}"#), (500, #"{"error":[]}"#, #"{"error":[]}"#),
    ])
    func `what is no error of etcd's is told with status and text`(status: Int, body: String, text: String) {
        #expect(failure(status, body) == .notEtcd(server: Self.member.name, status: status, text: text))
    }

    @Test func `the text of a wrong server is cut, also in the middle of a letter and where it is no text`() {
        guard case .notEtcd(_, _, let text) = failure(500, "x" + String(repeating: "\u{e9}", count: 100_000)) else {
            Issue.record("taken for etcd")
            return
        }
        #expect(text.utf8.count <= 203)
        let bytes = [UInt8](repeating: 0xff, count: 1000)
        let error = Etcd.Client.failure(HTTPHead(status: 500, headers: [:]), bytes, from: Self.member)
        #expect(error.description.contains("status 500"))
    }

    @Test func `an error without a message is told by its number`() {
        #expect(failure(500, #"{"code":13}"#) == .refused(Etcd.Code(rawValue: 13), message: "code 13"))
        #expect(failure(500, #"{"error":{"grpc_code":13}}"#) == .refused(Etcd.Code(rawValue: 13), message: "code 13"))
    }

    @Test(arguments: [
        #"{"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found","code":5}"#,
        #"{"code":5, "message":"etcdserver: requested lease not found"}"#,
    ])
    func `a refusal reaches the caller through the client`(body: String) async throws {
        let stub = try StubEtcd(["lease/revoke": [.init(404, body)]])
        let expected = Etcd.Error.refused(.notFound, message: "etcdserver: requested lease not found")
        await #expect(throws: expected) { try await client(stub).revoke(lease: 1, deadline: Self.limit) }
        #expect(stub.requests("lease/revoke").count == 1)
    }

    // MARK: Pages

    /// `a` is YQ==, `b` Yg==, `c` Yw== and `x` eA==.
    @Test(arguments: [
        (#"{"header":{"revision":"7"},"kvs":[{"key":"YQ==","value":"Yg=="}],"more":true,"count":"2"}"#, "a"),
        (#"{"kvs":[{"key":"YQ=="},{"key":"Yg==","mod_revision":"3"}],"more":true}"#, "b"),
        (#"{"kvs":[{"key":"YQ=="}],"count":"1"}"#, nil), (#"{"more":true,"count":"1"}"#, nil),
        (#"{"kvs": [{"key": "YQ=="}], "more": true}"#, nil), (#"{"kvs":[{"key":"*"}],"more":true}"#, nil),
        (#""key":"","more":true"#, ""), ("", nil),
    ])
    func `the next page is expected after the last key of the gateway's layout`(page: String, last: String?) {
        let expected = last.map { Data($0.utf8) + [0] }
        #expect(Etcd.Client.expectedStart(after: Array(page.utf8)) == expected)
    }

    @Test(arguments: [
        [
            #"{"header":{"revision":"7"},"kvs":[{"key":"YQ=="}],"more":true}"#,
            #"{"kvs":[{"key":"Yg=="}],"more":true}"#,
            #"{"kvs":[{"key":"Yw=="}]}"#,
        ],
        [
            #"{"more": true, "header": {"revision": 7}, "kvs": [{"key": "YQ=="}]}"#,
            #"{"more": true, "kvs": [{"key": "Yg=="}]}"#, #"{"kvs": [{"key": "Yw=="}]}"#,
        ],
        // After the second one the wrong page is asked for, too.
        [
            #"{"header":{"revision":"7"},"kvs":[{"key":"YQ=="}],"more":true}"#,
            #"{"kvs":[{"key":"Yg=="}],"x":{"key":"eA=="},"more":true}"#, #"{"kvs":[{"key":"Yw=="}]}"#,
        ],
    ])
    func `pages make one listing, also where they are laid out in another way`(pages: [String]) async throws {
        let starts = ["Lw==", "YQA=", "YgA="]
        let requests = CapturedLines()
        let stub = try StubServer { client in
            while let request = client.request() {
                requests.add(request)
                let page = starts.firstIndex { request.contains("\"key\":\"\($0)\"") }.map { pages[$0] }
                let body = page ?? #"{"kvs":[{"key":"eA=="}]}"#
                client.send("HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            }
        }
        let origin = HTTPOrigin.tcp("http://127.0.0.1:\(stub.port)")
        let client = Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [origin]))
        let listing = try await client.range(prefix: "/", deadline: Self.limit)
        #expect(listing.keyValues.map { String(decoding: $0.key, as: UTF8.self) } == ["a", "b", "c"])
        #expect(listing.revision == 7)
        #expect(requests.count(of: #""revision":"7""#) >= 2)
        withExtendedLifetime(stub) {}
    }

    @Test(arguments: [#"{"kvs":[{"key":"Lw=="}],"more":true}"#, #"{"kvs":[],"more":true}"#, #"{"more":true}"#])
    func `pages that lead back or nowhere are an error, not a loop and not an end`(page: String) async throws {
        let stub = try StubEtcd(["kv/range": [StubEtcd.Answer(200, page)]])
        let error = Etcd.Error.malformed(server: "etcd", reason: "a page of a listing ends before it begins")
        await #expect(throws: error) { try await client(stub).range(prefix: "/", deadline: Self.limit) }
        #expect(stub.requests("kv/range").count <= 3)
    }

    @Test(arguments: [0, 1, 2])
    func `once a page was too large, those that follow are small`(good: Int) async throws {
        let large = StubEtcd.Answer(200, String(repeating: " ", count: Etcd.Client.answerCap + 1))
        let pages = (0..<good + 4).map { number in
            let key = Data([UInt8(ascii: "a") + UInt8(number)]).base64EncodedString()
            return StubEtcd.Answer(200, #"{"kvs":[{"key":"\#(key)"}],"more":\#(number < good + 3)}"#)
        }
        let stub = try StubEtcd(["kv/range": pages.prefix(good) + [large] + pages.dropFirst(good)])
        let listing = try await client(stub).range(prefix: "/", deadline: Self.limit)
        #expect(listing.keyValues.count == pages.count)
        let small = stub.requests("kv/range").map { $0.contains(#""limit":"20""#) }
        #expect(small == Array(repeating: false, count: good + 1) + Array(repeating: true, count: 4))
    }

    // MARK: Numbers and missing fields

    @Test func `64-bit integers are read from strings and numbers, signed and unsigned, without loss`() throws {
        let expected: [(String, Int64)] = [
            ("\"0\"", 0), ("0", 0), ("\"-1\"", -1), ("-1", -1), ("\"9007199254740993\"", 9_007_199_254_740_993),
            ("9007199254740993", 9_007_199_254_740_993), ("\"7587870000000000001\"", 7_587_870_000_000_000_001),
            ("7587870000000000001", 7_587_870_000_000_000_001), ("\"9223372036854775807\"", .max),
            ("\"18446744073709551615\"", -1), ("18446744073709551615", -1),
            ("\"14841639068965178418\"", -3_605_105_004_744_373_198),
        ]
        for (json, value) in expected {
            #expect(try JSONDecoder().decode(WireInteger.self, from: Data(json.utf8)).value == value, "\(json)")
        }
        for json in ["\"\"", "\"x\"", "\"1.5\"", "1.5", "true", "{}", "\"18446744073709551616\"", "1e30"] {
            #expect(throws: (any Error).self, "\(json)") {
                try JSONDecoder().decode(WireInteger.self, from: Data(json.utf8))
            }
        }
        #expect(
            try String(decoding: JSONEncoder().encode(WireInteger(.max)), as: UTF8.self) == "\"9223372036854775807\"")
    }

    @Test(arguments: [
        #"{"header":{"cluster_id":"14841639068965178418","revision":"7"},"kvs":[{"key":"L2Ev","create_revision":"2","#
            + #""mod_revision":"3","version":"1","value":"AP8K","lease":"7587870000000000001"}],"count":"1"}"#,
        #"{"header": {"cluster_id": "14841639068965178418", "revision": "7"}, "kvs": [{"lease": "7587870000000000001", "#
            + #""key": "L2Ev", "value": "AP8K", "mod_revision": "3", "create_revision": "2", "future": {}}], "count": "1"}"#,
        #"{"header":{"cluster_id":14841639068965178418,"revision":7},"kvs":[{"key":"L2Ev","create_revision":2,"#
            + #""mod_revision":3,"value":"AP8K","lease":7587870000000000001}],"count":1}"#,
    ])
    func `a listing is the same in every way of writing it`(body: String) async throws {
        let stub = try StubEtcd(["kv/range": [.init(stringLiteral: body)]])
        let listing = try await client(stub).range(prefix: "/a/", deadline: Self.limit)
        let keyValue = Etcd.KeyValue(
            key: Array("/a/".utf8), value: [0, 255, 10], createRevision: 2, modRevision: 3,
            lease: 7_587_870_000_000_000_001)
        #expect(
            listing
                == Etcd.RangeResult(revision: 7, clusterID: "14841639068965178418", keyValues: [keyValue], count: 1))
    }

    @Test func `zero values, which are left out, are read as such`() async throws {
        let stub = try StubEtcd([
            "kv/range": [#"{"header":{"revision":"7"},"kvs":[{"key":"L2E="}]}"#, #"{"header":{"revision":"8"}}"#],
            "kv/txn": [#"{"header":{"revision":"9"}}"#, #"{"succeeded":true,"responses":[{"response_range":{}}]}"#],
            "lease/timetolive": [#"{"ID":"1","TTL":"-1"}"#, #"{"ID":"1","grantedTTL":"5"}"#],
        ])
        let etcd = try client(stub)
        let bare = Etcd.KeyValue(key: Array("/a".utf8), value: [], createRevision: 0, modRevision: 0, lease: 0)
        #expect(try await etcd.range(prefix: "/a", deadline: Self.limit).keyValues == [bare])
        #expect(try await etcd.range(prefix: "/a", deadline: Self.limit).keyValues == [])
        let failed = try await etcd.commit(Etcd.Transaction([.read(key: "/a")]), deadline: Self.limit)
        #expect(!failed.succeeded && failed.reads == [] && failed.revision == 9)
        let read = try await etcd.commit(Etcd.Transaction([.read(key: "/a")]), deadline: Self.limit)
        #expect(read.succeeded && read.reads == [nil])
        #expect(try await etcd.timeToLive(lease: 1, deadline: Self.limit) == Etcd.LeaseState(remaining: nil, keys: []))
        #expect(try await etcd.timeToLive(lease: 1, deadline: Self.limit) == Etcd.LeaseState(remaining: 0, keys: []))
    }

    @Test(arguments: [
        "", "null", "[]", "\"x\"", "{\"kvs\":", #"{"kvs":[{}]}"#, #"{"kvs":[{"key":"!"}]}"#, #"{"header":[]}"#, "\0",
    ])
    func `an answer that cannot be read is told as such, never taken for an empty one`(body: String) async throws {
        let stub = try StubEtcd(["kv/range": [.init(stringLiteral: body)]])
        await #expect {
            _ = try await client(stub).range(prefix: "/a", deadline: Self.limit)
        } throws: {
            if case Etcd.Error.malformed? = $0 as? Etcd.Error { true } else { false }
        }
    }

    // MARK: Leases

    @Test(arguments: [
        (#"{"result":{"header":{"revision":"3"},"ID":"42","TTL":"10"}}"# + "\n", true),
        (#"{"result":{"header":{"revision":"3"}, "ID":"42", "TTL":"10"}}"#, true),
        (#"{"result":{"ID":42,"TTL":10}}"# + "\n", true),
        (#"{"result":{"header":{"revision":"3"},"ID":"42"}}"# + "\n", false),
        (#"{"result":{"ID":"42","TTL":"0"}}"# + "\n", false),
        (#"{"result":{}}"# + "\n", false),
    ])
    func `a keep-alive without TTL means that the lease is gone`(body: String, isAlive: Bool) async throws {
        let stub = try StubEtcd(["lease/keepalive": [.init(stringLiteral: body)]])
        #expect(try await client(stub).keepAlive(lease: 42, deadline: Self.limit) == isAlive)
        #expect(stub.requests("lease/keepalive").first?.hasSuffix(#"{"ID":"42"}"#) == true)
    }

    @Test(arguments: [
        (200, #"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"x"}}"#),
        (503, #"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"x"}}"#),
        (503, #"{"error":{"code":14,"message":"etcdserver: no leader"}}"# + "\n"),
        (503, #"{"code":14,"message":"etcdserver: no leader"}"#),
    ])
    func `a keep-alive that etcd could not answer is no lost lease`(status: Int, body: String) async throws {
        let stub = try StubEtcd(["lease/keepalive": [.init(status, body)]])
        await #expect(throws: Etcd.Error.refused(.unavailable, message: "etcdserver: no leader")) {
            _ = try await client(stub).keepAlive(lease: 42, deadline: Self.limit)
        }
    }

    @Test(arguments: ["", "{}", "[]", "{\"result\":null}", "nonsense"])
    func `a keep-alive that says nothing is no lost lease either`(body: String) async throws {
        let stub = try StubEtcd(["lease/keepalive": [.init(stringLiteral: body)]])
        await #expect(throws: Etcd.Error.self) { _ = try await client(stub).keepAlive(lease: 42, deadline: Self.limit) }
    }

    @Test(arguments: ["{}", #"{"ID":"1"}"#, #"{"TTL":"10"}"#, #"{"ID":"1","TTL":"0"}"#, #"{"ID":"x","TTL":"10"}"#])
    func `a grant without lease or life is not taken for one`(body: String) async throws {
        let stub = try StubEtcd(["lease/grant": [.init(stringLiteral: body)]])
        await #expect {
            _ = try await client(stub).grantLease(ttl: 10, deadline: Self.limit)
        } throws: {
            if case Etcd.Error.malformed? = $0 as? Etcd.Error { true } else { false }
        }
    }

    @Test(arguments: [
        (Etcd.Error.refused(.permissionDenied, message: "x"), true), (.refused(.unauthenticated, message: "x"), true),
        (.refused(.invalidArgument, message: "x"), true), (.refused(.unavailable, message: "x"), false),
        (.refused(.resourceExhausted, message: "mvcc: database space exceeded"), true),
        (.refused(.notFound, message: "x"), false), (.compacted(oldest: 1), false),
    ])
    func `refusals that only a person can mend are told from losses`(error: Etcd.Error, needsOperator: Bool) {
        #expect(Etcd.needsOperator(error) == needsOperator)
        #expect(Etcd.needsOperator(HTTPError.insecure("x", reason: "y")))
        #expect(!Etcd.needsOperator(HTTPError.timedOut("x", after: .seconds(1))))
    }
}
