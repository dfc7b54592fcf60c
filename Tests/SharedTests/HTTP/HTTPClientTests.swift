import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Shared

@Suite("HTTP client", .timeLimit(.minutes(1)))
struct HTTPClientTests {
    private let http: HTTPClient

    init() throws {
        http = try #require(HTTPClient())
    }

    private static let ok = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 5\r\n\r\nhello"

    private func origin(_ server: StubServer) -> HTTPOrigin {
        server.path.map(HTTPOrigin.unix) ?? .tcp("http://127.0.0.1:\(server.port)")
    }

    private func get(
        _ server: StubServer, deadline: Duration = .seconds(20), cap: Int = 1000
    ) async throws -> HTTPResponse {
        try await http.send(HTTPRequest(.get, "/x"), to: origin(server), deadline: deadline, cap: cap)
    }

    private func lines(
        _ server: StubServer, deadline: Duration = .seconds(20), silence: Duration? = nil, longestLine: Int = 1000
    ) async throws -> HTTPStream {
        try await http.stream(
            HTTPRequest(.get, "/x"), to: origin(server), deadline: deadline, silence: silence, longestLine: longestLine)
    }

    // MARK: Collected answers

    @Test(arguments: [true, false])
    func `an answer has its status, header fields and body`(isUnix: Bool) async throws {
        let folder = try ScratchFolder()
        let server = try StubServer(path: isUnix ? "\(folder.path)/s" : nil) { client in
            while client.request() != nil { client.send(Self.ok) }
        }
        let answer = try await get(server)
        #expect(answer.head.status == 200)
        #expect(answer.head.headers["api-version"] == "1.41")
        #expect(answer.body == Array("hello".utf8))
    }

    @Test func `one connection serves one request after another`() async throws {
        let server = try StubServer { client in
            while client.request() != nil { client.send(Self.ok) }
        }
        for _ in 0..<20 { _ = try await get(server) }
        #expect(server.connections == 1)
    }

    @Test func `a long body arrives whole and an error status is an answer`() async throws {
        let received = Mutex(0)
        let server = try StubServer { client in
            received.withLock { $0 = client.request()?.utf8.count ?? 0 }
            client.send("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno")
        }
        let body = [UInt8](repeating: UInt8(ascii: "x"), count: 3_000_000)
        let request = HTTPRequest(.post(body), "/x")
        let answer = try await http.send(request, to: origin(server), deadline: .seconds(20), cap: 10)
        #expect(answer.head.status == 503)
        #expect(received.withLock { $0 } > body.count)
    }

