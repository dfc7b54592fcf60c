import Shared

extension HAProxySettings {
    /// The users of the stats page, and the listener where it is with `/metrics` and `/healthz`; it is there even with
    /// no service, so that the file never lacks a listener.
    ///
    /// `/healthz` is answered before anybody is asked for a password.
    var statsSections: String {
        var text = ""
        if !host.statsUsers.isEmpty {
            text = HAProxyConfiguration.section("userlist \(HealthSign.section)", host.statsUsers.map(\.line)) + "\n"
        }
        return text + HAProxyConfiguration.section("frontend \(HealthSign.section)", statsLines)
    }

    private var statsLines: [String] {
        var lines = [
            "mode http", "bind \(statsBind.words)", "timeout client 30s", "timeout http-request 10s",
            // A browser that waits for the next refresh must not hold up a stop.
            "timeout http-keep-alive 1s",
        ]
        if abilities.idleCloseOnResponse { lines.append("option idle-close-on-response") }
        lines += HealthSign.lines
        if !host.statsUsers.isEmpty {
            lines.append("http-request auth realm docker-discover if !{ http_auth(\(HealthSign.section)) }")
        }
        if abilities.prometheus {
            lines.append("http-request use-service prometheus-exporter if { path /metrics }")
        }
        lines += ["stats enable", "stats uri /", "stats refresh 5s", "stats show-legends"]
        return lines + ["stats show-node \(host.name)", "stats show-desc '\(pageDescription)'"]
    }

    /// What the page says of itself, which HAProxy takes as HTML.
    private var pageDescription: String {
        let pages = (abilities.prometheus ? ["/metrics"] : []) + ["/healthz", "/;csv"]
        let links = pages.map { Self.link(to: $0, $0) }.joined(separator: " ")
        return "docker-discover \(Version.current) \(links)"
    }

    /// A link for the stats page.
    static func link(to target: String, _ text: String) -> String { "<a href=\"\(target)\">\(text)</a>" }
}
