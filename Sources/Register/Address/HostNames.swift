import Glibc
import Shared

/// Looks host names up, as everything else on the host does.
enum HostNames {
    /// The addresses of a host name, in the system's order of preference.
    static func addresses(of name: String, limit: Duration) async throws -> [IPAddress] {
        if let address = IPAddress(name) { return [address] }
        do {
            return try await onOwnThread(limit: limit) { look(up: name) }.get()
        } catch let error as DeadlineExceeded {
            throw HostAddressError.unknownName(name, reason: "\(error)")
        }
    }

    private static func look(up name: String) -> Result<[IPAddress], HostAddressError> {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        let status = unsafe getaddrinfo(name, nil, &hints, &first)
        guard status == 0 else {
            return .failure(.unknownName(name, reason: unsafe String(cString: gai_strerror(status))))
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