    @Test func `an answer beyond its cap is an error that says so`() async throws {
        let server = try StubServer { client in
            _ = client.request()
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + String(repeating: "x", count: 100_000))
        }
        await #expect(throws: HTTPError.tooLarge(origin(server).name, cap: 1000)) { try await get(server) }
    }

    @Test func `a server that never answers costs the deadline and no more`() async throws {
        let server = try StubServer { $0.waitForEnd() }
        let limit = Duration.milliseconds(150)
        await #expect(throws: HTTPError.timedOut(origin(server).name, after: limit)) {
            try await get(server, deadline: limit)
        }
    }

    @Test func `an answer that breaks off is an error`() async throws {
        let server = try StubServer { client in
            _ = client.request()
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        }
        await #expect {
            try await get(server)
        } throws: {
            if case HTTPError.broken? = $0 as? HTTPError { true } else { false }
        }
    }

    @Test func `what is not HTTP is an error`() async throws {
        let server = try StubServer { client in
            _ = client.request()
            client.send("SSH-2.0-OpenSSH_9.2\r\n")
        }
        await #expect(throws: HTTPError.self) { try await get(server) }
    }

    @Test func `a closed port and a missing socket are told with their errno`() async throws {
        let port = try FreePort.take()
        let closed = HTTPOrigin.tcp("http://127.0.0.1:\(port)")
        let missing = HTTPOrigin.unix("/nonexistent/docker.sock")
        for (origin, code) in [(closed, ECONNREFUSED), (missing, ENOENT)] {
            await #expect {
                _ = try await http.send(HTTPRequest(.get, "/"), to: origin, deadline: .seconds(5), cap: 10)
            } throws: {
                if case HTTPError.unreachable(origin.name, _, code)? = $0 as? HTTPError { true } else { false }
            }
        }
    }

    @Test func `a cancelled exchange ends at once and closes its connection`() async throws {
        let ended = Mutex(false)
        let server = try StubServer { client in
            client.waitForEnd()
            ended.withLock { $0 = true }
        }
        let task = Task { try await get(server, deadline: .seconds(600)) }
        #expect(await eventually { server.connections == 1 })
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(await eventually { ended.withLock { $0 } })
    }

    // MARK: Streams

    @Test func `a stream brings its lines as they come, the last one without newline too`() async throws {
        let goOn = Mutex(false)
        let server = try StubServer { client in
            _ = client.request()
            client.send("HTTP/1.1 200 OK\r\n\r\nfirst\nsec")
            while !goOn.withLock({ $0 }) { usleep(1000) }
            client.send("ond\r\nlast")
        }
        let stream = try await lines(server)
        var reader = stream.makeAsyncIterator()
        #expect(try await reader.next() == Array("first".utf8))
        goOn.withLock { $0 = true }
        #expect(try await reader.next() == Array("second".utf8))
        #expect(try await reader.next() == Array("last".utf8))
        #expect(try await reader.next() == nil)
    }

    @Test func `a line beyond its cap ends the stream with an error`() async throws {
        let server = try StubServer { client in
            _ = client.request()
            client.send("HTTP/1.1 200 OK\r\n\r\n")
            while client.send(String(repeating: "x", count: 1000)) {}
        }
        var reader = try await lines(server, longestLine: 5000).makeAsyncIterator()
        await #expect(throws: HTTPError.lineTooLong(origin(server).name, cap: 5000)) { try await reader.next() }
    }

    @Test func `a stream whose head never comes costs the deadline`() async throws {
        let server = try StubServer { $0.waitForEnd() }
        let limit = Duration.milliseconds(150)
        await #expect(throws: HTTPError.timedOut(origin(server).name, after: limit)) {
            try await lines(server, deadline: limit)
        }
    }

    @Test func `a stream that falls silent ends at its silence limit`() async throws {
        let server = try StubServer { client in
            _ = client.request()
            client.send("HTTP/1.1 200 OK\r\n\r\nfirst\n")
            client.waitForEnd()
        }
        var reader = try await lines(server, silence: .seconds(1)).makeAsyncIterator()
        #expect(try await reader.next() == Array("first".utf8))
        await #expect(throws: HTTPError.silent(origin(server).name, for: .seconds(1))) { try await reader.next() }
    }

    @Test func `a stream without silence limit is cancelled at once`() async throws {
        let server = try StubServer { client in
            _ = client.request()
            client.send("HTTP/1.1 200 OK\r\n\r\n")
            client.waitForEnd()
        }
        let stream = try await lines(server)
        let task = Task {
            var reader = stream.makeAsyncIterator()
            return try await reader.next()
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func `a stream that is closed from outside gives its reader the reason`() async throws {
        let server = try StubServer { client in
            _ = client.request()
            client.send("HTTP/1.1 200 OK\r\n\r\n")
            client.waitForEnd()
        }
        let stream = try await lines(server)
        let task = Task {
            var reader = stream.makeAsyncIterator()
            return try await reader.next()
        }
        stream.close(HTTPError.silent("x", for: .seconds(7)))
        await #expect(throws: HTTPError.silent("x", for: .seconds(7))) { try await task.value }
    }

    @Test func `a fast server cannot fill the memory of a slow reader, and nothing is lost`() async throws {
        let sent = Mutex(0)
        let total = 40_000
        let line = String(repeating: "y", count: 999) + "\n"
        let server = try StubServer { client in
            _ = client.request()
            client.send("HTTP/1.1 200 OK\r\n\r\n")
            for _ in 0..<total where client.send(line) { sent.withLock { $0 += 1 } }
        }
        var reader = try await lines(server).makeAsyncIterator()
        var last = -1
        // The server stalls once the buffers of kernel and client are full.
        #expect(
            await eventually {
                let now = sent.withLock { $0 }
                defer { last = now }
                try? await Task.sleep(for: .milliseconds(200))
                return now == last
            })
        #expect(sent.withLock { $0 } < total)
        var count = 0
        while try await reader.next() != nil { count += 1 }
        #expect(count == total)
    }

    @Test func `exchanges side by side do not wait for a stuck one`() async throws {
        let stuck = try StubServer { $0.waitForEnd() }
        let server = try StubServer { client in
            while client.request() != nil { client.send(Self.ok) }
        }
        let blocked = Task { try await get(stuck, deadline: .seconds(600)) }
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<50 { group.addTask { try await get(server).head.status } }
            for try await status in group { #expect(status == 200) }
        }
        blocked.cancel()
        _ = await blocked.result
    }

    @Test func `letting go of a client ends what is under way`() async throws {
        let server = try StubServer { client in
            guard client.request() != nil else { return }
            client.send("HTTP/1.1 200 OK\r\n\r\nline\n")
            client.waitForEnd()
        }
        /// Lets go of its client at its end.
        func stream() async throws -> HTTPStream {
            try await #require(HTTPClient()).stream(
                HTTPRequest(.get, "/"), to: .tcp("http://127.0.0.1:\(server.port)"), deadline: .seconds(600),
                longestLine: 10)
        }
        var reader = try await stream().makeAsyncIterator()
        await #expect(throws: CancellationError.self) { while try await reader.next() != nil {} }
    }
}
