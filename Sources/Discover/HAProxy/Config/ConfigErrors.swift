import Shared

/// HAProxy's rejection of a file, read for the services that it is about.
struct ConfigErrors: Equatable, Sendable {
    /// What it says of services whose lines it names.
    private(set) var byLine: [ServiceName: String] = [:]
    /// All that it says.
    let words: String

    /// Reads what HAProxy says of a configuration, an alert each.
    init(_ alerts: [String], of configuration: HAProxyConfiguration) {
        words = alerts.map { Self.withoutPlace($0) }.joined(separator: "; ")
        let lines = alerts.map { Self.line(in: $0) }
        let places = configuration.services(atLines: Set(lines.compactMap(\.self)))
        for (alert, line) in zip(alerts, lines) {
            guard let line, let (service, text) = places[line], byLine[service] == nil else { continue }
            byLine[service] =
                "\(Self.withoutPlace(alert)), in the line '\(text.prefix(160))'\(Self.origin(of: text))"
        }
    }

    /// The number of the line in an alert such as `parsing [/run/haproxy.cfg.new:34] : unknown keyword ...`.
    static func line(in alert: String) -> Int? {
        place(in: alert)?.line
    }

    /// The alert without the place, which nobody but docker-discover has.
    static func withoutPlace(_ alert: String) -> String {
        guard let range = place(in: alert)?.range else { return alert }
        let rest = alert[range.upperBound...].drop { $0 == " " || $0 == ":" }
        return String(rest)
    }

    private static func place(in alert: String) -> (line: Int, range: Range<String.Index>)? {
        guard let open = alert.firstIndex(of: "["), let close = alert[open...].firstIndex(of: "]"),
            let colon = alert[open..<close].lastIndex(of: ":"),
            let line = Int(alert[alert.index(after: colon)..<close])
        else { return nil }
        return (line, open..<alert.index(after: close))
    }

    /// The options from which a line was made, in words.
    private static func origin(of line: String) -> String {
        let fields = LineOrigin.fields(of: line)
        return fields.isEmpty ? "" : " (from \(fields.joined(separator: ", ")))"
    }
}

/// From which options lines of a section are made.
enum LineOrigin {
    /// The beginnings of lines, the longest first where one begins with another.
    private static let heads: [(String, [String])] = [
        ("bind ", ["port", "listen_address"]), ("mode ", ["mode"]), ("balance ", ["balance"]),
        ("cookie ", ["cookie"]), ("retry-on ", ["retry_on"]), ("retries ", ["retries"]),
        ("compression ", ["compression"]), ("option forwardfor", ["forwarded_for"]),
        ("option httpchk", ["check"]), ("http-check send ", ["check", "check_method", "check_host"]),
        ("http-check expect ", ["check_status"]), ("timeout check ", ["check_timeout"]),
        ("timeout connect ", ["timeout_connect"]), ("timeout client ", ["timeout_client"]),
        ("timeout server ", ["timeout_server"]), ("timeout queue ", ["timeout_queue"]), ("log", ["access_log"]),
    ]

    /// The names of the options of a line; those of a server are its own and those of its check.
    static func fields(of line: String) -> [String] {
        guard line.hasPrefix("server ") else { return heads.first { line.hasPrefix($0.0) }?.1 ?? [] }
        let words = Set(line.split(separator: " "))
        let keywords: [(Substring, String)] = [
            ("maxconn", "maxconn"), ("cookie", "cookie"), ("backup", "backup"), ("slowstart", "slow_start"),
            ("send-proxy", "proxy_protocol"), ("send-proxy-v2", "proxy_protocol"),
        ]
        return keywords.filter { words.contains($0.0) }.map(\.1)
    }
}
