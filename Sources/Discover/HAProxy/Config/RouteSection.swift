import Shared

/// The frontend that routes requests by host and path, and the files that it reads.
///
/// All of a route is in the maps, which change while HAProxy runs; only a condition that no route has had, a certificate
/// where there was none, and a setting change this text (docs/decisions/0021).
struct RouteSection: Equatable, Sendable {
    /// Where HAProxy listens for it.
    let binds: RouteBinds
    /// What the settings say.
    let listeners: RouteListeners
    /// The conditions that routes name.
    let conditions: [RouteCondition]

    /// The section's name, which is no service's.
    static let name = "-routes"

    /// The whole section.
    func text(_ settings: HAProxySettings) -> String {
        "\n" + HAProxyConfiguration.section("frontend \(Self.name)", lines(settings))
    }

    private func lines(_ settings: HAProxySettings) -> [String] {
        let files = settings.routeFiles
        var lines = ["mode http"]
        if let bind = binds.http { lines.append("bind \(bind.words)") }
        if let bind = binds.https {
            lines.append("bind \(bind.words) ssl crt-list \(files.certificateList) alpn h2,http/1.1")
        }
        if settings.abilities.idleCloseOnResponse { lines.append("option idle-close-on-response") }
        lines += [
            "timeout http-request 10s", "log stdout format raw local0 info",
            "log-format \"\(AccessLogLine.routeFormat)\"",
            // The section of a service that is to be logged turns it on.
            "http-request set-log-level silent",
        ]
        lines += listeners.trusted.map { "acl trusted_proxy src \($0)" }
        return lines + Self.refusals + lookup(files.routes) + forwarded + answers + decision(files.shares) + Self.paths
            + ["use_backend %[var(txn.to)] if { var(txn.to) -m found }"]
    }

    /// What could be taken for another route: a slash in the host, which 2.6 accepts, and segments of dots.
    private static let refusals = [
        "http-request set-var(txn.host) req.hdr(host),lower,regsub(:[0-9]*$,),rtrim(.)",
        #"http-request deny deny_status 400 if { var(txn.host) -m reg [^a-z0-9._:\[\]-] }"#,
        #"http-request deny deny_status 400 if { path -m reg -i (^|/)(\.|%2e){1,2}(/|$) }"#,
    ]

    /// Looks for the host itself, then for what it is one of, at last for all hosts.
    private func lookup(_ map: String) -> [String] {
        let missing = "if !{ var(txn.route) -m found }"
        let first = "http-request set-var(txn.route) var(txn.host),concat(,txn.path),map_beg(\(map))"
        var lines = ["http-request set-var(txn.path) path,concat(/?)", first]
        for step in 0..<RouteTable.wildcardDepth {
            let label = step == 0 ? "var(txn.host),regsub(^[^.]*,*)" : #"var(txn.any),regsub(^\*\.[^.]*,*)"#
            lines.append("http-request set-var(txn.any) \(label) \(missing)")
            lines.append(
                "http-request set-var(txn.route) var(txn.any),concat(,txn.path),map_beg(\(map)) \(missing)")
        }
        lines.append("http-request set-var(txn.route) str(*),concat(,txn.path),map_beg(\(map)) \(missing)")
        return lines
    }

    /// What endpoints are told of the client, which only a proxy that is trusted may have said before.
    ///
    /// The client's own address is added by the service's section.
    private var forwarded: [String] {
        let isTrusted = !listeners.trusted.isEmpty
        func unless(_ header: String) -> String {
            isTrusted ? " unless trusted_proxy { req.hdr(\(header)) -m found }" : ""
        }
        func when(_ condition: String, _ header: String) -> String {
            isTrusted
                ? " if \(condition) !trusted_proxy || \(condition) !{ req.hdr(\(header)) -m found }"
                : " if \(condition)"
        }
        return [
            "http-request del-header X-Forwarded-For" + (isTrusted ? " unless trusted_proxy" : ""),
            "http-request set-header X-Forwarded-Host %[req.hdr(host)]" + unless("x-forwarded-host"),
            "http-request set-header X-Forwarded-Proto https" + when("{ ssl_fc }", "x-forwarded-proto"),
            "http-request set-header X-Forwarded-Proto http" + when("!{ ssl_fc }", "x-forwarded-proto"),
        ]
    }

