extension ServiceOptions {
    /// One option: its name, its grammar, its default, and how it is read and written.
    ///
    /// The name is that of the JSON field; a label is `SERVICE_` and the name in capitals.
    package struct Field: Sendable {
        /// What an option is about.
        package enum Scope: Sendable {
            /// The service as a whole; of endpoints that disagree the newest decides.
            case service
            /// One endpoint, that is, one port of a container.
            case endpoint
            /// One endpoint; a container's label without a port is about all of its ports.
            case host
        }

        /// How a value stands in JSON.
        package enum Kind: String, Sendable {
            case number
            case boolean
            case string
        }

        /// The name, such as `check_interval`.
        package let name: String
        /// What it is about.
        package let scope: Scope
        /// How it stands in JSON.
        package let kind: Kind
        /// What a value may be, for messages and for the documentation.
        package let expected: String
        /// What counts where nothing is said, for the documentation.
        package let standard: String
        /// What it means, for the documentation.
        package let meaning: String
        /// Sets it from a text; false where that is not what is ``expected``, and nothing changes then.
        package let set: @Sendable (_ text: String, _ options: inout ServiceOptions) -> Bool
        /// The value's text, which ``set`` reads again; nil where nothing is said.
        package let text: @Sendable (_ options: ServiceOptions) -> String?
        /// Makes the second options say what the first ones do.
        package let copy: @Sendable (_ from: ServiceOptions, _ to: inout ServiceOptions) -> Void

        /// The name of the label, such as `SERVICE_CHECK_INTERVAL`.
        package var label: String { "SERVICE_" + name.uppercased() }
    }
}

extension ServiceOptions.Field {
    typealias Path<Value> = WritableKeyPath<ServiceOptions, Value?> & Sendable

    /// An option with a grammar of its own.
    static func value<Value: Sendable & CustomStringConvertible>(
        _ name: String, _ scope: Scope, _ path: any Path<Value>, _ expected: String,
        _ parse: @escaping @Sendable (String) -> Value?, kind: Kind = .string, standard: String, _ meaning: String
    ) -> Self {
        make(name, scope, kind, path, expected, standard, meaning, parse, \.description)
    }

    /// One of the words of a type.
    static func choice<Value: RawRepresentable & CaseIterable & Sendable>(
        _ name: String, _ scope: Scope, _ path: any Path<Value>, standard: String, _ meaning: String
    ) -> Self where Value.RawValue == String {
        let words = Value.allCases.map(\.rawValue)
        let expected = words.dropLast().joined(separator: ", ") + " or " + (words.last ?? "")
        let parse: @Sendable (String) -> Value? = { text in
            Value(rawValue: text) ?? Value.allCases.first { $0.rawValue.lowercased() == text.lowercased() }
        }
        return make(name, scope, .string, path, expected, standard, meaning, parse, \.rawValue)
    }

    /// A whole number within a range.
    static func number(
        _ name: String, _ scope: Scope, _ path: any Path<Int>, _ range: ClosedRange<Int>, standard: String,
        _ meaning: String
    ) -> Self {
        let expected = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        let parse: @Sendable (String) -> Int? = { Int($0).flatMap { range.contains($0) ? $0 : nil } }
        return make(name, scope, .number, path, expected, standard, meaning, parse, \.description)
    }

    /// A time within a range.
    static func time(
        _ name: String, _ scope: Scope, _ path: any Path<Duration>, _ range: ClosedRange<Duration>, standard: String,
        _ meaning: String
    ) -> Self {
        let (least, most) = (DurationText.text(range.lowerBound), DurationText.text(range.upperBound))
        let parse: @Sendable (String) -> Duration? = { text in
            DurationText.parse(text).flatMap { range.contains($0) ? $0 : nil }
        }
        let expected = "a time from \(least) to \(most), such as 15s or 500ms"
        return make(name, scope, .string, path, expected, standard, meaning, parse, DurationText.text)
    }

    /// A switch.
    static func flag(
        _ name: String, _ scope: Scope, _ path: any Path<Bool>, standard: String, _ meaning: String
    ) -> Self {
        make(
            name, scope, .boolean, path, BooleanText.expected, standard, meaning, { BooleanText.of($0) }, \.description)
    }

    private static func make<Value: Sendable>(
        _ name: String, _ scope: Scope, _ kind: Kind, _ path: any Path<Value>, _ expected: String, _ standard: String,
        _ meaning: String, _ parse: @escaping @Sendable (String) -> Value?,
        _ write: @escaping @Sendable (Value) -> String
    ) -> Self {
        Self(
            name: name, scope: scope, kind: kind, expected: expected, standard: standard, meaning: meaning,
            set: { text, options in
                guard let value = parse(text) else { return false }
                options[keyPath: path] = value
                return true
            },
            text: { $0[keyPath: path].map(write) },
            copy: { $1[keyPath: path] = $0[keyPath: path] })
    }
}

/// Switches as people write them.
package enum BooleanText {
    /// What may be written, for messages.
    package static let expected = "true or false"

    /// What a text means; nil for what is no switch.
    ///
    /// The empty text counts as on, as a label without value is meant so.
    package static func of(_ text: some StringProtocol) -> Bool? {
        switch text.lowercased() {
        case "", "1", "true", "yes", "on": true
        case "0", "false", "no", "off": false
        default: nil
        }
    }
}

extension ServiceOptions {
    /// All options, in the order of the documentation.
    package static let fields: [Field] = serviceFields + checkFields + endpointFields + trafficFields

