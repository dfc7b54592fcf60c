import Glibc
import Synchronization

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
            guard error.code == ECONNREFUSED else { throw .taken(path: path) }
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