    /// What is answered without any service; certificates are fetched without TLS.
    private var answers: [String] {
        let port = listeners.https.map { $0.port.number == 443 ? "" : ":\($0.port)" } ?? ""
        let closed = field(.closed)
        return [
            "http-request redirect location https://%[var(txn.host)]\(port)%[pathq] code 308 "
                + "if { \(field(.https)) -m str https } !{ req.hdr(x-forwarded-proto) -m str https } "
                + "!{ path_beg /.well-known/acme-challenge/ }",
            "http-request return status 503 content-type \"\(Self.page)\" lf-string "
                + "\"<!doctype html><title>503 Service Unavailable</title><p>%[\(closed),b64dec]</p>\" "
                + "hdr cache-control no-store if { \(closed) -m len gt 0 }",
        ]
    }

    private static let page = "text/html; charset=utf-8"

    /// Decides on the service: by conditions, then by the route, then by the die where there are shares.
    private func decision(_ map: String) -> [String] {
        var lines = ["http-request set-var(txn.to) \(field(.to))"]
        // The first condition comes last, as the last rule decides.
        for (when, to) in [
            (RouteRecord.Field.secondCondition, RouteRecord.Field.secondTarget), (.firstCondition, .firstTarget),
        ]
        where !conditions.isEmpty {
            lines.append("http-request set-var(txn.when) \(field(when))")
            lines += conditions.map { condition in
                "http-request set-var(txn.to) \(field(to)) if { var(txn.when) -m str \(condition.id) } \(condition.words)"
            }
        }
        let shares = RouteShares.mark.prefix(1)
        return lines + [
            Self.answer(404, "Not Found", "No route leads here.", "unless { var(txn.to) -m len gt 0 }"),
            Self.answer(
                503, "Service Unavailable", "The route for this address is not usable.",
                "if { var(txn.to) -m str -- \(RouteRecord.nobody) }"),
            "http-request set-var(txn.die) req.cook(\(Self.cookie)) if { var(txn.to) -m beg \(RouteShares.stickyMark) } "
                + "{ req.cook(\(Self.cookie)) -m reg ^1[0-9][0-9][0-9]$ }",
            "http-request set-var(txn.new) rand(1000),add(1000) if { var(txn.to) -m beg \(shares) } "
                + "!{ var(txn.die) -m found }",
            "http-request set-var(txn.die) var(txn.new) if !{ var(txn.die) -m found } { var(txn.new) -m found }",
            "http-response add-header Set-Cookie \"\(Self.cookie)=%[var(txn.new)]; Path=/; HttpOnly; SameSite=Lax; "
                + "Max-Age=604800\" if { var(txn.route) -m beg \(RouteShares.stickyMark) } { var(txn.new) -m found }",
            "http-request set-var(txn.to) var(txn.to),concat(:,txn.die),map_beg(\(map)) "
                + "if { var(txn.to) -m beg \(shares) }",
        ]
    }

    /// The cookie that keeps a client at its number.
    static let cookie = "sidekick"

    private static func answer(_ status: Int, _ reason: String, _ text: String, _ condition: String) -> String {
        "http-request return status \(status) content-type \"\(page)\" string "
            + "\"<!doctype html><title>\(status) \(reason)</title><p>\(text)</p>\" \(condition)"
    }

    /// What becomes of the path.
    private static let paths =
        (1...Route.deepestStrip).map { depth in
            "http-request set-path /%[path,field(\(depth + 2),/,0)] if { \(field(.strip)) -m str \(depth) }"
        } + [
            "http-request set-var(txn.add) \(field(.add))",
            "http-request set-path %[var(txn.add)]%[path] if { var(txn.add) -m len gt 0 }",
        ]

