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
