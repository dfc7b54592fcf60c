import Glibc
import Testing

@testable import Shared

@Suite("StandardError", .timeLimit(.minutes(1)), .serialized)
struct StandardErrorTests {
    @Test func `a line is written with its newline`() throws {
        let pipe = try Pipe()
        StandardError.write("level=info", to: pipe.writeEnd)
        #expect(pipe.read() == "level=info\n")
    }

    @Test(arguments: [0, O_NONBLOCK])
    func `a reader that reads nothing does not stop the program`(flags: Int32) throws {
        let pipe = try Pipe(flags: flags)
        let line = String(repeating: "x", count: 1_000)
        for _ in 0..<200 { StandardError.write(line, to: pipe.writeEnd) }
        #expect(pipe.read().hasPrefix(line + "\n"))
        StandardError.write("after", to: pipe.writeEnd)
        #expect(pipe.read().contains("after\n"))
    }

    @Test func `journald reads the stream whose device and inode JOURNAL_STREAM names`() throws {
        let (pipe, other) = (try Pipe(), try Pipe())
        var status = stat()
        try #require(unsafe fstat(pipe.writeEnd, &status) == 0)
        let environment = ["JOURNAL_STREAM": "\(status.st_dev):\(status.st_ino)"]
        #expect(StandardError.isJournal(environment, descriptor: pipe.writeEnd))
        #expect(!StandardError.isJournal(environment, descriptor: other.writeEnd))
        #expect(!StandardError.isJournal([:], descriptor: pipe.writeEnd))
        #expect(!StandardError.isJournal(["JOURNAL_STREAM": ""], descriptor: 100_000))
    }

    @Test func `a closed descriptor and a reader that is gone are no fault`() throws {
        signal(SIGPIPE, SIG_IGN)
        let closed: Int32 = 100_000
        #expect(fcntl(closed, F_GETFD) == -1)
        let (broken, good) = (try Pipe(), try Pipe())
        broken.closeReadEnd()
        for descriptor in [closed, broken.writeEnd] {
            #expect(unsafe write(descriptor, "x", 1) == -1)
            StandardError.write("nobody", to: descriptor)
            // It returned, and what comes after is written.
            StandardError.write("after", to: good.writeEnd)
            #expect(good.read() == "after\n")
        }
    }
}

/// A pipe whose ends close with it.
private final class Pipe {
    let readEnd: Int32
    let writeEnd: Int32
    private var isReadable = true

    init(flags: Int32 = 0) throws {
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0, fcntl(ends[1], F_SETFL, flags) == 0 else { throw NoPipe() }
        (readEnd, writeEnd) = (ends[0], ends[1])
    }

    func read() -> String {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let size = unsafe Glibc.read(readEnd, &bytes, 65_536)
        return String(decoding: bytes.prefix(max(size, 0)), as: UTF8.self)
    }

    func closeReadEnd() {
        isReadable = false
        close(readEnd)
    }

    deinit {
        close(writeEnd)
        if isReadable { close(readEnd) }
    }
}

private struct NoPipe: Error {}
