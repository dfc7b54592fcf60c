import Glibc
import Synchronization

/// The address of a unix socket.
struct UnixAddress {
    private var address = sockaddr_un()

    /// The longest path of a socket, in bytes, which is the kernel's.
    static let longestPath = 107

    /// Takes a path; nil where it is too long.
    init?(_ path: String) {
        let bytes = Array(path.utf8)
        guard bytes.count <= Self.longestPath else { return nil }
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
    }

    /// Calls `body` with the address as the system's calls want it.
    mutating func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}

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
        Glibc.close(socket)
    }

    /// Closes a connection that was accepted and is not wanted.
    static func close(_ socket: Int32) { Glibc.close(socket) }

    /// Sends bytes for which the socket has room.
    func sendAll(_ bytes: [UInt8]) throws(FileError) {
        guard try send(bytes[...]) == bytes.count else { throw FileError("write to", path, code: EMSGSIZE) }
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

/// A unix socket that is listened on, for the account of the process alone.
package final class LocalListener: Sendable {
    /// Why nothing can listen there.
    package enum Failure: Error, Equatable {
        /// Somebody listens there already.
        case taken(path: String)
        /// Something else than a socket is there.
        case notASocket(path: String)
        /// The system refused.
        case refused(FileError)
    }

    private let path: String
    private let socket: Int32
    private let identity: Identity?
    private let isOpen = Atomic(true)

    /// Which file it is: another process may have put its own in the place.
    private struct Identity: Equatable {
        var device: UInt
        var number: UInt
    }

    /// Begins to listen; the file of a process that is dead is replaced.
    init(path: String) throws(Failure) {
        self.path = path
        let folder = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
        _ = unsafe mkdir(String(folder), 0o755)
        let lock = FolderLock(String(folder))
        try Self.makeRoom(at: path)
        do {
            socket = try Self.listen(at: path)
        } catch {
            throw .refused(error)
        }
        identity = Self.file(at: path)?.identity
        withExtendedLifetime(lock) {}
    }

    /// Waits for a client; nil once it is closed.
    func accept() -> Int32? {
        while isOpen.load(ordering: .acquiring) {
            let client = Glibc.accept(socket, nil, nil)
            if client >= 0 {
                _ = fcntl(client, F_SETFD, FD_CLOEXEC)
                _ = fcntl(client, F_SETFL, O_NONBLOCK)
                return client
            }
            // Out of descriptors, mostly: it passes.
            if isOpen.load(ordering: .acquiring), errno != EINTR { BackgroundThread.sleep(for: .milliseconds(100)) }
        }
        Glibc.close(socket)
        return nil
    }

    /// Stops listening and removes the file, if it is still this one's.
    func close() {
        guard isOpen.exchange(false, ordering: .acquiringAndReleasing) else { return }
        if identity != nil, Self.file(at: path)?.identity == identity { _ = unsafe unlink(path) }
        // It wakes the thread that accepts, which closes the descriptor.
        shutdown(socket, Int32(SHUT_RDWR))
    }

    deinit { close() }

    private static func listen(at path: String) throws(FileError) -> Int32 {
        guard var address = UnixAddress(path) else { throw FileError("listen on", path, code: ENAMETOOLONG) }
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw FileError("open a socket for", path) }
        // The mode of the descriptor becomes that of the file: nobody else can come in between.
        guard fchmod(socket, 0o600) == 0, unsafe address.withPointer({ unsafe Glibc.bind(socket, $0, $1) }) == 0,
            Glibc.listen(socket, 16) == 0
        else {
            let error = FileError("listen on", path)
            Glibc.close(socket)
            throw error
        }
        return socket
    }

    // MARK: What is there

    private static func makeRoom(at path: String) throws(Failure) {
        guard let file = file(at: path) else { return }
        guard file.isSocket else { throw .notASocket(path: path) }
        do {
            _ = try LocalConnection(to: path)
        } catch {
            guard error.kind == .refused else { throw .taken(path: path) }
            _ = unsafe unlink(path)
            return
        }
        throw .taken(path: path)
    }

    private static func file(at path: String) -> (isSocket: Bool, identity: Identity)? {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return nil }
        return (
            status.st_mode & S_IFMT == S_IFSOCK, Identity(device: UInt(status.st_dev), number: UInt(status.st_ino))
        )
    }
}

/// Held while a socket is made: of two agents that start together, one would take the other's file for a dead one's.
private struct FolderLock: ~Copyable {
    private let descriptor: Int32

    /// Waits a moment for others; without the lock, for which the folder must be readable, it goes on all the same.
    init(_ folder: String) {
        descriptor = unsafe open(folder.isEmpty ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        for _ in 0..<20 where descriptor >= 0 {
            guard flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK else { return }
            BackgroundThread.sleep(for: .milliseconds(5))
        }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }
}

extension LocalListener.Failure: CustomStringConvertible {
    /// One sentence for a log line.
    package var description: String {
        switch self {
        case .taken(let path): "another process listens on \(path)"
        case .notASocket(let path): "\(path) is there already, and is no socket"
        case .refused(let error): error.description
        }
    }
}
