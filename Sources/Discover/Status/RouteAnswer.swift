import FoundationEssentials
import Shared

/// What `why` tells of a request: which route it takes, why not another one, and who answers it.
struct RouteAnswer {
    /// The services that may answer it.
    private(set) var services: [ServiceReport] = []
    /// Whether a service answers it.
    private(set) var isRouted = false
    /// The answer in sentences.
    private(set) var sentences: [String] = []

    /// Looks up where a request goes.
    init(_ address: RequestAddress, _ table: RouteTable, _ routing: RoutingReport, _ report: StatusReport) {
        let shown = "\(address.host)\(address.path)"
        if routing.http == nil, routing.https == nil { sentences.append("Nothing listens for routes on this host.") }
        guard let found = table.lookup(host: address.host, path: address.path) else {
            sentences.append("No route leads to \(shown): it is answered 404.")
            sentences += Self.others(address, routing, but: nil)
            return
        }
        let route = routing.route(of: found.record)
        let name = route.map { $0.label == true ? "the label of service \($0.name)" : "route \($0.name)" } ?? "?"
        sentences.append(
            "\(shown) takes \(name), by \(found.key.hasSuffix("?") ? "the whole path" : "its beginning") \(Self.place(found.key))."
        )
        sentences += route?.reasons.map { "\(name): \($0)." } ?? []
        tell(found.record, route, table, report)
        sentences += Self.others(address, routing, but: route)
    }

    private mutating func tell(
        _ record: RouteRecord, _ route: RouteReport?, _ table: RouteTable, _ report: StatusReport
    ) {
        if !record[.https].isEmpty { sentences.append("Requests without TLS are redirected to HTTPS (308).") }
        guard record[.closed].isEmpty else {
            sentences.append("It is closed: every request is answered 503 with its text.")
            return
        }
        guard record[.to] != RouteRecord.nobody else {
            sentences.append("It is not usable: every request is answered 503.")
            return
        }
        for when in route?.when ?? [] { sentences.append("First, its condition is tried: \(when).") }
        let shares = table.shares[record[.to]]?.counts ?? []
        if !shares.isEmpty {
            let words = shares.map { "\($0.service) \(Double($0.share) / 10) %" }.joined(separator: ", ")
            let isSticky = record[.to].hasPrefix(RouteShares.stickyMark)
            sentences.append("Its shares are \(words)\(isSticky ? "; a cookie keeps clients" : "").")
        } else if record[.to].isEmpty {
            sentences.append("Where no condition holds, it is answered 404.")
        }
        if !record[.strip].isEmpty { sentences.append("Its path is removed before a request is forwarded.") }
        if !record[.add].isEmpty { sentences.append("\(record[.add]) is put before the path.") }
        let targets = Set(shares.map(\.service) + record.targets.filter { !$0.hasPrefix("~") })
        services = report.services.filter { targets.contains($0.name) }
        for name in targets.sorted() {
            guard let service = services.first(where: { $0.name == name }) else {
                sentences.append("Service \(name) has no endpoint: its requests are answered 503.")
                continue
            }
            let serving = service.endpoints.count { $0.state == .serving }
            sentences.append("Service \(name): \(serving) of \(service.endpoints.count) endpoints get connections.")
            for endpoint in service.endpoints where endpoint.state != .serving {
                sentences += endpoint.reasons.map { "  \(name)/\(endpoint.id) at \(endpoint.endpoint): \($0)." }
            }
        }
        isRouted = services.contains { $0.endpoints.contains { $0.state == .serving } }
    }

    /// Why other routes of the host are not taken.
    private static func others(_ address: RequestAddress, _ routing: RoutingReport, but taken: RouteReport?) -> [String]
    {
        routing.routes(of: address.host).filter { $0 != taken }.prefix(10).map { route in
            let name = route.label == true ? "the label of service \(route.name)" : "route \(route.name)"
            let place = "\(route.hosts.joined(separator: ", "))\(route.path == "/" ? "" : route.path)"
            let keys = RouteTable.keys(of: "", address.path)
            let key = route.match == "exact" ? "\(route.path)/?" : route.path == "/" ? "/" : "\(route.path)/"
            let why =
                !keys.contains(key)
                ? "its path is another one"
                : route.state == .shadowed
                    ? "another one has its place" : "a host or a path that is nearer decides"
            return "Not \(name) (\(place)): \(why)."
        }
    }

    private static func place(_ key: String) -> String { key.hasSuffix("/?") ? String(key.dropLast(2)) : key }
}

extension HAProxyAccess {
    /// When the certificates end that HAProxy has, by name, RFC 3339; none where it does not say.
    func expiries(of settings: HAProxySettings) async -> [String: String] {
        guard settings.host.routes?.https != nil else { return [:] }
        var found: [String: String] = [:]
        for name in settings.certificates.keys {
            let question = "show ssl cert \(settings.routeFiles.certificate(name))"
            guard let answer = try? await runtime.socket.send(question, deadline: timing.answer),
                let line = answer.split(separator: "\n").first(where: { $0.hasPrefix("notAfter: ") })
            else { continue }
            found[name] = CertificateDate.text(line.dropFirst("notAfter: ".count))
        }
        return found
    }
}

/// Dates as OpenSSL writes them: `Nov 30 04:00:00 2027 GMT`.
enum CertificateDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// The date of RFC 3339; nil for anything else.
    static func text(_ date: some StringProtocol) -> String? {
        let words = String(date).split(separator: " ").map { String($0) }
        guard words.count >= 4, let month = months.firstIndex(of: words[0]), let day = Int(words[1]),
            let year = Int(words[3]), words[2].count == 8
        else { return nil }
        func digits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(digits(month + 1))-\(digits(day))T\(words[2])Z"
    }
}
