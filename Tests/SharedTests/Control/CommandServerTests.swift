import FoundationEssentials
import Glibc
import TestSupport
import Testing

@testable import Shared

@Suite("CommandServer", .timeLimit(.minutes(1)))
struct CommandServerTests {
    private let folder: ScratchFolder
    private var path: String { folder.path + "/control.sock" }

    init() throws { folder = try ScratchFolder() }

    /// A server that runs as long as the value lives.
    private final class Running: Sendable {
        private let task: Task<Void, Never>

        init(
            _ path: String, _ limits: CommandServer.Limits = .init(),
            answer: @escaping @Sendable (String) -> String = { "you said \($0)\n" }
        ) throws {
            let server = try CommandServer(path: path, limits: limits) { line in
                CommandResponse(status: Int32(line.utf8.count), answer(line))
            }
            task = Task { await server.run() }
        }

        deinit { task.cancel() }

        func stop() async {
            task.cancel()
            await task.value
        }
    }

    private func ask(_ line: String) async throws -> CommandResponse? {
        CommandResponse(wire: try await LineSocket(path: path).send(line, deadline: .seconds(20)))
    }

    /// What comes back on a connection until it ends.
    private func rest(of connection: inout LocalConnection) async throws -> String {
        while try !connection.readAvailable(upTo: 1 << 24) { try await Task.sleep(for: .milliseconds(2)) }
        return String(decoding: connection.received, as: UTF8.self)
    }

    private func limits(reading: Duration = .seconds(20), writing: Duration = .seconds(20)) -> CommandServer.Limits {
        var limits = CommandServer.Limits()
        limits.reading = reading
        limits.writing = writing
        return limits
    }

    // MARK: Answers

    @Test(arguments: [("why web", "why web"), ("", ""), ("a\r", "a"), ("a\nb\nc", "a"), ("wäb \u{1b}", "wäb \u{1b}")])
    func `the first line is what is asked`(sent: String, line: String) async throws {
        let server = try Running(path)
        #expect(try await ask(sent) == CommandResponse(status: Int32(line.utf8.count), "you said \(line)\n"))
        withExtendedLifetime(server) {}
    }

    @Test func `a line that ends with the connection counts, and one that comes in pieces too`() async throws {
        let server = try Running(path, limits())
        var connection = try LocalConnection(to: path)
        for piece in ["wh", "y ", "web"] {
            #expect(try connection.send(Array(piece.utf8)[...]) == piece.utf8.count)
            await Task.yield()
        }
        try connection.endSending()
        #expect(try await rest(of: &connection) == "7\nyou said why web\n")
        withExtendedLifetime(server) {}
    }

    @Test func `a long answer arrives as a whole, also at a client that is slow to read`() async throws {
        let long = String(repeating: "0123456789", count: 300_000)
        let server = try Running(path, limits()) { _ in long }
        #expect(try await ask("x")?.text == long)
        var connection = try LocalConnection(to: path)
        _ = try connection.send(Array("x\n".utf8)[...])
        try await Task.sleep(for: .milliseconds(200))
        #expect(try await rest(of: &connection) == "1\n" + long)
        withExtendedLifetime(server) {}
    }

    // MARK: Hostile clients

    @Test(arguments: ["", "no line", "\0\0\0"])
    func `a client that does not finish its line is left, and disturbs nobody`(sent: String) async throws {
        let server = try Running(path, limits(reading: .milliseconds(300)))
        var idle = try LocalConnection(to: path)
        _ = try idle.send(Array(sent.utf8)[...])
        #expect(try await ask("x")?.status == 1)
        #expect(try await rest(of: &idle) == "")
        withExtendedLifetime(server) {}
    }

    @Test func `a line that is too long is refused`() async throws {
        let server = try Running(path)
        var connection = try LocalConnection(to: path)
        _ = try connection.send(ArraySlice(repeating: UInt8(ascii: "x"), count: 20_000))
        #expect(try await rest(of: &connection) == "1\nthe line is too long\n")
        withExtendedLifetime(server) {}
    }

    @Test func `a client that does not read its answer is left, and one that goes without it disturbs nobody`()
        async throws
    {
        let long = String(repeating: "0123456789", count: 300_000)
        var limits = limits(writing: .milliseconds(300))
        limits.clients = 1
        let server = try Running(path, limits) { $0 == "much" ? long : "little" }
        var deaf = try LocalConnection(to: path)
        _ = try deaf.send(Array("much\n".utf8)[...])
        // There is room for one: this is served when the other was left.
        #expect(await eventually { (try? await ask("x"))?.text == "little" })
        #expect(try await rest(of: &deaf).utf8.count < long.utf8.count)
        for _ in 0..<50 {
            _ = try? Held(path).say("much\n")
        }
        #expect(await eventually { (try? await ask("x"))?.text == "little" })
        withExtendedLifetime(server) {}
    }

