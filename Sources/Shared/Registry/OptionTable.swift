extension ServiceOptions {
    /// One row of the table of options: its name, its grammar, its default, and how it is read and written.
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
        package let grammar: String
        /// What counts where nothing is configured, for the documentation.
        package let defaultText: String
        /// What it means, for the documentation.
        package let description: String
        /// Sets it from a text; false where that does not have the ``grammar``, and nothing changes then.
        package let set: @Sendable (_ text: String, _ options: inout ServiceOptions) -> Bool
        /// The value's text, which ``set`` reads again; nil where nothing is configured.
        package let text: @Sendable (_ options: ServiceOptions) -> String?
        /// Gives the second options the value of the first ones.
        package let copy: @Sendable (_ from: ServiceOptions, _ to: inout ServiceOptions) -> Void

        /// The name of the label, such as `SERVICE_CHECK_INTERVAL`.
        package var label: String { "SERVICE_" + name.uppercased() }
    }
}

/// An option whose default is a value, which counts wherever nothing is configured.
package struct ServiceOption<Value: Sendable>: Sendable {
    /// Its row in the table.
    package let field: ServiceOptions.Field
    /// What counts where nothing is configured.
    package let defaultValue: Value

    fileprivate let path: any WritableKeyPath<ServiceOptions, Value?> & Sendable
}

extension ServiceOptions {
    /// What counts: the configured value, or else the default.
    package subscript<Value>(_ option: ServiceOption<Value>) -> Value {
        self[keyPath: option.path] ?? option.defaultValue
    }

    /// The same without values that are the defaults anyway.
    package var withoutDefaults: ServiceOptions {
        Self.fields.reduce(into: self) { result, field in
            if field.text(self) == field.defaultText { field.copy(ServiceOptions(), &result) }
        }
    }
}

/// How the values of one kind of option are read, written and explained.
private struct ValueSyntax<Value: Sendable>: Sendable {
    let kind: ServiceOptions.Field.Kind
    let grammar: String
    let parse: @Sendable (String) -> Value?
    let text: @Sendable (Value) -> String

    typealias Path = any WritableKeyPath<ServiceOptions, Value?> & Sendable

    /// An option with a default; `note` goes on after it.
    func option(
        _ name: String, _ scope: ServiceOptions.Field.Scope, _ path: Path, default value: Value, note: String = "",
        _ description: String
    ) -> ServiceOption<Value> {
        let field = field(name, scope, path, otherwise: text(value) + note, description)
        return ServiceOption(field: field, defaultValue: value, path: path)
    }

    /// An option for which something else counts where nothing is configured.
    func field(
        _ name: String, _ scope: ServiceOptions.Field.Scope, _ path: Path, otherwise: String, _ description: String
    ) -> ServiceOptions.Field {
        ServiceOptions.Field(
            name: name, scope: scope, kind: kind, grammar: grammar, defaultText: otherwise, description: description,
            set: { [parse] text, options in
                guard let value = parse(text) else { return false }
                options[keyPath: path] = value
                return true
            },
            text: { [text] in $0[keyPath: path].map(text) },
            copy: { $1[keyPath: path] = $0[keyPath: path] })
    }
}

/// Values with a grammar of their own.
private func values<Value: Sendable & CustomStringConvertible>(
    _ grammar: String, kind: ServiceOptions.Field.Kind = .string, _ parse: @escaping @Sendable (String) -> Value?
) -> ValueSyntax<Value> {
    ValueSyntax(kind: kind, grammar: grammar, parse: parse, text: \.description)
}

/// The words of a type.
private func choices<Value: RawRepresentable & CaseIterable & Sendable>(of type: Value.Type) -> ValueSyntax<Value>
where Value.RawValue == String {
    let words = Value.allCases.map(\.rawValue)
    let grammar = words.dropLast().joined(separator: ", ") + " or " + (words.last ?? "")
    return ValueSyntax(
        kind: .string, grammar: grammar,
        parse: { text in
            Value(rawValue: text) ?? Value.allCases.first { $0.rawValue.lowercased() == text.lowercased() }
        }, text: \.rawValue)
}

/// Whole numbers within a range.
private func numbers(_ range: ClosedRange<Int>) -> ValueSyntax<Int> {
    values("a whole number from \(range.lowerBound) to \(range.upperBound)", kind: .number) { text in
        Int(text).flatMap { range.contains($0) ? $0 : nil }
    }
}

