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
                "\(Self.withoutPlace(alert)), in the line '\(text.prefix(160))'\(Self.origin(of: text, configuration.configured[service] ?? []))"
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

    /// The options from which a service's line was made, in words.
    private static func origin(of line: String, _ configured: [ConfigLine]) -> String {
        let options =
            line.hasPrefix("server ")
            ? ConfigLine.options(ofServerLine: line) : configured.first { $0.text == line }?.options ?? []
        return options.isEmpty ? "" : " (from \(options.joined(separator: ", ")))"
    }
}
