import Shared

/// What HAProxy is told of a server besides its address.
///
/// All keywords of a server line come from here, for haproxy.cfg and for the runtime API's `add server` alike. The
/// latter does not apply `default-server`, so that only shortens the file.
struct ServerKeywords: Hashable, Sendable {
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
