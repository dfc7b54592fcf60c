/// What is asked of a server.
package struct HTTPRequest: Sendable {
    /// The methods that the agents need.
    package enum Method: Sendable {
        case get
        case head
        case options
        /// With a whole body; nothing is sent in pieces.
        case post([UInt8])
    }

    /// The method, with its body.
    package var method: Method
    /// The path with the query, already percent-encoded.
    package var path: String
    /// Further header fields.
    package var headers: [(name: String, value: String)]

    /// Makes a request.
    package init(_ method: Method, _ path: String, headers: [(name: String, value: String)] = []) {
        self.method = method
        self.path = path
        self.headers = headers
    }
}

/// The first part of an answer.
package struct HTTPHead: Equatable, Sendable {
    /// The status code.
    package var status: Int
    /// The header fields by lower-case name; the last one wins.
    package var headers: [String: String]

    /// Whether the status is in 200 to 299.
    package var isSuccess: Bool { (200...299).contains(status) }
}

/// A collected answer.
package struct HTTPResponse: Equatable, Sendable {
    /// Status and header fields.
    package var head: HTTPHead
    /// The whole body.
    package var body: [UInt8]
}

/// Why an exchange did not come to its end.
///
/// The first value of each case names the server.
package enum HTTPError: Error, Equatable, Sendable {
    /// No connection: refused, no route, no such host, no such socket, no permission. `code` is the `errno`, or 0.
    case unreachable(String, reason: String, code: Int32)
    /// The deadline passed before the answer was there.
    case timedOut(String, after: Duration)
    /// A stream brought nothing for as long as its silence limit.
    case silent(String, for: Duration)
    /// TLS failed: a certificate, a key, or the handshake.
    case insecure(String, reason: String)
    /// The connection broke in the middle, or what came is not HTTP.
    case broken(String, reason: String)
    /// The answer is longer than its cap, in bytes.
    case tooLarge(String, cap: Int)
    /// A line of a stream is longer than its cap, in bytes.
    case lineTooLong(String, cap: Int)
}

extension HTTPError {
    /// Whether TLS failed.
    package var isInsecure: Bool {
        if case .insecure = self { true } else { false }
    }

    /// Whether there was no connection.
    var isUnreachable: Bool {
        if case .unreachable = self { true } else { false }
    }

    /// Whether the server closed the connection before it answered, in whichever of libcurl's words.
    var endedUnanswered: Bool {
        guard case .broken(_, let reason) = self else { return false }
        return ["Empty reply", "getpeername()", "reset by peer", "Broken pipe", "unexpected eof"]
            .contains { reason.contains($0) }
    }
}

extension HTTPError: CustomStringConvertible {
    /// One sentence for a log line.
    package var description: String {
        switch self {
        case .unreachable(let server, let reason, _): "cannot reach \(server): \(reason)"
        case .timedOut(let server, let limit): "no answer from \(server) within \(DurationText.rounded(limit))"
        case .silent(let server, let limit): "\(server) sent nothing for \(DurationText.text(limit))"
        case .insecure(let server, let reason): "TLS with \(server) failed: \(reason)"
        case .broken(let server, let reason): "the connection to \(server) broke: \(reason)"
        case .tooLarge(let server, let cap): "\(server) answered with more than \(cap) bytes"
        case .lineTooLong(let server, let cap): "\(server) sent a line of more than \(cap) bytes"
        }
    }
}

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

    /// Host and port to connect to instead of those in ``base``, whose host the server's certificate is checked against.
    package let place: String?

    /// The files for TLS; they matter for `https` only.
    package let tls: TLS

    /// A server that listens on a unix socket.
    package static func unix(_ path: String) -> HTTPOrigin {
        HTTPOrigin(base: "http://localhost", socket: path, place: nil, tls: TLS())
    }

    /// A server on TCP.
    ///
    /// `base` has a scheme and no path; `place`, where the connection goes elsewhere, has neither.
    package static func tcp(_ base: String, at place: String? = nil, tls: TLS = TLS()) -> HTTPOrigin {
        HTTPOrigin(base: base, socket: nil, place: place, tls: tls)
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
        let rest = place.map { $0[...] } ?? base[scheme.upperBound...]
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
    package var name: String { socket.map { "unix://\($0)" } ?? place.map { "\(base) (at \($0))" } ?? base }
}
