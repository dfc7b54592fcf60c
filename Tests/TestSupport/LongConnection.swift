import Glibc

/// One client's connection, on which it sends one request after another.
package final class LongConnection: Sendable {
    /// Why an exchange failed.
    package struct Failure: Error, CustomStringConvertible {
        /// The call and the system's reason.
        package let description: String

        /// Takes the reason from `errno`.
        package init(_ what: String) {
            let code = errno
            description = "\(what): \(unsafe String(cString: strerror(code)))"
        }
    }

    private let client: Int32

    /// Connects to a port of this host.
    package init(port: Int) throws {
        client = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        unsafe setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard Self.connect(client, port) else { throw Failure("connect") }
    }

    deinit { close(client) }

    /// Ends the connection in both directions.
    package func end() { shutdown(client, Int32(SHUT_RDWR)) }

    /// Sends a request and gives the answer with its head.
    package func exchange() throws -> String {
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
    package func answers(_ text: String) -> Bool {
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
