/// What may be said of a service and its endpoints besides names and addresses: by a container's labels, in ``Meta``
/// and in ``ServiceConfig``.
///
/// nil means that nothing is said; ``fields`` has the grammar and the default of each.
package struct ServiceOptions: Hashable, Sendable {
    /// The port that the service listens on at consumers.
    package var port: Port?
    /// Whether it listens on none, and only routes lead to it; nil where nothing is said.
    package var hasNoPort: Bool?
    /// The address that it listens on at consumers.
    package var listenAddress: IPAddress?
    /// What HAProxy understands of its connections.
    package var mode: ServiceMode?
    /// How connections are spread over the endpoints.
    package var balance: Balance?
    /// How HAProxy finds out whether an endpoint works.
    package var check: ServiceCheck?
    /// The `Host` header of an HTTP check.
    package var checkHost: HostHeader?
    /// The method of an HTTP check.
    package var checkMethod: CheckMethod?
    /// The statuses that pass an HTTP check.
    package var checkStatus: StatusCodes?
    /// Between two checks.
    package var checkInterval: Duration?
    /// Between two checks while an endpoint is changing from up to down or back.
    package var checkFastInterval: Duration?
    /// Between two checks of an endpoint that is down.
    package var checkDownInterval: Duration?
    /// The limit of one check.
    package var checkTimeout: Duration?
    /// How many checks in a row bring an endpoint up.
    package var checkRise: Int?
    /// How many failures in a row take it down.
    package var checkFall: Int?
    /// The port that is checked, on the endpoint's address.
    package var checkPort: Port?
    /// The endpoint's share of the connections.
    package var weight: Int?
    /// How many connections the endpoint takes at a time from one consumer host; the others queue.
    package var maxConnections: Int?
    /// Over how long a new endpoint comes to its full share.
    package var slowStart: Duration?
    /// Whether it is used only when no other endpoint works.
    package var isBackup: Bool?
    /// The PROXY protocol that the endpoint expects.
    package var proxyProtocol: ProxyProtocol?
    /// Where the endpoint is, such as a data centre or an availability zone.
    package var zone: Zone?
    /// The name of the cookie that keeps a client at its endpoint.
    package var cookie: CookieName?
    /// The limit for connecting to an endpoint.
    package var connectTimeout: Duration?
    /// How long a client may be silent.
    package var clientTimeout: Duration?
    /// How long an endpoint may be silent.
    package var serverTimeout: Duration?
    /// How long a connection may wait for a free endpoint.
    package var queueTimeout: Duration?
    /// How often a failed connection is tried again, on other endpoints.
    package var retries: Int?
    /// Which failures of HTTP requests are tried again.
    package var retryOn: RetryConditions?
    /// How answers are compressed.
    package var compression: Compression?
    /// Whether endpoints are told the client's address in `X-Forwarded-For`.
    package var forwardedFor: Bool?
    /// Whether each request or connection is logged.
    package var accessLog: Bool?
    /// The hosts and paths that lead to it.
    package var route: RoutePlaces?
    /// Whether these paths are taken off before a request goes on.
    package var routeStrip: Bool?
    /// Whether clients without TLS are sent to HTTPS.
    package var routeHTTPS: Bool?

    /// Makes options that say nothing.
    package init() {}

    /// Whether nothing is said.
    package var isEmpty: Bool { self == ServiceOptions() }

    /// These options, with what `other` says instead where it says something.
    package func overridden(by other: ServiceOptions) -> ServiceOptions {
        Self.fields.reduce(into: self) { result, field in
            if field.text(other) != nil { field.copy(other, &result) }
        }
    }
}

extension ServiceOptions {
    /// Reads the options among the fields of an object.
    init(_ fields: inout LenientDecoder) {
        // Few of the many are said.
        for place in fields.names.compactMap({ Self.places[$0] }).sorted() {
            let field = Self.fields[place]
            guard let text = fields.scalar(field.name, field.grammar) else { continue }
            if !field.set(text, &self) { fields.report(field.name, field.grammar) }
        }
    }

    /// Writes those that are said.
    func encode(to object: inout KeyedEncodingContainer<FieldName>) throws {
        for field in Self.fields {
            guard let text = field.text(self) else { continue }
            switch field.kind {
            case .number:
                guard let number = Int(text) else {
                    try object.encode(text, forKey: FieldName(field.name))
                    continue
                }
                try object.encode(number, forKey: FieldName(field.name))
            case .boolean: try object.encode(text == "true", forKey: FieldName(field.name))
            case .string: try object.encode(text, forKey: FieldName(field.name))
            }
        }
    }

    /// The table of the documentation: fields, values and defaults.
    package static var markdownTable: String {
        let rows = fields.map { field in
            let cells = [
                "`\(field.name)`", field.scope == .service ? "service" : "endpoint", field.kind.rawValue,
                field.grammar, field.defaultText, field.description,
            ]
            return "| " + cells.joined(separator: " | ") + " |"
        }
        let head = ["| field | scope | JSON | values | default | description |", "|---|---|---|---|---|---|"]
        return (head + rows).joined(separator: "\n")
    }
}
