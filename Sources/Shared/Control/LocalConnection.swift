import Glibc

/// One connection over a unix socket that never waits; it is closed when nobody holds it any more.
struct LocalConnection: ~Copyable {
    /// What was received so far.
    private(set) var received: [UInt8] = []

    private let path: String
    private let socket: Int32

    /// Connects to the socket at `path`.
    ///
    /// A unix socket is connected at once, or refuses; only where its queue is full it would wait.
    init(to path: String) throws(FileError) {
        self.path = path
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard socket >= 0 else { throw FileError("open a socket for", path) }
        guard var address = UnixAddress(path) else { throw FileError("connect to", path, code: ENAMETOOLONG) }
        let isConnected = unsafe address.withPointer { unsafe Glibc.connect(socket, $0, $1) } == 0
        guard isConnected else { throw FileError("connect to", path) }
    }

    /// Takes a connection that was accepted, and is set not to wait.
    init(accepted socket: Int32, at path: String) {
        self.path = path
        self.socket = socket
    }

    deinit {
        close(socket)
    }

    /// Sends as many of the bytes as there is room for, and returns their number.
    func send(_ bytes: ArraySlice<UInt8>) throws(FileError) -> Int {
        while true {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 { return count }
            switch errno {
            case EAGAIN: return 0
            case EINTR: continue
            default: throw FileError("write to", path)
            }
        }
    }

    /// Tells the other side that nothing more comes.
    func endSending() throws(FileError) {
        guard shutdown(socket, Int32(SHUT_WR)) == 0 else { throw FileError("write to", path) }
    }

    /// Reads what there is; returns whether that was all, or as much as may come.
    mutating func readAvailable(upTo cap: Int) throws(FileError) -> Bool {
        var chunk = [UInt8](repeating: 0, count: 1 << 14)
        while received.count < cap {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe recv(socket, $0.baseAddress, $0.count, 0) }
            if count == 0 { return true }
            if count < 0 {
                switch errno {
                case EAGAIN: return false
                case EINTR: continue
                // What was received counts: a master that re-executes itself cuts connections like this.
                case ECONNRESET: return true
                default: throw FileError("read from", path)
                }
            }
            received += chunk[..<count]
        }
        return true
    }
}

/// Growing pauses between two looks at a connection.
///
/// They cost less than a thread: an answer mostly comes within a millisecond.
struct ShortPauses {
    private var next = Duration.microseconds(200)
    private let end: ContinuousClock.Instant

    /// Pauses until a limit has passed.
    init(within limit: Duration) {
        end = .now + limit
    }

    /// Waits for a moment; false where the limit has passed.
    mutating func wait() async throws -> Bool {
        guard ContinuousClock.now < end else { return false }
        try await Task.sleep(for: next)
        next = min(next * 2, .milliseconds(20))
        return true
    }
}
