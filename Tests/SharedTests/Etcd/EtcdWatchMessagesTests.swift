import FoundationEssentials
import Synchronization
import TestSupport
import Testing

@testable import Shared

/// What a watch does with each message that the gateways send, also those that the server at hand does not.
@Suite("etcd watch messages", .timeLimit(.minutes(1)))
struct EtcdWatchMessagesTests {
    private static let created = #"{"result":{"header":{"cluster_id":"7","revision":"5"},"created":true}}"# + "\n"
    private static let createdLater = #"{"result":{"header":{"cluster_id":"7","revision":"6"},"created":true}}"# + "\n"
    private static let connected = Etcd.Changes(revision: 5, events: [])

    /// A watch after revision 5 on a stub, with the reasons of its interruptions.
    private struct Watching {
        let stub: StubEtcd
        let reasons = Interruptions()
        var reader: Etcd.Watch.Iterator

        init(
            _ answers: [StubEtcd.Answer], read: StubEtcd.Answer = #"{"header":{"cluster_id":"7","revision":"5"}}"#,
            every interval: Duration = .seconds(600)
        ) throws {
            stub = try StubEtcd(["watch": answers, "kv/range": [read]])
            let client = Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [stub.origin]))
            let timing = Etcd.Watch.Timing(
                deadline: .seconds(15), probeInterval: interval, retryLimit: .milliseconds(60))
            reader = client.watch(prefix: "/b/", after: 5, of: "7", timing: timing, onInterruption: reasons.add)
                .makeAsyncIterator()
        }

        mutating func next(_ count: Int = 1) async throws -> [Etcd.Changes] {
            var changes: [Etcd.Changes] = []
            while changes.count < count, let next = try await reader.next() { changes.append(next) }
            return changes
        }

        /// The revisions from which the watch was asked for, in order.
        var starts: [Int] {
            stub.requests("watch").compactMap { request in
                request.firstRange(of: #""start_revision":""#).flatMap {
                    Int(request[$0.upperBound...].prefix { $0.isNumber })
                }
            }
        }
    }

    private final class Interruptions: Sendable {
        private let errors = Mutex<[any Error]>([])
        func add(_ error: any Error) { errors.withLock { $0.append(error) } }
        var all: [any Error] { errors.withLock { $0 } }
    }

    private static func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }

    private static func put(_ name: String, _ revision: Int) -> String {
        #"{"kv":{"key":"\#(base64("/b/" + name))","create_revision":"\#(revision)","mod_revision":"\#(revision)","#
            + #""version":"1","value":"dg=="}}"#
    }

    private static func line(_ revision: Int, isFragment: Bool = false, _ events: String...) -> String {
        #"{"result":{"header":{"cluster_id":"7","revision":"\#(revision)"}\#(isFragment ? #","fragment":true"# : ""),"#
            + #""events":[\#(events.joined(separator: ","))]}}"# + "\n"
    }

    private static func event(_ name: String, _ revision: Int64) -> Etcd.Event {
        .put(
            Etcd.KeyValue(
                key: Array("/b/\(name)".utf8), value: Array("v".utf8), createRevision: revision, modRevision: revision,
                lease: 0))
    }

    // MARK: What is delivered

    @Test func `puts and deletions are delivered, and a progress notification is not`() async throws {
        let delete = #"{"type":"DELETE","kv":{"key":"\#(Self.base64("/b/x"))","mod_revision":"7"},"prev_kv":{}}"#
        let progress = #"{"result":{"header":{"cluster_id":"7", "revision":"8"}}}"# + "\n"
        var watching = try Watching([
            .open(
                Self.created + Self.line(6, Self.put("x", 6)) + Self.line(7, delete) + progress
                    + Self.line(9, Self.put("y", 9)))
        ])
        #expect(
            try await watching.next(4) == [
                Self.connected, Etcd.Changes(revision: 6, events: [Self.event("x", 6)]),
                Etcd.Changes(revision: 7, events: [.delete(key: Array("/b/x".utf8), modRevision: 7)]),
                Etcd.Changes(revision: 9, events: [Self.event("y", 9)]),
            ])
        let request = try #require(watching.stub.requests("watch").first)
        #expect(request.contains("Grpc-Metadata-hasleader: true\r\n"))
        #expect(request.contains(#""fragment":true"#))
        #expect(watching.starts == [6])
    }

    @Test func `the fragments of a revision are delivered together`() async throws {
        var watching = try Watching([
            .open(
                Self.created + Self.line(6, isFragment: true, Self.put("1", 6), Self.put("2", 6))
                    + Self.line(6, isFragment: true, Self.put("3", 6)) + Self.line(6, Self.put("4", 6))
                    + Self.line(7, Self.put("5", 7)))
        ])
        #expect(
            try await watching.next(3) == [
                Self.connected, Etcd.Changes(revision: 6, events: ["1", "2", "3", "4"].map { Self.event($0, 6) }),
                Etcd.Changes(revision: 7, events: [Self.event("5", 7)]),
            ])
    }

    @Test func `fragments whose last one never came are asked for again, and none is delivered`() async throws {
        let half = Self.created + Self.line(6, isFragment: true, Self.put("1", 6))
        let whole = half + Self.line(6, Self.put("2", 6))
        var watching = try Watching([.init(stringLiteral: half), .open(whole)])
        #expect(
            try await watching.next(3) == [
                Self.connected, Self.connected,
                Etcd.Changes(revision: 6, events: [Self.event("1", 6), Self.event("2", 6)]),
            ])
        #expect(watching.starts == [6, 6])
        #expect(watching.reasons.all.count == 1)
    }

    // MARK: What is gone on after

    @Test(arguments: [
        #"{"error":{"grpc_code":14,"http_code":503,"message":"transport is closing","http_status":"Service Unavailable"}}"#,
        #"{"error":{"code":14,"message":"transport is closing"}}"# + "\n",
        #"{"error":{"code":14, "message":"transport is closing", "details":[]}}"# + "\n",
    ])
    func `an error at the end, with newline or without, is told, and the watch goes on at the next revision`(
        end: String
    ) async throws {
        let first = Self.created + Self.line(6, Self.put("x", 6)) + end
        var watching = try Watching([.init(stringLiteral: first), .open(Self.createdLater)])
        #expect(
            try await watching.next(3) == [
                Self.connected, Etcd.Changes(revision: 6, events: [Self.event("x", 6)]),
                Etcd.Changes(revision: 6, events: []),
            ])
        #expect(watching.starts == [6, 7])
        #expect(
            watching.reasons.all as? [Etcd.Error] == [.refused(.unavailable, message: "transport is closing")])
    }

    @Test(arguments: [1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 14, 16, 99])
    func `no refusal ends a watch, before its first message or later`(code: Int) async throws {
        let error = #"{"error":{"code":\#(code),"message":"x"}}"# + "\n"
        var watching = try Watching([
            .init(400, error), .init(stringLiteral: Self.created + error), .open(Self.created),
        ])
        #expect(try await watching.next(2) == [Self.connected, Self.connected])
        let refusal = Etcd.Error.refused(Etcd.Code(rawValue: code), message: "x")
        #expect(watching.reasons.all as? [Etcd.Error] == [refusal, refusal])
    }

    @Test(arguments: [
        "", "\n", "x\n", "<html>\n", "{}\n", "[]\n", "null\n", "{\"result\":null}\n", "{\"result\":\n",
        "{\"result\":{\"events\":[{}]}}\n",
        "{\"result\":{\"events\":[{\"kv\":{\"key\":\"!\"}}]}}\n", "{\"result\":{\"events\":{}}}\n", "{\"error\":{}}\n",
        "{\"error\":\"x\"}\n",
        "{\"result\":{\"header\":{\"revision\":\"x\"}}}\n", "\0\n", "{\"result\":{\"header\"",
    ])
    func `nonsense or an early end is an interruption, after which the watch goes on`(line: String) async throws {
        var watching = try Watching([.init(stringLiteral: Self.created + line), .open(Self.created)])
        #expect(try await watching.next(2) == [Self.connected, Self.connected])
        #expect(watching.starts == [6, 6])
        #expect(watching.reasons.all.count == 1)
    }

    @Test(arguments: [
        (404, "404 page not found\n"), (421, ""), (503, "<html>"), (500, "{}"),
        (400, "CommonName of client sending a request against gateway will be ignored and not used as expected\n"),
    ])
    func `a front door that refuses is tried again`(status: Int, text: String) async throws {
        var watching = try Watching([.init(status, text), .open(Self.created)])
        #expect(try await watching.next() == [Self.connected])
        guard case .notEtcd(_, status, _)? = watching.reasons.all.first as? Etcd.Error else {
            Issue.record("\(watching.reasons.all)")
            return
        }
    }

    @Test func `an event without revision does not set the watch back`() async throws {
        let bare = #"{"kv":{"key":"\#(Self.base64("/b/y"))"}}"#
        let first = Self.created + Self.line(6, Self.put("x", 6)) + Self.line(6, bare)
        var watching = try Watching([.init(stringLiteral: first), .open(Self.createdLater)])
        #expect(try await watching.next(4).map(\.revision) == [5, 6, 6, 6])
        #expect(watching.starts == [6, 7])
    }

    @Test(arguments: ["9223372036854775807", "18446744073709551615", "-9223372036854775808"])
    func `a revision at the end of the numbers does not end the program`(revision: String) async throws {
        let event = #"{"kv":{"key":"\#(Self.base64("/b/y"))","mod_revision":"\#(revision)"}}"#
        var watching = try Watching([.init(stringLiteral: Self.created + Self.line(6, event)), .open(Self.created)])
        #expect(try await watching.next(2).count == 2)
        _ = try? await watching.next()
    }

    // MARK: What is thrown

    @Test(arguments: [
        #"{"result":{"header":{"cluster_id":"7","member_id":"8","raft_term":"2"},"canceled":true,"compact_revision":"11"}}"#,
        #"{"result":{"header":{"cluster_id":"7"}, "canceled":true, "compact_revision":"11", "cancel_reason":"etcdserver: "#
            + #"mvcc: required revision has been compacted"}}"#,
    ])
    func `a compaction is thrown, though the stream stays open`(line: String) async throws {
        var watching = try Watching([.open(Self.created + line + "\n")])
        #expect(try await watching.next() == [Self.connected])
        await #expect(throws: Etcd.Error.compacted(oldest: 11)) { _ = try await watching.next() }
        #expect(watching.reasons.all.isEmpty)
    }

    private static let denied =
        #"{"result":{"header":{"cluster_id":"7","revision":"5"},"watch_id":"-1","created":true,"canceled":true,"#
        + #""cancel_reason":"rpc error: code = PermissionDenied desc = etcdserver: permission denied"}}"# + "\n"

    @Test func `a cancellation by etcd, created or not, is tried once more after a read, and then thrown`() async throws
    {
        var watching = try Watching([.open(Self.denied)])
        let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        await #expect(throws: Etcd.Error.watchCancelled(reason: reason)) { _ = try await watching.next() }
        #expect(watching.stub.requests("watch").count == 2)
        #expect(watching.stub.requests("kv/range").count == 1)
    }

    @Test func `a cancellation that a new login cures goes unnoticed`() async throws {
        var watching = try Watching([.open(Self.denied), .open(Self.created + Self.line(6, Self.put("x", 6)))])
        #expect(
            try await watching.next(2) == [Self.connected, Etcd.Changes(revision: 6, events: [Self.event("x", 6)])])
    }

    @Test(arguments: [
        #"{"result":{"header":{"cluster_id":"8","revision":"5"},"created":true}}"#,
        #"{"result":{"header":{"cluster_id":"7","revision":"4"},"created":true}}"#,
    ])
    func `another cluster and a store that went back are thrown`(line: String) async throws {
        var watching = try Watching([.open(line + "\n")])
        await #expect {
            _ = try await watching.next()
        } throws: {
            if case Etcd.Error.storeReplaced? = $0 as? Etcd.Error { true } else { false }
        }
    }

    @Test(arguments: [#"{"cluster_id":"8","revision":"5"}"#, #"{"cluster_id":"7","revision":"4"}"#])
    func `another cluster and a store that went back are noticed by the periodic read, though the stream stays open`(
        header: String
    ) async throws {
        var watching = try Watching(
            [.open(Self.created)], read: #"{"header":\#(header)}"#, every: .milliseconds(10))
        #expect(try await watching.next() == [Self.connected])
        await #expect {
            _ = try await watching.next()
        } throws: {
            if case Etcd.Error.storeReplaced? = $0 as? Etcd.Error { true } else { false }
        }
        #expect(watching.stub.requests("watch").count == 1)
    }
}
