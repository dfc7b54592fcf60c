import Shared

/// The text of haproxy.cfg for a plan: equal plans and settings give equal bytes.
///
/// Services give the `listen` sections their names, so that the stats page reads like the registry. HAProxy's own
/// section begins with `-`, which no service name does.
struct HAProxyConfiguration: Equatable, Sendable {
    /// The whole file.
    let text: String

    /// What a worker that runs this file tells as its `description`: a digest of the rest of the file.
    let mark: String

    /// Renders a plan.
    init(_ plan: ProxyPlan, _ settings: HAProxySettings) {
        let body =
            ([Self.defaults, Self.stats(settings)] + plan.listeners.map { Self.section($0, settings.abilities) })
            .joined(separator: "\n")
        let ownSettings = Self.globals(settings)
        mark = Self.mark(of: ownSettings + body)
        text = """
            # Written by docker-discover from the registry; it replaces this file with every change.
            global
                \(Self.description) \(mark)
            \(ownSettings)
            \(body)
            """
    }

    /// Takes a file that an earlier run wrote; nil where it carries no mark.
    init?(text: String) {
        let words = text.split(separator: "\n").lazy.map { $0.split(separator: " ") }
        guard let line = words.first(where: { $0.first.map(String.init) == Self.description }), line.count == 2,
            let mark = line.last.map(String.init), mark.hasPrefix(Self.markPrefix)
        else { return nil }
        self.mark = mark
        self.text = text
    }

    /// Where HAProxy listens while it runs this file.
    var binds: Set<BindAddress> {
        Set(
            text.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ")
                guard words.count >= 2, words[0] == "bind" else { return nil }
                return BindAddress(words[1])
            })
    }
}

extension HAProxyConfiguration {
    /// The global keyword whose value `show info` repeats: it tells which file a worker runs.
    private static let description = "description"
    private static let markPrefix = "docker-discover-"

    /// FNV-1a, 64 bits: it tells files apart and guards nothing.
    private static func mark(of text: String) -> String {
        let digest = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return markPrefix + String(digest, radix: 16)
    }

    /// Process-wide settings.
    ///
    /// `mworker-max-reloads` bounds how many generations of workers with open connections may pile up, at about 8 MB
    /// each; `hard-stop-after` bounds how long.
    private static func globals(_ settings: HAProxySettings) -> String {
        """
            stats socket \(settings.statsSocket) mode 600 level admin expose-fd listeners
            stats timeout 30s
            hard-stop-after \(settings.hardStopAfter.components.seconds)s
            mworker-max-reloads 50

        """
    }

    /// What holds for every service.
    ///
    /// Database pools keep connections open and silent for long: an hour of silence is allowed, and TCP keepalives
    /// find peers that are gone. Hashes are consistent, since only these let servers come and go while HAProxy runs. Of
    /// servers that are spare all are used, not only the first. A connection that fails goes to the next server at once (`redispatch 1`), so often that
    /// also most of the servers may be dead. Three failures in a row do not wait for the next check: one is made within
    /// 200 ms, and if it fails too the server is down (docs/decisions/0010).
    private static let defaults = """
        defaults
            mode tcp
            balance roundrobin
            hash-type consistent
            option allbackups
            option redispatch 1
            retries 10
            option clitcpka
            option srvtcpka
            timeout connect 1s
            timeout check 2s
            timeout client 1h
            timeout server 1h
            timeout client-fin 30s
            timeout server-fin 30s

        """

    /// The stats page, there even with no service, so that the file never lacks a listener.
    private static func stats(_ settings: HAProxySettings) -> String {
        var lines = [
            "mode http", "bind \(settings.statsBind.words)", "timeout client 30s", "timeout http-request 10s",
            // A browser that waits for the next refresh must not hold up a stop.
            "timeout http-keep-alive 1s",
        ]
        if settings.abilities.idleCloseOnResponse {
            lines.append("option idle-close-on-response")
        }
        if settings.abilities.prometheus {
            lines.append("http-request use-service prometheus-exporter if { path /metrics }")
        }
        lines += ["stats enable", "stats uri /", "stats refresh 5s", "stats show-legends"]
        return section("frontend -stats", lines)
    }

    private static func section(_ listener: ProxyPlan.Listener, _ abilities: HAProxyAbilities) -> String {
        let servers = listener.servers.map { server in
            let keywords = server.keywords
            let words =
                ["weight \(keywords.weight)"] + (keywords.maxConnections.map { ["maxconn \($0)"] } ?? [])
                + (keywords.hasCookie ? ["cookie \(server.id)"] : []) + [keywords.fixed]
            return "server \(server.id) \(server.endpoint) \(words.filter { !$0.isEmpty }.joined(separator: " "))"
        }
        return section("listen \(listener.service)", listener.head(abilities) + servers)
    }

    private static func section(_ title: String, _ lines: [String]) -> String {
        title + "\n" + lines.map { "    \($0)\n" }.joined()
    }
}
