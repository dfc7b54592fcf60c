import Shared
import TestSupport
import Testing

@Suite("CommandSocket", .timeLimit(.minutes(1)))
struct LineSocketTests {
    private let folder: ScratchFolder
    private var path: String { folder.path + "/s" }

    init() throws { folder = try ScratchFolder() }

    @Test func `the answer is all that comes until the end`() async throws {
        let server = try StubServer(path: path) { connection in
            connection.waitForEnd()
            for _ in 0..<3 { connection.send(String(repeating: "x", count: 100_000)) }
        }
        let answer = try await LineSocket(path: path).send("show stat", deadline: .seconds(20))
        #expect(answer.utf8.count == 300_000)
        withExtendedLifetime(server) {}
    }

    @Test func `nobody there is told at once`() async throws {
        await #expect(throws: LineSocket.Failure.self) {
            _ = try await LineSocket(path: path).send("show proc", deadline: .seconds(20))
        }
        let long = LineSocket(path: "/" + String(repeating: "x", count: 200))
        await #expect(throws: LineSocket.Failure.self) { _ = try await long.send("", deadline: .seconds(1)) }
    }

    @Test func `an answer that does not end has a limit`() async throws {
        let server = try StubServer(path: path) { connection in
            connection.send("half")
            connection.waitForEnd()
            _ = connection.request()
            while connection.send("more") {}
        }
        let socket = LineSocket(path: path)
        await #expect(throws: LineSocket.Failure.timedOut(path: path, after: .milliseconds(100))) {
            _ = try await socket.send("show proc", deadline: .milliseconds(100))
        }
        withExtendedLifetime(server) {}
    }

    @Test func `it answers cancellation`() async throws {
        let server = try StubServer(path: path) { connection in
            while connection.send("more") {}
        }
        let task = Task { [path] in try await LineSocket(path: path).send("x", deadline: .seconds(600)) }
        task.cancel()
        await #expect(throws: (any Error).self) { _ = try await task.value }
        withExtendedLifetime(server) {}
    }
}
