import Shared

/// How a service is balanced as a whole, with nothing left open: what is said of it, else the documented defaults.
struct ListenerOptions: Equatable, Sendable {
    /// What HAProxy understands of its connections.
    var mode = ServiceMode.tcp
    /// How connections are spread over the endpoints.
    var balance = Balance.roundrobin
    /// How endpoints are checked.
    var check = HealthCheck()
    /// The cookie that keeps a client at its endpoint; nil for none.
    var cookie: CookieName?
    /// The limit for connecting to an endpoint.
    var connectTimeout = Duration.seconds(1)
    /// How long a client may be silent.
    var clientTimeout = Duration.seconds(3600)
    /// How long an endpoint may be silent.
    var serverTimeout = Duration.seconds(3600)
    /// How long a connection may wait for an endpoint below its limit.
    var queueTimeout = Duration.seconds(1)
    /// How often a failed connection is tried again.
    var retries = 10
    /// Which failures of HTTP requests are tried again.
    var retryOn = RetryConditions.standard
    /// How answers are compressed.
    var compression = Compression.none
    /// Whether endpoints are told the client's address; in mode http only.
    var forwardedFor = true
    /// Whether each request or connection is logged.
    var accessLog = false

    /// How endpoints are checked.
    struct HealthCheck: Equatable, Sendable {
        /// By what.
        var kind = ServiceCheck.tcp
        /// The `Host` header of an HTTP check; nil for none.
        var host: HostHeader?
        /// The method of an HTTP check.
        var method = CheckMethod.get
        /// The statuses that pass an HTTP check.
        var status = StatusCodes.standard
        /// Between two checks.
        var interval = Duration.seconds(2)
        /// Between two checks while an endpoint is changing from up to down or back.
        var fastInterval = Duration.milliseconds(200)
        /// Between two checks of an endpoint that is down.
        var downInterval = Duration.seconds(2)
        /// The limit of one check.
        var timeout = Duration.seconds(2)
        /// How many checks in a row bring an endpoint up.
        var rise = 2
        /// How many failures in a row take it down.
        var fall = 2
    }
}

extension ListenerOptions {
    /// Takes what is said.
    init(_ said: ServiceOptions) {
        mode = said.mode ?? mode
        balance = said.balance ?? balance
        check = HealthCheck(said)
        cookie = said.cookie
        connectTimeout = said.connectTimeout ?? connectTimeout
        clientTimeout = said.clientTimeout ?? clientTimeout
        serverTimeout = said.serverTimeout ?? serverTimeout
        queueTimeout = said.queueTimeout ?? connectTimeout
        retries = said.retries ?? retries
        retryOn = said.retryOn ?? retryOn
        compression = said.compression ?? compression
        forwardedFor = said.forwardedFor ?? forwardedFor
        accessLog = said.accessLog ?? accessLog
    }
}

extension ListenerOptions.HealthCheck {
    /// Takes what is said.
    init(_ said: ServiceOptions) {
        kind = said.check ?? kind
        host = said.checkHost
        method = said.checkMethod ?? method
        status = said.checkStatus ?? status
        interval = said.checkInterval ?? interval
        fastInterval = said.checkFastInterval ?? min(fastInterval, interval)
        downInterval = said.checkDownInterval ?? interval
        timeout = said.checkTimeout ?? timeout
        rise = said.checkRise ?? rise
        fall = said.checkFall ?? fall
    }
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
        var interval = Duration.seconds(2)
        /// Between two checks while the server is changing from up to down or back.
        var fastInterval = Duration.milliseconds(200)
        /// Between two checks of a server that is down; nil for ``interval``.
        var downInterval: Duration?
        /// How many checks in a row bring it up.
        var rise = 2
        /// How many failures in a row take it down.
        var fall = 2
        /// The port that is checked; nil for the server's own.
        var port: Port?
    }

    /// Its share of the connections, 0 to 256, written out also where it is the usual one, so that 50 means half.
    var weight = 100
    /// How many connections it takes at a time; nil for no limit.
    var maxConnections: Int?
    /// Over how long it comes to its full share after it came up; nil for at once.
    var slowStart: Duration?
    /// Whether it is used only when no other server works.
    var isBackup = false
    /// What tells it the client's address.
    var proxyProtocol = ProxyProtocol.none
    /// Whether a cookie keeps clients at it; the cookie's value is the server's name.
    var hasCookie = false
    /// How it is checked; nil for not at all.
    var check: Check? = Check()

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
