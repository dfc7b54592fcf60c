import Glibc

/// Ports that nobody listens on.
package enum FreePort {
    /// A TCP port that was free a moment ago.
    ///
    /// The kernel hands out another one each time, so that tests side by side do not meet.
    package static func take() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isBound else { throw StubError.noSocket(errno) }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
