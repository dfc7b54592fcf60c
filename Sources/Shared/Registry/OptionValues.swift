/// What HAProxy understands of a service's connections.
package enum ServiceMode: String, CaseIterable, Sendable {
    case tcp
    case http
}

/// How connections are spread over a service's endpoints.
package enum Balance: String, CaseIterable, Sendable {
    case roundrobin
    case leastconn
    case source
    case uri
    case random
    case first
}

/// The methods of an HTTP check.
package enum CheckMethod: String, CaseIterable, Sendable {
    case get = "GET"
    case head = "HEAD"
    case options = "OPTIONS"
    case post = "POST"
}

/// The versions of the PROXY protocol.
package enum ProxyProtocol: String, CaseIterable, Sendable {
    case none
    case v1
    case v2
}

/// How HTTP answers are compressed.
package enum Compression: String, CaseIterable, Sendable {
    case none
    case gzip
    case deflate
}

/// How to find out whether an endpoint works.
package enum ServiceCheck: Hashable, Sendable, CustomStringConvertible {
    /// Not at all.
    case none
    /// By connecting to it.
    case tcp
    /// By a request for this path.
    case http(HTTPPath)

    /// What may be written, for messages.
    package static let grammar = "tcp, http:/path or none"

    /// Parses `tcp`, `none`, `http` or `http:/path`; nil for anything else.
    package init?(_ text: String) {
        switch text.lowercased() {
        case "none": self = .none
        case "tcp": self = .tcp
        case "http": self = .http(.root)
        default:
            guard text.lowercased().hasPrefix("http:"), let path = HTTPPath(text.dropFirst(5)) else { return nil }
            self = .http(path)
        }
    }

    /// The text that ``init(_:)`` reads.
    package var description: String {
        switch self {
        case .none: "none"
        case .tcp: "tcp"
        case .http(let path): "http:\(path)"
        }
    }
}

/// A path with an optional query, of characters that mean nothing to haproxy.cfg.
///
/// It follows RFC 3986, section 3.3, without `$` and `'`; at most 512 bytes.
package struct HTTPPath: Hashable, Sendable, CustomStringConvertible {
    /// The path as it was given.
    package let description: String

    /// The path `/`.
    package static let root = HTTPPath(known: "/")

    private init(known: String) { description = known }

    /// Makes a path; nil where `text` does not begin with a slash or has other characters.
    package init?(_ text: some StringProtocol) {
        guard text.first == "/", text.utf8.count <= 512, text.utf8.allSatisfy({ Characters.ofPaths.contains($0) })
        else { return nil }
        description = String(text)
    }
}

/// The value of a `Host` header: a name or IPv4 address, with an optional port; at most 255 bytes.
package struct HostHeader: Hashable, Sendable, CustomStringConvertible {
    /// The header as it was given.
    package let description: String

    /// What may be written, for messages.
    package static let grammar = "a host name, with or without :port"

    /// Makes one; nil for anything else.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard let name = parts.first, !name.isEmpty, parts.count <= 2, text.utf8.count <= 255,
            parts.count == 1 || Port(text: parts[1]) != nil,
            name.utf8.allSatisfy({ Characters.lettersAndDigits.contains($0) || ".-_".utf8.contains($0) })
        else { return nil }
        description = String(text)
    }
}

/// The name of a cookie; at most 64 characters.
package struct CookieName: Hashable, Sendable, CustomStringConvertible {
    /// The name as it was given.
    package let description: String

    /// What may be written, for messages.
    package static let grammar = "letters, digits, '_' and '-', at most 64"

    /// Makes one; nil for anything else.
    package init?(_ text: some StringProtocol) {
        guard (1...64).contains(text.utf8.count),
            text.utf8.allSatisfy({ Characters.lettersAndDigits.contains($0) || "-_".utf8.contains($0) })
        else { return nil }
        description = String(text)
    }
}

/// Where an endpoint or a consumer is; the grammar is that of ``ServiceName``.
package struct Zone: Hashable, Sendable, CustomStringConvertible {
    /// The name as it was given.
    package let description: String

    /// Makes one; nil for anything else.
    package init?(_ text: some StringProtocol) {
        guard NameGrammar.accepts(text) else { return nil }
        description = String(text)
    }
}

/// HTTP statuses: `200`, `200-399`, or several of both, separated by commas.
package struct StatusCodes: Hashable, Sendable, CustomStringConvertible {
    /// As HAProxy's `http-check expect status` takes them, and as they were given.
    package let description: String
    /// The same, to be asked.
    package let ranges: [ClosedRange<Int>]

    /// What may be written, for messages.
    package static let grammar = "statuses from 100 to 599 such as 200, 200-399 or 200,204"

    /// All that is no failure: `200-399`.
    package static let standard = StatusCodes(description: "200-399", ranges: [200...399])

    private init(description: String, ranges: [ClosedRange<Int>]) {
        self.description = description
        self.ranges = ranges
    }

    /// Makes them; nil for anything else.
    package init?(_ text: some StringProtocol) {
        var ranges: [ClosedRange<Int>] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Port(text: $0) }
            guard (1...2).contains(ends.count), let first = ends[0]?.number, let last = ends[ends.count - 1]?.number,
                first >= 100, last <= 599, first <= last
            else { return nil }
            ranges.append(Int(first)...Int(last))
        }
        guard ranges.count <= 16 else { return nil }
        self.ranges = ranges
        description = String(text)
    }
}

/// Which failures of an HTTP request are tried again: HAProxy's words for `retry-on`.
package struct RetryConditions: Hashable, Sendable, CustomStringConvertible {
    /// The words, in the order in which they were given.
    package let words: [String]

    /// What may be written, for messages.
    package static let grammar = "one or more of \(all.joined(separator: ", ")), separated by commas"

    /// Connections that fail: `conn-failure`.
    package static let standard = RetryConditions(words: ["conn-failure"])

    private init(words: [String]) { self.words = words }

    private static let all = [
        "none", "conn-failure", "empty-response", "response-timeout", "junk-response", "all-retryable-errors", "404",
        "408", "425", "500", "501", "502", "503", "504",
    ]

    /// Makes them; nil where a word is none of HAProxy's, or `none` stands beside others.
    package init?(_ text: some StringProtocol) {
        let words = text.split(separator: ",", omittingEmptySubsequences: false).map { String($0) }
        guard words.allSatisfy(Self.all.contains), Set(words).count == words.count,
            words.count == 1 || !words.contains("none")
        else { return nil }
        self.words = words
    }

    /// The words, separated by commas.
    package var description: String { words.joined(separator: ",") }
}

/// The bytes that values may consist of.
private enum Characters {
    static let lettersAndDigits = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789".utf8)
    static let ofPaths = lettersAndDigits.union("-._~!&()*+,;=:@/?%".utf8)
}
