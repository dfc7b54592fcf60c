package import Glibc

/// An address and a port as the kernel writes and reads them.
package struct SocketAddress: Hashable, Sendable {
    /// The address.
    package var address: IPAddress
    /// The port.
    package var port: UInt16

    /// Puts both together.
    package init(_ address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }

    /// Reads the kernel's form; nil for families other than IPv4 and IPv6.
    @unsafe
    package init?(_ pointer: UnsafePointer<sockaddr>) {
        let raw = unsafe UnsafeRawPointer(pointer)
        switch unsafe Int32(pointer.pointee.sa_family) {
        case AF_INET:
            let v4 = unsafe raw.loadUnaligned(as: sockaddr_in.self)
            let bytes = unsafe withUnsafeBytes(of: v4.sin_addr) { unsafe Array($0) }
            guard let address = IPAddress(bytes: bytes) else { return nil }
            self.init(address, port: UInt16(bigEndian: v4.sin_port))
        case AF_INET6:
            let v6 = unsafe raw.loadUnaligned(as: sockaddr_in6.self)
            let bytes = unsafe withUnsafeBytes(of: v6.sin6_addr) { unsafe Array($0) }
            guard let address = IPAddress(bytes: bytes) else { return nil }
            self.init(address, port: UInt16(bigEndian: v6.sin6_port))
        default: return nil
        }
    }

    /// The family's number for `socket`.
    package var family: Int32 { address.family == .v4 ? AF_INET : AF_INET6 }

    /// Hands the kernel's form to a call.
    package func withKernelForm<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        if address.family == .v4 {
            var v4 = sockaddr_in()
            v4.sin_family = sa_family_t(AF_INET)
            v4.sin_port = port.bigEndian
            unsafe withUnsafeMutableBytes(of: &v4.sin_addr) { unsafe $0.copyBytes(from: address.bytes) }
            return unsafe Self.rebound(&v4, body)
        }
        var v6 = sockaddr_in6()
        v6.sin6_family = sa_family_t(AF_INET6)
        v6.sin6_port = port.bigEndian
        unsafe withUnsafeMutableBytes(of: &v6.sin6_addr) { unsafe $0.copyBytes(from: address.bytes) }
        return unsafe Self.rebound(&v6, body)
    }

    private static func rebound<Form, Result>(
        _ form: inout Form, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        unsafe withUnsafePointer(to: &form) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(MemoryLayout<Form>.size))
            }
        }
    }

    /// The address from which this host would send to this one; the system's error number where there is no way.
    ///
    /// A connected datagram socket finds it out; nothing is sent.
    package func localAddress() -> Result<IPAddress, SystemError> {
        let probe = socket(family, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return .failure(SystemError(errno)) }
        defer { close(probe) }
        if family == AF_INET6 {
            // RFC 5014: not one of the temporary addresses that change every day.
            var preference: Int32 = 2
            unsafe setsockopt(probe, Int32(IPPROTO_IPV6), 72, &preference, socklen_t(MemoryLayout<Int32>.size))
        }
        guard unsafe withKernelForm({ unsafe connect(probe, $0, $1) }) == 0 else { return .failure(SystemError(errno)) }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let local = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { form in
                unsafe getsockname(probe, form, &length) == 0 ? SocketAddress(form) : nil
            }
        }
        return local.map { .success($0.address) } ?? .failure(SystemError(errno))
    }
}

/// Looks host names up, as everything else on the host does.
package enum NameLookup {
    /// Why a name gives no address.
    package struct Failure: Error, Equatable {
        /// The name.
        package let name: String
        /// The system's words.
        package let reason: String
    }

    /// The addresses of a host name, in the system's order of preference.
    package static func addresses(of name: String, limit: Duration) async throws -> [IPAddress] {
        if let address = IPAddress(name) { return [address] }
        do {
            return try await onOwnThread(limit: limit) { look(up: name) }.get()
        } catch let error as DeadlineExceeded {
            throw Failure(name: name, reason: "\(error)")
        }
    }

    private static func look(up name: String) -> Result<[IPAddress], Failure> {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        let status = unsafe getaddrinfo(name, nil, &hints, &first)
        guard status == 0 else {
            return .failure(Failure(name: name, reason: unsafe String(cString: gai_strerror(status))))
        }
        defer { unsafe freeaddrinfo(first) }
        var addresses: [IPAddress] = []
        var next = unsafe first
        while let entry = unsafe next {
            if let form = unsafe entry.pointee.ai_addr, let found = unsafe SocketAddress(form)?.address {
                addresses.append(found)
            }
            unsafe next = entry.pointee.ai_next
        }
        return .success(addresses)
    }
}