/// Times within a range.
private func times(_ range: ClosedRange<Duration>) -> ValueSyntax<Duration> {
    let (least, most) = (DurationText.text(range.lowerBound), DurationText.text(range.upperBound))
    return ValueSyntax(
        kind: .string, grammar: "a time from \(least) to \(most), such as 15s or 500ms",
        parse: { text in DurationText.parse(text).flatMap { range.contains($0) ? $0 : nil } },
        text: { DurationText.text($0) })
}

/// Switches.
private let switches = ValueSyntax<Bool>(
    kind: .boolean, grammar: BooleanText.grammar, parse: { BooleanText.of($0) }, text: \.description)

/// Ports.
private let ports = values(Port.grammar, kind: .number) { Port(text: $0) }

/// Switches as people write them.
package enum BooleanText {
    /// What may be written, for messages.
    package static let grammar = "true or false"

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
    /// A word takes the place of the port, so this is no row like the others.
    private static let port = Field(
        name: "port", scope: .service, kind: .number, grammar: "\(Port.grammar), or none",
        defaultText: "the container's port",
        description: "the port that the service listens on at client hosts; with none only routes lead to it",
        set: { text, options in
            let isNone = text.lowercased() == "none"
            let port = Port(text: text)
            guard isNone || port != nil else { return false }
            (options.port, options.hasNoPort) = (port, isNone ? true : nil)
            return true
        },
        text: { $0.hasNoPort == true ? "none" : $0.port?.description },
        copy: { ($1.port, $1.hasNoPort) = ($0.port, $0.hasNoPort) })
    private static let listenAddress = values("an IPv4 or IPv6 address") { IPAddress($0) }.field(
        "listen_address", .service, \.listenAddress, otherwise: "`LISTEN_ADDRESS` of docker-discover",
        "the address that it listens on at client hosts")
    package static let mode = choices(of: ServiceMode.self).option(
        "mode", .service, \.mode, default: .tcp,
        "the protocol of the connections, as HAProxy handles them")
    package static let balance = choices(of: Balance.self).option(
        "balance", .service, \.balance, default: .roundrobin,
        "how connections are distributed over the endpoints")
    package static let check = values(ServiceCheck.grammar) { ServiceCheck($0) }.option(
        "check", .service, \.check, default: .tcp,
        "how HAProxy checks whether an endpoint works")
    private static let checkHost = values(HostHeader.grammar) { HostHeader($0) }.field(
        "check_host", .service, \.checkHost, otherwise: "none",
        "the `Host` header of an HTTP check")
    package static let checkMethod = choices(of: CheckMethod.self).option(
        "check_method", .service, \.checkMethod, default: .get,
        "the method of an HTTP check")
    package static let checkStatus = values(StatusCodes.grammar) { StatusCodes($0) }.option(
        "check_status", .service, \.checkStatus, default: .standard,
        "the statuses that pass an HTTP check")
    package static let checkInterval = times(.milliseconds(100)...(.seconds(3600))).option(
        "check_interval", .service, \.checkInterval, default: .seconds(2),
        "time between two checks of an endpoint")
    package static let checkFastInterval = times(.milliseconds(50)...(.seconds(3600))).option(
        "check_fast_interval", .service, \.checkFastInterval, default: .milliseconds(200),
        note: ", or the interval where that is shorter",
        "time between two checks while an endpoint is changing from up to down or back")
    private static let checkDownInterval = times(.milliseconds(100)...(.seconds(3600))).field(
        "check_down_interval", .service, \.checkDownInterval, otherwise: "the interval",
        "time between two checks while an endpoint is down")
    package static let checkTimeout = times(.milliseconds(50)...(.seconds(60))).option(
        "check_timeout", .service, \.checkTimeout, default: .seconds(2),
        "the time limit of one check")
    package static let checkRise = numbers(1...100).option(
        "check_rise", .service, \.checkRise, default: 2,
        "how many checks in a row must pass before a failed endpoint is used again")
    package static let checkFall = numbers(1...100).option(
        "check_fall", .service, \.checkFall, default: 2,
        "how many checks in a row must fail before an endpoint is taken out of use")
    private static let checkPort = ports.field(
        "check_port", .endpoint, \.checkPort, otherwise: "the endpoint's port",
        "the port that is checked, as other hosts reach it")
    package static let weight = numbers(0...256).option(
        "weight", .host, \.weight, default: 100,
        "the endpoint's share of the connections; 0 takes no new ones")
    private static let maxConnections = numbers(1...1_000_000).field(
        "maxconn", .host, \.maxConnections, otherwise: "no limit",
        "how many connections an endpoint accepts at a time from one client host; the others queue")
    package static let slowStart = times(.zero...(.seconds(3600))).option(
        "slow_start", .host, \.slowStart, default: .zero,
        "how long an endpoint that came up takes to reach its full share")
    package static let isBackup = switches.option(
        "backup", .host, \.isBackup, default: false,
        "used only when no other endpoint works")
    private static let zone = values(ServiceName.grammar) { Zone($0) }.field(
        "zone", .host, \.zone, otherwise: "`ZONE` of docker-register",
        "where the endpoint is; client hosts of the same zone prefer it")
    package static let proxyProtocol = choices(of: ProxyProtocol.self).option(
        "proxy_protocol", .endpoint, \.proxyProtocol, default: .none,
        "the PROXY protocol that the endpoint expects")
    private static let cookie = values(CookieName.grammar) { CookieName($0) }.field(
        "cookie", .service, \.cookie, otherwise: "none",
        "mode http: the cookie that keeps a client at its endpoint")
    package static let connectTimeout = times(.milliseconds(10)...(.seconds(3600))).option(
        "timeout_connect", .service, \.connectTimeout, default: .seconds(1),
        "the time limit for connecting to an endpoint")
    package static let clientTimeout = times(.milliseconds(10)...(.seconds(604_800))).option(
        "timeout_client", .service, \.clientTimeout, default: .seconds(3600),
        "how long a client may be silent")
    package static let serverTimeout = times(.milliseconds(10)...(.seconds(604_800))).option(
        "timeout_server", .service, \.serverTimeout, default: .seconds(3600),
        "how long an endpoint may be silent")
    private static let queueTimeout = times(.milliseconds(10)...(.seconds(3600))).field(
        "timeout_queue", .service, \.queueTimeout, otherwise: "the limit for connecting",
        "how long a connection may wait for an endpoint that is at its `maxconn`")
    package static let retries = numbers(0...100).option(
        "retries", .service, \.retries, default: 10,
        "how often a failed connection is retried, on other endpoints")
    package static let retryOn = values(RetryConditions.grammar) { RetryConditions($0) }.option(
        "retry_on", .service, \.retryOn, default: .standard,
        "mode http: which failures of a request are retried")
    package static let compression = choices(of: Compression.self).option(
        "compression", .service, \.compression, default: .none,
        "mode http: how responses are compressed")
    package static let forwardedFor = switches.option(
        "forwarded_for", .service, \.forwardedFor, default: true,
        "mode http: whether endpoints get the client's address in `X-Forwarded-For`")
    package static let accessLog = switches.option(
        "access_log", .service, \.accessLog, default: false,
        "whether each request or connection is logged")
    private static let route = values(RoutePlaces.grammar) { RoutePlaces($0) }.field(
        "route", .service, \.route, otherwise: "none",
        "mode http: the hosts and paths whose requests go to the service")
    package static let routeStrip = switches.option(
        "route_strip", .service, \.routeStrip, default: false,
        "whether the path of `route` is removed before a request is forwarded")
    package static let routeHTTPS = switches.option(
        "route_https", .service, \.routeHTTPS, default: false,
        "whether requests of `route` without TLS are redirected to HTTPS")

    /// All options, in the order of the documentation.
    package static let fields: [Field] = [
        port, listenAddress, mode.field, balance.field, check.field, checkHost, checkMethod.field, checkStatus.field,
        checkInterval.field, checkFastInterval.field, checkDownInterval, checkTimeout.field, checkRise.field,
        checkFall.field, checkPort, weight.field, maxConnections, slowStart.field, isBackup.field, zone,
        proxyProtocol.field, cookie, connectTimeout.field, clientTimeout.field, serverTimeout.field, queueTimeout,
        retries.field, retryOn.field, compression.field, forwardedFor.field, accessLog.field, route,
        routeStrip.field, routeHTTPS.field,
    ]

    /// The option of a name such as `check_interval`; nil where there is none.
    package static func field(_ name: String) -> Field? { places[name].map { fields[$0] } }

    /// Where each name stands in ``fields``.
    static let places = Dictionary(fields.enumerated().map { ($1.name, $0) }) { first, _ in first }
}
