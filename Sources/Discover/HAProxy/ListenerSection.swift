import Shared

extension ProxyPlan.Listener {
    /// The lines of its section before its servers: only what differs from the defaults section.
    ///
    /// They do not depend on the servers, which come and go without a reload.
    func head(_ settings: HAProxySettings) -> [String] {
        let place = ["description \(description(settings.host))", "bind \(bind.words)"]
        return place + options.mode(settings.abilities) + options.balanceLines + options.check.lines + options.limits
            + options.logLines
    }

    /// What the stats page shows beside the name: the port, which is a link where a browser can do something with it.
    private func description(_ host: ConsumerHost) -> String {
        guard options.mode == .http else {
            return bind.address.map { "port \(port) of \($0)" } ?? "port \(port)"
        }
        let target = bind.address == nil || bind.isOfBothFamilies ? "\(host.name):\(port)" : "\(bind)"
        return "'port \(HAProxySettings.link(to: "http://\(target)/", "\(port)"))'"
    }
}

extension ListenerOptions {
    private static let standard = ListenerOptions()

    /// What is about mode http.
    fileprivate func mode(_ abilities: HAProxyAbilities) -> [String] {
        guard mode == .http else { return [] }
        var lines = ["mode http"]
        if abilities.idleCloseOnResponse { lines.append("option idle-close-on-response") }
        if forwardedFor { lines.append("option forwardfor") }
        if let cookie { lines.append("cookie \(cookie) insert indirect nocache") }
        if retryOn != Self.standard.retryOn { lines.append("retry-on \(retryOn.words.joined(separator: " "))") }
        if compression != Compression.none {
            lines += ["compression algo \(compression.rawValue)", "compression type \(Self.compressedTypes)"]
        }
        return lines
    }

    /// What is worth compressing; pictures and archives are compressed already.
    private static let compressedTypes = """
        text/html text/plain text/css text/csv text/xml text/javascript application/javascript application/json \
        application/xml image/svg+xml
        """

    fileprivate var balanceLines: [String] {
        balance == Self.standard.balance ? [] : ["balance \(balance.rawValue)"]
    }

    /// Times and retries.
    fileprivate var limits: [String] {
        let times: [(String, KeyPath<ListenerOptions, Duration>)] = [
            ("connect", \.connectTimeout), ("client", \.clientTimeout), ("server", \.serverTimeout),
            ("queue", \.queueTimeout), ("check", \.check.timeout),
        ]
        let lines = times.filter { self[keyPath: $1] != Self.standard[keyPath: $1] }
            .map { "timeout \($0) \(HAProxyTime.text(self[keyPath: $1]))" }
        return lines + (retries == Self.standard.retries ? [] : ["retries \(retries)"])
    }

    fileprivate var logLines: [String] {
        accessLog ? ["log stdout format raw local0 info", "log-format \"\(AccessLogLine.format(of: mode))\""] : []
    }
}

extension ListenerOptions.HealthCheck {
    /// The rules of an HTTP check.
    ///
    /// HTTP/1.1 demands a `Host`; without one the request is of HTTP/1.0, which does not.
    fileprivate var lines: [String] {
        guard case .http(let path) = kind else { return [] }
        let version = host.map { "ver HTTP/1.1 hdr Host \($0)" } ?? "ver HTTP/1.0"
        return [
            "option httpchk", "http-check send meth \(method.rawValue) uri \(path) \(version)",
            "http-check expect status \(status)",
        ]
    }
}

/// Times as haproxy.cfg takes them: one number with one unit.
enum HAProxyTime {
    /// Writes a time, rounded down to a millisecond.
    static func text(_ duration: Duration) -> String {
        let milliseconds = Int64(duration / .milliseconds(1))
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}
