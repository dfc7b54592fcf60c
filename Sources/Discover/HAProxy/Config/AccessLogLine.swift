import Shared

/// One line of a service's access log, as HAProxy prints it among its other lines.
///
/// What a client sent comes last, so that nothing in it can be taken for another field.
struct AccessLogLine: Equatable, Sendable {
    /// What a line tells of.
    enum Kind: String, Sendable {
        /// A connection.
        case tcp
        /// A request to a service's own port.
        case http
        /// A request that came by a route.
        case route
    }

    /// What it tells of.
    let mode: Kind
    /// What it tells, by name; what did not come about is not there.
    let fields: [String: String]

    private static let mark = "[ACCESS]"
    /// What HAProxy writes where there is no server.
    private static let noServer = "<NOSRV>"

    /// The names of the fields beside HAProxy's own for them (https://docs.haproxy.org/2.6/configuration.html#8.2.4).
    ///
    /// Times are in milliseconds; those that did not come about are below zero.
    private static func columns(_ mode: Kind) -> [(name: String, alias: String)] {
        let place = [("service", "%f"), ("client", "%ci:%cp"), ("endpoint", "%s")]
        let end = [("bytes", "%B"), ("end", "%ts")]
        switch mode {
        case .tcp: return place + [("queue_ms", "%Tw"), ("connect_ms", "%Tc"), ("ms", "%Tt")] + end
        case .http, .route:
            let times = [("queue_ms", "%Tw"), ("connect_ms", "%Tc"), ("answer_ms", "%Tr"), ("ms", "%Ta")]
            let request = [("method", "%HM"), ("path", "%HP")]
            let status = [("status", "%ST")]
            guard mode == .route else { return place + status + times + end + request }
            let route = [("route", "%[var(txn.route),field(10,|)]"), ("host", "%[var(txn.host)]")]
            return [("service", "%b")] + place.dropFirst() + status + times + end + route + request
        }
    }

    /// The value of `log-format` for routes.
    static let routeFormat = format(of: .route)

    /// The value of `log-format` for a mode.
    static func format(of mode: ServiceMode) -> String { format(of: mode == .http ? Kind.http : Kind.tcp) }

    private static func format(of mode: Kind) -> String {
        ([mark, mode.rawValue] + columns(mode).map(\.alias)).joined(separator: " ")
    }

    /// Takes a line apart; nil for one that is not of an access log.
    init?(_ line: String) {
        guard line.hasPrefix(Self.mark) else { return nil }
        let head = line.split(separator: " ", maxSplits: 2)
        guard head.count == 3, let mode = Kind(rawValue: String(head[1])) else { return nil }
        let columns = Self.columns(mode)
        let values = head[2].split(separator: " ", maxSplits: columns.count - 1)
        guard values.count == columns.count else { return nil }
        self.mode = mode
        fields = zip(columns, values).reduce(into: [:]) { fields, pair in
            let (name, value) = (pair.0.name, pair.1)
            if Self.means(value, in: name) { fields[name] = Self.text(value, name) }
        }
    }

    private static func means(_ value: Substring, in column: String) -> Bool {
        switch column {
        case "endpoint": value != noServer
        case "end": value != "--"
        default: !(column.hasSuffix("ms") && value.hasPrefix("-"))
        }
    }

    /// A listener on `::` shows IPv4 clients in their mapped form.
    private static func text(_ value: Substring, _ column: String) -> String {
        let mapped = "::ffff:"
        return column == "client" && value.hasPrefix(mapped) ? String(value.dropFirst(mapped.count)) : String(value)
    }
}
