import Glibc
import Synchronization
import TestSupport

@testable import Shared

/// One client's connection, on which it sends one request after another.
final class LongConnection: Sendable {
    /// Why an exchange failed.
    struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ what: String) {
            let code = errno
            description = "\(what): \(unsafe String(cString: strerror(code)))"
        }
    }

    private let client: Int32

    /// Connects to a port of this host.
    init(port: Int) throws {
        client = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        unsafe setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard Self.connect(client, port) else { throw Failure("connect") }
    }

    deinit { close(client) }

    /// Sends a request and gives the answer with its head.
    func exchange() throws -> String {
        let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        guard unsafe send(client, request, request.utf8.count, Int32(MSG_NOSIGNAL)) == request.utf8.count
        else { throw Failure("send") }
        // Backends send each answer at once.
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe recv(client, &bytes, bytes.count, 0)
        guard count > 0 else { throw Failure("receive") }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Whether a request gets that answer.
    func answers(_ text: String) -> Bool {
        (try? exchange())?.hasSuffix("\r\n\r\n" + text) == true
    }

    private static func connect(_ client: Int32, _ port: Int) -> Bool {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe Glibc.connect(client, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}

/// Clients that send requests one after another, ten on each connection, and count what fails.
final class LoadGenerator: Sendable {
    private let port: Int
    private let isOver = Atomic(false)
    private let running = Atomic(0)
    private let succeeded = Atomic(0)
    private let failures = Mutex<[String]>([])

    /// Starts clients, each on a thread of its own.
    init(port: Int, clients: Int) {
        self.port = port
        for _ in 0..<clients {
            running.add(1, ordering: .relaxed)
            _ = BackgroundThread.start { [self] in
                while !isOver.load(ordering: .relaxed) { connectAndAsk() }
                running.subtract(1, ordering: .relaxed)
            }
        }
    }

    /// How many requests were answered so far.
    var count: Int { succeeded.load(ordering: .relaxed) }

    /// Ends the clients, and gives what failed.
    func stop() async -> [String] {
        isOver.store(true, ordering: .relaxed)
        _ = await eventually { running.load(ordering: .relaxed) == 0 }
        return failures.withLock { $0 }
    }

    private func connectAndAsk() {
        do {
            let connection = try LongConnection(port: port)
            for _ in 0..<10 {
                let answer = try connection.exchange()
                guard answer.hasPrefix("HTTP/1.1 200 ") else { throw LongConnection.Failure(answer) }
                succeeded.add(1, ordering: .relaxed)
            }
        } catch {
            failures.withLock { $0.append("\(error)") }
        }
    }
}
