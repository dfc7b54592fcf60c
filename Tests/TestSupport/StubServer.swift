import Glibc
import Synchronization

/// What a stub could not do.
package enum StubError: Error {
    /// The kernel gave no socket, with this `errno`.
    case noSocket(Int32)
}

/// A server on a fresh unix socket or port for faults that the real thing cannot be made to show.
///
/// Each connection gets a thread, which runs the script that the test gives.
package final class StubServer: Sendable {
    /// One accepted connection.
    package struct Connection: Sendable {
        let descriptor: Int32
        /// Counts from 0 in the order of their coming.
        package let number: Int

        /// Reads one request with its body; nil when the client has gone.
        package func request() -> String? {
            var bytes: [UInt8] = []
            while true {
                if let head = Self.headEnd(bytes), bytes.count >= head + Self.bodyLength(bytes[..<head]) {
                    return String(decoding: bytes, as: UTF8.self)
                }
                var piece = [UInt8](repeating: 0, count: 65_536)
                let count = unsafe read(descriptor, &piece, piece.count)
                guard count > 0 else { return nil }
                bytes += piece[..<count]
            }
        }

        /// Reads all that the client sends before it ends its side.
        package func everything() -> String {
            var bytes: [UInt8] = []
            while true {
                var piece = [UInt8](repeating: 0, count: 65_536)
                let count = unsafe read(descriptor, &piece, piece.count)
                guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
                bytes += piece[..<count]
            }
        }

        /// Sends text as it is; false when the client has gone.
        @discardableResult
        package func send(_ text: String) -> Bool {
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                let count = unsafe rest.withUnsafeBytes {
                    unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return false }
                rest = rest.dropFirst(count)
            }
            return true
        }

        /// Waits until the client closes the connection.
        package func waitForEnd() {
            var byte: UInt8 = 0
            while unsafe read(descriptor, &byte, 1) > 0 {}
        }

        private static func headEnd(_ bytes: [UInt8]) -> Int? {
            let end = Array("\r\n\r\n".utf8)
            return bytes.indices.first { bytes[$0...].starts(with: end) }.map { $0 + end.count }
        }

        private static func bodyLength(_ head: ArraySlice<UInt8>) -> Int {
            let lines = String(decoding: head, as: UTF8.self).split(separator: "\r\n")
            let line = lines.first { $0.lowercased().hasPrefix("content-length:") }
            return line.flatMap { Int($0.dropFirst("content-length:".count).drop { $0 == " " }) } ?? 0
        }
    }

    /// The path of its socket; nil for a port.
    package let path: String?
    /// Its port on 127.0.0.1; 0 for a socket.
    package let port: Int

    private let descriptor: Int32
    private let listening = Listening()

    /// What the thread that accepts tells; that thread outlives no server.
    private final class Listening: Sendable {
        let accepted = Atomic(0)
        let isOver = Atomic(false)
    }

    /// How many connections it has accepted.
    package var connections: Int { listening.accepted.load(ordering: .relaxed) }

    /// Listens on a unix socket at `path`, or on `port`, by default a free one, and runs `script` for each connection.
    package init(path: String? = nil, port: Int = 0, _ script: @escaping @Sendable (Connection) -> Void) throws {
        let family = path == nil ? AF_INET : AF_UNIX
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        self.descriptor = descriptor
        self.path = path
        self.port = try path.map { try Self.listen(descriptor, path: $0) } ?? Self.listen(descriptor, port: port)
        Self.thread { [descriptor, listening] in
            while true {
                let client = accept(descriptor, nil, nil)
                if client < 0 && (errno == EINTR || errno == ECONNABORTED) { continue }
                guard client >= 0 else { break }
                let number = listening.accepted.add(1, ordering: .relaxed).oldValue
                Self.thread {
                    script(Connection(descriptor: client, number: number))
                    close(client)
                }
            }
            // Closed by anybody else, its number might be another's while it is accepted on.
            close(descriptor)
            listening.isOver.store(true, ordering: .releasing)
        }
    }

    /// Listens on a free port, answers each HTTP request with `name`, and keeps connections open.
    package convenience init(answering name: String) throws {
        try self.init { connection in
            while connection.request() != nil {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(name.utf8.count)\r\n\r\n\(name)")
            }
        }
    }

    /// Nobody listens there any more when it is gone.
    deinit {
        shutdown(descriptor, Int32(SHUT_RDWR))
        while !listening.isOver.load(ordering: .acquiring) { usleep(100) }
    }

    private static func listen(_ descriptor: Int32, path: String) throws -> Int {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        let isBound = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        guard isBound, Glibc.listen(descriptor, 1024) == 0 else { throw StubError.noSocket(errno) }
        return 0
    }

    private static func listen(_ descriptor: Int32, port: Int) throws -> Int {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isBound, Glibc.listen(descriptor, 1024) == 0 else { throw StubError.noSocket(errno) }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    private static func thread(_ body: @escaping @Sendable () -> Void) {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(Box(body))
        unsafe pthread_create(
            &thread, nil,
            { context in
                if let context = unsafe context {
                    unsafe Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body()
                }
                return nil
            }, context.toOpaque())
        pthread_detach(thread)
    }
}
