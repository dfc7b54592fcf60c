import Shared

/// What is known of one route, as `--json` prints it.
struct RouteReport: Encodable, Equatable, Sendable {
    /// What becomes of it.
    enum State: String, Encodable, Sendable {
        /// Requests go where it says.
        case served
        /// Nobody can serve its requests now: they are answered 503.
        case unavailable
        /// It answers with its own text.
        case closed
        /// Its change waits for an endpoint of the new target that is up.
        case waiting
        /// Another route has all of its places.
        case shadowed
        /// It is wrong: its requests are answered 503.
        case unusable
    }

    /// The route's name, or the service's whose label it is.
    var name: String
    /// Whether it is a label's.
    var label: Bool?
    /// The hosts.
    var hosts: [String]
    /// The path.
    var path: String
    /// How it is compared.
    var match: String
    /// The services with their weights.
    var to: [String: String]
    /// The conditions, each with where it leads.
    var when: [String]
    /// What becomes of it.
    var state: State
    /// What is wrong, and what it waits for.
    var reasons: [String]
    /// The key.
    var key: String?

    /// Whether requests to it are answered by a service.
    var isRouted: Bool { state == .served || state == .waiting }
}

extension RouteReport {
    /// Describes one.
    ///
    /// - Parameter isUp: whether a service has an endpoint that gets connections.
    init(
        _ claim: RouteClaim, _ builder: RouteTableBuilder, problems: [RouteProblem], keyspace: Keyspace,
        isUp: (ServiceName) -> Bool
    ) {
        let route = claim.route
        switch claim.id {
        case .named(let name):
            (self.name, label, key) = (name.text, nil, keyspace.text(of: .route(name)))
        case .label(let service, _): (name, label, key) = (service.text, true, nil)
        }
        (hosts, path, match) = (route.hosts.map(\.text), route.path.description, route.match.rawValue)
        to = Dictionary((route.to?.weights ?? []).map { ($0.service.text, $0.text) }) { first, _ in first }
        when = route.when.map { "\($0.condition) -> \($0.to)" }
        let own = problems.filter { $0.route == claim.id }
        reasons = own.map(\.explanation).sorted()
        let lost = claim.keys.filter { builder.claims(of: $0).first?.id != claim.id }
        let missing = route.services.filter { !isUp($0) }.sorted()
        if own.contains(where: \.isFault) {
            state = .unusable
        } else if lost.count == claim.keys.count {
            state = .shadowed
        } else if own.contains(where: \.isWait) {
            state = .waiting
        } else if route.closed != nil {
            state = .closed
        } else if missing.count == route.services.count {
            state = .unavailable
        } else {
            state = .served
        }
        if state == .served || state == .unavailable, !missing.isEmpty {
            reasons.append("no endpoint of \(missing.map(\.text).joined(separator: ", ")) gets connections")
        }
    }
}

extension RouteProblem {
    /// The route that it is about; nil for none.
    fileprivate var route: RouteID? {
        switch self {
        case .claimed(let id, _, _), .targetIsTCP(let id, _), .tooManyConditions(let id), .unusable(let id),
            .waits(let id, _, _):
            id
        case .lost, .unreadable, .notListening, .noCertificate, .certificate, .portOfRoutes: nil
        }
    }

    fileprivate var isFault: Bool {
        switch self {
        case .targetIsTCP, .tooManyConditions, .unusable: true
        default: false
        }
    }

    fileprivate var isWait: Bool { if case .waits = self { true } else { false } }
}

/// All routes of a host and where they are served, as `--json` prints it.
struct RoutingReport: Encodable, Equatable, Sendable {
    /// A certificate.
    struct Certificate: Encodable, Equatable, Sendable {
        /// Its name.
        var name: String
        /// When it ends, RFC 3339; nil where HAProxy does not say.
        var expires: String?
    }

    /// Where they are served without TLS.
    var http: String?
    /// Where they are served with TLS.
    var https: String?
    /// The certificates in use, the one that ends first at the beginning.
    var certificates: [Certificate]
    /// The routes, those of operators first.
    var routes: [RouteReport]

    /// What a host comes to; nil where it serves no routes.
    init?(
        _ desired: DesiredState, _ builder: RouteTableBuilder, _ services: [ServiceReport], _ snapshot: Snapshot,
        _ expiries: [String: String]
    ) {
        guard desired.routes != nil else { return nil }
        (http, https) = (desired.routeBinds.http?.description, desired.routeBinds.https?.description)
        certificates = snapshot.settings.certificates.keys
            .map { Certificate(name: $0, expires: expiries[$0]) }
            .sorted { ($0.expires ?? "~", $0.name) < ($1.expires ?? "~", $1.name) }
        let up = Set(
            services.filter { service in service.endpoints.contains { $0.state == .serving } }.map(\.name))
        let problems = desired.diagnostics.compactMap { problem in
            if case .route(let problem) = problem { problem } else { nil }
        }
        let keyspace = snapshot.store.keyspace
        routes = builder.all.map { claim in
            RouteReport(claim, builder, problems: problems, keyspace: keyspace) { up.contains($0.text) }
        }
    }

    /// The route that a record is of.
    func route(of record: RouteRecord) -> RouteReport? {
        let name = record[.name]
        return routes.first { route in (route.label == true ? "label:\(route.name)" : route.name) == name }
    }

    /// The routes that have to do with a host, whatever their paths.
    func routes(of host: String) -> [RouteReport] {
        let hosts = RouteTable.hosts(of: host)
        return routes.filter { !$0.hosts.allSatisfy { !hosts.contains($0) } }
    }
}

/// The host and path of a request, as somebody types it: `https://shop.example.com/api?x=1` or `shop.example.com`.
struct RequestAddress: Equatable, Sendable {
    /// The host, as HAProxy looks it up.
    let host: String
    /// The path without its query.
    let path: String
    /// Whether it was typed as a URL, and so is nothing else.
    let isURL: Bool

    /// Reads a URL, or a host with a path; nil for anything else.
    ///
    /// A host alone needs a dot, as services have names like it.
    init?(_ text: String) {
        var rest = text[...]
        var isURL = false
        for scheme in ["http://", "https://"] where text.lowercased().hasPrefix(scheme) {
            rest = rest.dropFirst(scheme.count)
            isURL = true
        }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
        var host = rest[..<end].lowercased()
        if let colon = host.lastIndex(of: ":"), host[colon...].dropFirst().allSatisfy(\.isNumber) {
            host = String(host[..<colon])
        }
        while host.hasSuffix(".") { host.removeLast() }
        let path = String(rest[end...].prefix { $0 != "?" && $0 != "#" })
        guard isURL || host.contains("."), isURL || Endpoint(text) == nil, HostPattern(host) != nil else { return nil }
        self.isURL = isURL
        self.host = host
        self.path = path.isEmpty ? "/" : path
    }
}