    private static func field(_ field: RouteRecord.Field) -> String { "var(txn.route),field(\(field.rawValue),|)" }

    private func field(_ field: RouteRecord.Field) -> String { Self.field(field) }

    /// The ids of the conditions that a line of an earlier file names; none for any other line.
    static func condition(inLine line: some StringProtocol) -> String? {
        let words = line.split(separator: " ")
        guard words.starts(with: ["http-request", "set-var(txn.to)"]),
            let place = words.firstIndex(of: "var(txn.when)"), words.count > place + 3
        else { return nil }
        return String(words[place + 3])
    }
}

extension RouteCondition {
    /// As HAProxy's rules take it.
    fileprivate var words: String {
        tests.map { test in
            switch test {
            case .header(let name, let value?): "{ req.fhdr(\(name)) -m str -- '\(value)' }"
            case .header(let name, nil): "{ req.fhdr(\(name)) -m found }"
            case .cookie(let name, let value?): "{ req.cook(\(name)) -m str -- '\(value)' }"
            case .cookie(let name, nil): "{ req.cook(\(name)) -m found }"
            case .method(let methods): "{ method \(methods.joined(separator: " ")) }"
            }
        }.joined(separator: " ")
    }
}

/// The files that HAProxy reads for routes.
struct RouteFiles: Equatable, Sendable {
    /// The folder.
    let folder: String

    /// The map of hosts and paths.
    var routes: String { folder + "/routes.map" }
    /// The map of shares.
    var shares: String { folder + "/shares.map" }
    /// The list of certificates.
    var certificateList: String { folder + "/certificates.list" }
    /// The folder of certificates.
    var certificates: String { folder + "/certificates" }

    /// The path of a certificate.
    func certificate(_ name: String) -> String { "\(certificates)/\(name).pem" }
}

/// What the maps say, and which certificates there are: what changes of routes while HAProxy runs.
struct RouteMaps: Equatable, Sendable {
    /// The records by key.
    var records = PartitionedTable<String>()
    /// The rows of shares by id: the rest of the key with the service.
    var shares: [String: [String: String]] = [:]
    /// The digests of certificates by name.
    var certificates: [String: String] = [:]

    /// Makes empty ones.
    init() {}

    /// What a table comes to.
    init(_ table: RouteTable, certificates: [String: String]) {
        records = table.records
        shares = table.shares.mapValues { shares in
            Dictionary(shares.rows.map { ($0.digits, $0.service.text) }) { first, _ in first }
        }
        self.certificates = certificates
    }

    /// Parses what HAProxy tells of its two maps by `show map`: an address, a key and a value on each line.
    init(records: String, shares: String) {
        func rows(_ text: String) -> [(String, String)] {
            text.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ", maxSplits: 2)
                return words.count == 3 ? (String(words[1]), String(words[2])) : nil
            }
        }
        self.records.apply(rows(records).map { ($0, $1) })
        for (key, value) in rows(shares) {
            let parts = key.split(separator: ":", maxSplits: 1).map(String.init)
            if parts.count == 2 { self.shares[parts[0], default: [:]][parts[1]] = value }
        }
    }

    /// The file of shares: sorted, so that equal ones have equal bytes.
    var sharesText: String {
        shares.sorted { $0.key < $1.key }.flatMap { id, rows in
            rows.sorted { $0.key < $1.key }.map { "\(id):\($0.key) \($0.value)\n" }
        }.joined()
    }

    /// Both, as comments below haproxy.cfg: for people.
    var comment: String {
        let lines = ["", "# routes.map"] + recordsText.split(separator: "\n").map { "#   \($0)" }
        let shares = ["# shares.map"] + sharesText.split(separator: "\n").map { "#   \($0)" }
        return (lines + (self.shares.isEmpty ? [] : shares)).map { $0 + "\n" }.joined()
    }

    /// The file of records, sorted: for people.
    var recordsText: String { records.keys.map { "\($0) \(records[$0] ?? "")\n" }.joined() }
}
