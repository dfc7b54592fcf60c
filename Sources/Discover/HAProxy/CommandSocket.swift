import Glibc
import Shared

/// A client of HAProxy's command sockets: the master's and the runtime API's.
///
/// One connection per line, as every version from 2.4 on understands it
/// (https://docs.haproxy.org/2.6/management.html#9.3).
struct CommandSocket: Sendable {
    /// The socket's path.
    let path: String

    /// Why a command got no answer.
    enum Failure: Error, Equatable {
        /// Nobody listens there, or the system refused.
        case unreachable(FileError)
        /// The answer did not come, or did not end, in time.
        case timedOut(path: String, after: Duration)
    }

    /// The longest answer that is read: `show servers state` of 100 000 servers.
    private static let answerCap = 16 << 20

    /// Sends a line and returns the answer, which ends when HAProxy closes the connection.
    ///
    /// Polling costs less than a thread here: HAProxy answers within a millisecond, or is busy loading a file.
    func send(_ line: String, deadline: Duration) async throws -> String {
        let end = ContinuousClock.now + deadline
        var connection = try Connection(to: path)
        try connection.write(line + "\n")
        var wait = Duration.microseconds(200)
        while try !connection.readAvailable(upTo: Self.answerCap) {
            guard ContinuousClock.now < end else { throw Failure.timedOut(path: path, after: deadline) }
            try await Task.sleep(for: wait)
            wait = min(wait * 2, .milliseconds(20))
        }
        return connection.answer
    }
}

/// One connection; it is closed when nobody holds it any more.
private struct Connection: ~Copyable {
    private let path: String
    private let socket: Int32
    private var received: [UInt8] = []

    var answer: String { String(decoding: received, as: UTF8.self) }

    init(to path: String) throws {
        self.path = path
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw CommandSocket.Failure.unreachable(FileError("open a socket for", path)) }
        guard Self.connect(socket, path) else {
            throw CommandSocket.Failure.unreachable(FileError("connect to", path))
        }
    }

    deinit {
        close(socket)
    }

    /// A unix socket is connected at once, or refuses; only where its queue is full it would wait.
    private static func connect(_ socket: Int32, _ path: String) -> Bool {
        guard var address = UnixAddress(path), fcntl(socket, F_SETFL, O_NONBLOCK) == 0 else { return false }
        return unsafe address.withPointer { unsafe Glibc.connect(socket, $0, $1) } == 0
    }

    /// Writes the whole line; lines are far shorter than a socket's buffer.
    func write(_ line: String) throws {
        let bytes = Array(line.utf8)
        let count = unsafe bytes.withUnsafeBytes {
            unsafe Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard count == bytes.count, shutdown(socket, Int32(SHUT_WR)) == 0 else {
            throw CommandSocket.Failure.unreachable(FileError("write to", path))
        }
    }

    /// Reads what there is; returns whether that was all.
    mutating func readAvailable(upTo cap: Int) throws -> Bool {
        var chunk = [UInt8](repeating: 0, count: 1 << 14)
        while received.count < cap {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe recv(socket, $0.baseAddress, $0.count, 0) }
            if count == 0 { return true }
            if count < 0 {
                switch errno {
                case EAGAIN: return false
                case EINTR: continue
                // What was received is an answer: a master that re-executes itself cuts connections like this.
                case ECONNRESET: return true
                default: throw CommandSocket.Failure.unreachable(FileError("read from", path))
                }
            }
            received += chunk[..<count]
        }
        return true
    }
}

/// The address of a unix socket.
private struct UnixAddress {
    private var address = sockaddr_un()

    init?(_ path: String) {
        let bytes = Array(path.utf8)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard bytes.count < room else { return nil }
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
    }

    mutating func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}

extension CommandSocket.Failure: CustomStringConvertible {
    /// One sentence for the log.
    var description: String {
        switch self {
        case .unreachable(let error): error.description
        case .timedOut(let path, let limit): "no complete answer from \(path) within \(limit)"
        }
    }
}
