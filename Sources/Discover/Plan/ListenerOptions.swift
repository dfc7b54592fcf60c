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