    /// The option of a name such as `check_interval`; nil where there is none.
    package static func field(_ name: String) -> Field? { places[name].map { fields[$0] } }

    /// Where each name stands in ``fields``.
    static let places = Dictionary(fields.enumerated().map { ($1.name, $0) }) { first, _ in first }

    private static let serviceFields: [Field] = [
        .value(
            "port", .service, \.port, Port.expected, { Port(text: $0) }, kind: .number,
            standard: "the container's port",
            "the port that the service listens on at consumers"),
        .value(
            "listen_address", .service, \.listenAddress, "an IPv4 or IPv6 address", { IPAddress($0) },
            standard: "`LISTEN_ADDRESS` of docker-discover", "the address that it listens on at consumers"),
        .choice("mode", .service, \.mode, standard: "tcp", "what HAProxy understands of the connections"),
        .choice(
            "balance", .service, \.balance, standard: "roundrobin", "how connections are spread over the endpoints"),
    ]

    private static let checkFields: [Field] = [
        .value(
            "check", .service, \.check, ServiceCheck.expected, { ServiceCheck($0) }, standard: "tcp",
            "how HAProxy finds out whether an endpoint works"),
        .value(
            "check_host", .service, \.checkHost, HostHeader.expected, { HostHeader($0) }, standard: "none",
            "the `Host` header of an HTTP check"),
        .choice("check_method", .service, \.checkMethod, standard: "GET", "the method of an HTTP check"),
        .value(
            "check_status", .service, \.checkStatus, StatusCodes.expected, { StatusCodes($0) }, standard: "200-399",
            "the statuses that pass an HTTP check"),
        .time(
            "check_interval", .service, \.checkInterval, .milliseconds(100)...(.seconds(3600)), standard: "2s",
            "between two checks of an endpoint"),
        .time(
            "check_fast_interval", .service, \.checkFastInterval, .milliseconds(50)...(.seconds(3600)),
            standard: "200ms, or the interval where that is shorter",
            "between two checks while it is changing from up to down or back"),
        .time(
            "check_down_interval", .service, \.checkDownInterval, .milliseconds(100)...(.seconds(3600)),
            standard: "the interval", "between two checks while it is down"),
        .time(
            "check_timeout", .service, \.checkTimeout, .milliseconds(50)...(.seconds(60)), standard: "2s",
            "the limit of one check"),
        .number(
            "check_rise", .service, \.checkRise, 1...100, standard: "2",
            "how many checks in a row have to pass before a failed endpoint is used again"),
        .number(
            "check_fall", .service, \.checkFall, 1...100, standard: "2",
            "how many checks in a row have to fail before an endpoint is used no more"),
        .value(
            "check_port", .endpoint, \.checkPort, Port.expected, { Port(text: $0) }, kind: .number,
            standard: "the endpoint's port", "the port that is checked, as other hosts reach it"),
    ]

    private static let endpointFields: [Field] = [
        .number(
            "weight", .host, \.weight, 0...256, standard: "100",
            "the endpoint's share of the connections; 0 takes no new ones"),
        .number(
            "maxconn", .host, \.maxConnections, 1...1_000_000, standard: "no limit",
            "how many connections it takes at a time from one consumer host; the others queue"),
        .time(
            "slow_start", .host, \.slowStart, .zero...(.seconds(3600)), standard: "0s",
            "over how long an endpoint that came up reaches its full share"),
        .flag("backup", .host, \.isBackup, standard: "false", "used only when no other endpoint works"),
        .value(
            "zone", .host, \.zone, ServiceName.expected, { Zone($0) }, standard: "`ZONE` of docker-register",
            "where it is; consumers of the same zone prefer it"),
        .choice(
            "proxy_protocol", .endpoint, \.proxyProtocol, standard: "none", "the PROXY protocol that it expects"),
    ]

    private static let trafficFields: [Field] = [
        .value(
            "cookie", .service, \.cookie, CookieName.expected, { CookieName($0) }, standard: "none",
            "mode http: the cookie that keeps a client at its endpoint"),
        .time(
            "timeout_connect", .service, \.connectTimeout, .milliseconds(10)...(.seconds(3600)), standard: "1s",
            "the limit for connecting to an endpoint"),
        .time(
            "timeout_client", .service, \.clientTimeout, .milliseconds(10)...(.seconds(604_800)), standard: "1h",
            "how long a client may be silent"),
        .time(
            "timeout_server", .service, \.serverTimeout, .milliseconds(10)...(.seconds(604_800)), standard: "1h",
            "how long an endpoint may be silent"),
        .time(
            "timeout_queue", .service, \.queueTimeout, .milliseconds(10)...(.seconds(3600)),
            standard: "the limit for connecting", "how long a connection may wait for an endpoint below its `maxconn`"),
        .number(
            "retries", .service, \.retries, 0...100, standard: "10",
            "how often a failed connection is tried again, on other endpoints"),
        .value(
            "retry_on", .service, \.retryOn, RetryConditions.expected, { RetryConditions($0) },
            standard: "conn-failure", "mode http: which failures of a request are tried again"),
        .choice("compression", .service, \.compression, standard: "none", "mode http: how answers are compressed"),
        .flag(
            "forwarded_for", .service, \.forwardedFor, standard: "true",
            "mode http: endpoints are told the client's address in `X-Forwarded-For`"),
        .flag("access_log", .service, \.accessLog, standard: "false", "each request or connection is logged"),
    ]
}
