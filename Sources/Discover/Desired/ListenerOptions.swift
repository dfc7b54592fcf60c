import Shared

/// How a service is balanced as a whole, with nothing left open: what is configured, else the defaults of the table.
struct ListenerOptions: Equatable, Sendable {
    private let configured: ServiceOptions

    /// Those of a service that only a route names.
    static let ofRoute = Interned(
        ListenerOptions(
            {
                var options = ServiceOptions()
                options.mode = .http
                return options
            }()))

    /// Takes what is configured.
    init(_ configured: ServiceOptions = ServiceOptions()) {
        self.configured = configured.isEmpty ? configured : configured.withoutDefaults
    }

    /// What counts of an option.
    subscript<Value>(_ option: ServiceOption<Value>) -> Value { configured[option] }

    /// What HAProxy understands of its connections.
    var mode: ServiceMode { self[ServiceOptions.mode] }

    /// The cookie that keeps a client at its endpoint; nil for none.
    var cookie: CookieName? { configured.cookie }

    /// The `Host` header of an HTTP check; nil for none.
    var checkHost: HostHeader? { configured.checkHost }

    /// Between two checks while an endpoint is changing from up to down or back.
    var checkFastInterval: Duration {
        configured.checkFastInterval ?? min(self[ServiceOptions.checkFastInterval], self[ServiceOptions.checkInterval])
    }

    /// Between two checks of an endpoint that is down.
    var checkDownInterval: Duration { configured.checkDownInterval ?? self[ServiceOptions.checkInterval] }

    /// How long a connection may wait for an endpoint that is at its limit.
    var queueTimeout: Duration { configured.queueTimeout ?? self[ServiceOptions.connectTimeout] }
}

/// What HAProxy is told of a server besides its address.
///
/// All keywords of a server line come from here, for haproxy.cfg and for the runtime API's `add server` alike. The
/// latter does not apply `default-server`, so that only shortens the file.
struct ServerOptions: Hashable, Sendable {
    /// How a server is checked.
    struct Check: Hashable, Sendable {
        /// Whether the section has rules of an HTTP check; a new server then takes no traffic before its first pass.
        var isHTTP = false
        /// Whether also answers of requests are watched, not only connections: where both requests and checks are HTTP.
        var observesAnswers = false
        /// Between two checks.
        var interval = ServiceOptions.checkInterval.defaultValue
        /// Between two checks while the server is changing from up to down or back.
        var fastInterval = ServiceOptions.checkFastInterval.defaultValue
        /// Between two checks of a server that is down; nil for ``interval``.
        var downInterval: Duration?
        /// How many checks in a row bring it up.
        var rise = ServiceOptions.checkRise.defaultValue
        /// How many failures in a row take it down.
        var fall = ServiceOptions.checkFall.defaultValue
        /// The port that is checked; nil for the server's own.
        var port: Port?
    }

    /// Its share of the connections, 0 to 256, written out also where it is the usual one, so that 50 means half.
    var weight: Int
    /// How many connections it takes at a time; nil for no limit.
    var maxConnections: Int?
    /// Over how long it comes to its full share after it came up; nil for at once.
    var slowStart: Duration?
    /// Whether it is used only when no other server works.
    var isBackup: Bool
    /// What tells it the client's address.
    var proxyProtocol: ProxyProtocol
    /// Whether a cookie keeps clients at it; the cookie's value is the server's name.
    var hasCookie: Bool
    /// How it is checked; nil for not at all.
    var check: Check?

    /// What counts where nothing is configured.
    init() { self.init(ServiceOptions(), check: Check(ListenerOptions())) }

    /// Takes what is configured of an endpoint, and the check of its service.
    init(_ configured: ServiceOptions, hasCookie: Bool = false, check: Check?) {
        weight = configured[ServiceOptions.weight]
        maxConnections = configured.maxConnections
        slowStart = configured.slowStart
        isBackup = configured[ServiceOptions.isBackup]
        proxyProtocol = configured[ServiceOptions.proxyProtocol]
        self.hasCookie = hasCookie
        self.check = check
        self.check?.port = configured.checkPort
    }

    /// Whether it takes no traffic before its first check has passed.
    ///
    /// A check that only connects proves nothing that the first connection would not: where that is refused it goes
    /// to another server at once.
    var startsDown: Bool { check?.isHTTP == true }

    /// The keywords that only a new server takes: those besides weight and limit.
    var fixed: String {
        var words: [String] = []
        if isBackup { words.append("backup") }
        if let slowStart, slowStart > .zero { words.append("slowstart \(Self.time(slowStart))") }
        switch proxyProtocol {
        case .none: break
        case .v1: words.append("send-proxy")
        case .v2: words.append("send-proxy-v2")
        }
        // A port of its own for checks is no port for clients.
        if proxyProtocol != .none, let check, check.port == nil { words.append("check-send-proxy") }
        if let check { words += Self.words(of: check) }
        return words.joined(separator: " ")
    }

    /// Failed connections, and answers that tell of an error of the server, bring the next check forward
    /// (docs/decisions/0010).
    private static func words(of check: Check) -> [String] {
        var words = ["check inter \(time(check.interval)) fastinter \(time(check.fastInterval))"]
        if let interval = check.downInterval { words.append("downinter \(time(interval))") }
        words.append("fall \(check.fall) rise \(check.rise)")
        if let port = check.port { words.append("port \(port)") }
        words.append("observe \(check.observesAnswers ? "layer7" : "layer4") error-limit 3 on-error sudden-death")
        return words
    }

    /// HAProxy takes one unit for each time.
    private static func time(_ duration: Duration) -> String {
        let milliseconds = Int64(duration / .milliseconds(1))
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}
