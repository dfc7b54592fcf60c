import Glibc
import Synchronization
import TestSupport

@testable import Shared

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
                while !isOver.load(ordering: .relaxed) { exchange() }
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

    /// One connection with ten requests.
    private func exchange() {
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(client) }
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        unsafe setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard connect(client) else { return fail("connect") }
        for _ in 0..<10 {
            let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            guard unsafe send(client, request, request.utf8.count, Int32(MSG_NOSIGNAL)) == request.utf8.count
            else { return fail("send") }
            guard let answer = receive(client) else { return fail("receive") }
            guard answer.hasPrefix("HTTP/1.1 200 ") else { return fail(answer) }
            succeeded.add(1, ordering: .relaxed)
        }
    }

    /// Reads one answer; backends send each at once.
    private func receive(_ client: Int32) -> String? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe recv(client, &bytes, bytes.count, 0)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }

    private func connect(_ client: Int32) -> Bool {
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

    private func fail(_ what: String) {
        let code = errno
        failures.withLock { $0.append("\(what): \(unsafe String(cString: strerror(code)))") }
    }
}
