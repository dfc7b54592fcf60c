import Glibc
import Shared

/// Finds out whether a port is free before HAProxy tries: a reload that cannot bind one port stops all of them.
enum PortProbe {
    /// Why no listener could bind here, alone: the system's error number, or nil where one could.
    ///
    /// Without SO_REUSEPORT, with which HAProxy would share the port with another process of the same user, and with
    /// SO_REUSEADDR, so that connections that have just ended do not count.
    ///
    /// - Parameter isShared: whether an HAProxy of ours listens there on another address; it shares the port with the
    ///   worker that follows.
    static func obstacle(to bind: BindAddress, isShared: Bool = false) -> Int32? {
        let family = bind.address?.family == .v6 ? AF_INET6 : AF_INET
        let probe = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return errno }
        defer { close(probe) }
        for option in [SO_REUSEADDR] + (isShared ? [SO_REUSEPORT] : []) {
            guard turnOn(option, of: probe) else { return errno }
        }
        return Self.bind(probe, to: bind) ? nil : errno
    }

    private static func turnOn(_ option: Int32, of socket: Int32) -> Bool {
        var on: Int32 = 1
        return unsafe setsockopt(socket, SOL_SOCKET, option, &on, socklen_t(MemoryLayout<Int32>.size)) == 0
    }

    private static func bind(_ socket: Int32, to bind: BindAddress) -> Bool {
        if let address = bind.address, address.family == .v6 {
            var v6 = sockaddr_in6()
            v6.sin6_family = sa_family_t(AF_INET6)
            v6.sin6_port = bind.port.number.bigEndian
            unsafe withUnsafeMutableBytes(of: &v6.sin6_addr) { unsafe $0.copyBytes(from: address.bytes) }
            return Self.bind(socket, &v6)
        }
        var v4 = sockaddr_in()
        v4.sin_family = sa_family_t(AF_INET)
        v4.sin_port = bind.port.number.bigEndian
        unsafe withUnsafeMutableBytes(of: &v4.sin_addr) {
            unsafe $0.copyBytes(from: bind.address?.bytes ?? [0, 0, 0, 0])
        }
        return Self.bind(socket, &v4)
    }

    private static func bind<Address>(_ socket: Int32, _ address: inout Address) -> Bool {
        unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe Glibc.bind(socket, $0, socklen_t(MemoryLayout<Address>.size)) == 0
            }
        }
    }
}