    @Test func `of too many clients the last are closed, and there is room again when others have gone`()
        async throws
    {
        var limits = limits(reading: .seconds(600))
        limits.clients = 8
        let server = try Running(path, limits)
        do {
            let first = try (0..<8).map { _ in try Held(path) }
            #expect(await eventually { (try? await ask("x")) == nil })
            withExtendedLifetime(first) {}
        }
        #expect(await eventually { (try? await ask("x"))?.status == 1 })
        withExtendedLifetime(server) {}
    }

    /// A connection that is there as long as the value, and reads nothing.
    private final class Held {
        private let connection: LocalConnection
        init(_ path: String) throws { connection = try LocalConnection(to: path) }
        func say(_ text: String) throws { _ = try connection.send(Array(text.utf8)[...]) }
    }

    // MARK: The file

    @Test func `the socket is for its account alone, and is gone at the end`() async throws {
        let server = try Running(path)
        #expect(try await ask("x")?.status == 1)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        await server.stop()
        #expect(!FileManager.default.fileExists(atPath: path))
        // At once again, as after a restart.
        let next = try Running(path)
        #expect(try await ask("x")?.status == 1)
        withExtendedLifetime(next) {}
    }

    @Test func `the folder is made where it is missing`() async throws {
        let path = folder.path + "/new/control.sock"
        let server = try Running(path)
        #expect(FileManager.default.fileExists(atPath: path))
        withExtendedLifetime(server) {}
        #expect(throws: LocalListener.Failure.refused(FileError("listen on", "/nonexistent/a/s", code: ENOENT))) {
            _ = try Running("/nonexistent/a/s")
        }
        let long = "/tmp/" + String(repeating: "x", count: 200)
        #expect(throws: LocalListener.Failure.refused(FileError("listen on", long, code: ENAMETOOLONG))) {
            _ = try Running(long)
        }
    }

    @Test func `the file of a dead process is replaced`() async throws {
        let dead = Program(
            "python3",
            ["-c", "import socket,sys; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()", path]
        )
        _ = try await dead.run(deadline: .seconds(20))
        #expect(FileManager.default.fileExists(atPath: path))
        let server = try Running(path)
        #expect(try await ask("x")?.status == 1)
        withExtendedLifetime(server) {}
    }

    @Test func `the socket of a living process is not taken, and what is no socket is left alone`() async throws {
        let server = try Running(path)
        #expect(throws: LocalListener.Failure.taken(path: path)) { _ = try Running(path) }
        #expect(try await ask("x")?.status == 1)
        let file = folder.path + "/file"
        try Data("precious".utf8).write(to: URL(filePath: file))
        #expect(throws: LocalListener.Failure.notASocket(path: file)) { _ = try Running(file) }
        #expect(FileManager.default.fileExists(atPath: file))
        withExtendedLifetime(server) {}
    }

    @Test func `at the end the file of somebody else is left alone`() async throws {
        let first = try Running(path)
        try FileManager.default.removeItem(atPath: path)
        let second = try Running(path)
        await first.stop()
        #expect(try await ask("x")?.status == 1)
        withExtendedLifetime(second) {}
    }

    @Test func `of many that start together one gets the socket`() async throws {
        let path = path
        let started = await withTaskGroup(of: Running?.self) { group in
            for _ in 0..<10 { group.addTask { try? Running(path) } }
            return await group.reduce(into: []) { started, next in if let next { started.append(next) } }
        }
        #expect(started.count == 1)
        #expect(await eventually { (try? await ask("x"))?.status == 1 })
    }
}

@Suite("CommandResponse")
struct CommandResponseTests {
    @Test(arguments: [
        CommandResponse(""), CommandResponse("a\n"), CommandResponse(status: 2, "a\n\nb"), CommandResponse("\n"),
    ])
    func `an answer is read as it was written`(answer: CommandResponse) {
        #expect(CommandResponse(wire: answer.wire) == answer)
    }

    @Test(arguments: ["", "0", "x\n", "Unknown command\n", "99999999999\n"])
    func `what is no answer is none`(wire: String) {
        #expect(CommandResponse(wire: wire) == nil)
    }
}
