/// A server to talk to: a TCP host with or without TLS, or a unix socket.
package struct HTTPOrigin: Hashable, Sendable {
    /// The files that TLS needs, in PEM.
    package struct TLS: Hashable, Sendable {
        /// The authorities that the server's certificate is checked against; nil for the system's.
        package var authorities: String?
        /// The client's certificate.
        package var certificate: String?
        /// The key of the client's certificate.
        package var key: String?

        /// Names the files.
        package init(authorities: String? = nil, certificate: String? = nil, key: String? = nil) {
            self.authorities = authorities
            self.certificate = certificate
            self.key = key
        }
    }

    /// Scheme, host and port without a path, such as `http://10.0.0.1:2379`.
    package let base: String

    /// The path of the unix socket that the connection goes through instead of TCP.
    package let socket: String?

    /// The files for TLS; they matter for `https` only.
    package let tls: TLS

    /// A server that listens on a unix socket.
    package static func unix(_ path: String) -> HTTPOrigin {
        HTTPOrigin(base: "http://localhost", socket: path, tls: TLS())
    }

    /// A server on TCP.
    ///
    /// `base` has a scheme and no path.
    package static func tcp(_ base: String, tls: TLS = TLS()) -> HTTPOrigin {
        HTTPOrigin(base: base, socket: nil, tls: tls)
    }

    /// The name or address of a TCP server, without brackets; nil where it listens on a unix socket.
    package var host: String? {
        guard socket == nil, let authority else { return nil }
        let host = authority.host
        return String(host.first == "[" && host.last == "]" ? host.dropFirst().dropLast() : host)
    }

    /// The port of a TCP server; nil where it listens on a unix socket.
    package var port: Port? { socket == nil ? authority?.port : nil }

    private var authority: (host: Substring, port: Port)? {
        guard let scheme = base.firstRange(of: "://") else { return nil }
        let rest = base[scheme.upperBound...]
        guard let colon = rest.lastIndex(of: ":"), let port = Port(text: rest[rest.index(after: colon)...]) else {
            return nil
        }
        return (rest[..<colon], port)
    }

    /// The limit for making a connection.
    ///
    /// To an address without TLS it takes one round trip. A short limit, below the second after which the kernel
    /// repeats a lost SYN, finds a host soon after it has come back. Names and handshakes may take longer.
    func connectLimit(within deadline: Duration) -> Duration {
        let host = base.dropFirst("http://".count).prefix { $0 != ":" }
        let isPlain = socket == nil && base.hasPrefix("http://") && (host.hasPrefix("[") || IPAddress(host) != nil)
        return isPlain ? min(deadline, .milliseconds(600)) : deadline
    }

    /// How messages name it.
    package var name: String { socket.map { "unix://\($0)" } ?? base }
}
