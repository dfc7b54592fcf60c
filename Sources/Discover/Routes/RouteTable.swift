import Shared

/// What routes come to on a host: the maps that HAProxy looks hosts and paths up in, and what haproxy.cfg needs for them.
struct RouteTable: Equatable, Sendable {
    /// The records by the keys of hosts and paths.
    fileprivate(set) var records = PartitionedTable<String>()
    /// The shares that records name, by id.
    fileprivate(set) var shares: [String: RouteShares] = [:]
    /// The conditions that records name, in the order of their texts.
    fileprivate(set) var conditions: [RouteCondition] = []
    /// The services that requests may go to, whether there are any endpoints of them or not.
    fileprivate(set) var services: Set<ServiceName> = []
    /// What is wrong.
    fileprivate(set) var problems: Set<Diagnostic> = []

    /// Makes an empty one.
    init() {}

    /// Where a request goes: the key of the map, and the record; nil for no route.
    ///
    /// HAProxy's rules do the same by the longest beginning.
    func lookup(host: String, path: String) -> (key: String, record: RouteRecord)? {
        for host in Self.hosts(of: host) {
            for key in Self.keys(of: host, path) {
                if let text = records[key], let record = RouteRecord(text) { return (key, record) }
            }
        }
        return nil
    }

    /// The host, then what it is one of, from the nearest on.
    static func hosts(of host: String) -> [String] {
        var hosts = [host]
        var rest = host[...]
        for _ in 0..<wildcardDepth {
            guard let dot = rest.firstIndex(of: ".") else { break }
            rest = rest[dot...].dropFirst()
            hosts.append("*.\(rest)")
        }
        return hosts + ["*"]
    }

    /// How many names a wildcard may stand for.
    static let wildcardDepth = 3

    /// The keys that a path may be found by, from the longest on.
    static func keys(of host: String, _ path: String) -> [String] {
        let whole = "\(host)\(path)/?"
        var keys = [whole]
        var rest = whole.dropLast()
        while rest.utf8.count > host.utf8.count {
            keys.append(String(rest))
            rest = rest.dropLast()
            rest = rest.lastIndex(of: "/").map { rest[...$0] } ?? ""
        }
        return keys
    }
}

/// What the labels of one service ask for.
struct LabelRoutes: Hashable, Sendable {
    /// The places.
    let places: [RoutePlace]
    /// Whether their paths are taken off.
    let strips: Bool
    /// Whether clients without TLS are sent to HTTPS.
    let redirectsToHTTPS: Bool
    /// The revision since which an entry asks for it.
    let age: Int64
}

/// One route with what decides of it.
struct RouteClaim: Equatable, Sendable {
    /// Who asks.
    let id: RouteID
    /// What it says; that of an earlier state while it waits.
    let route: Route
    /// The revision at which it came to be.
    let age: Int64
    /// The keys of its places.
    let keys: [String]
    /// The services that it leads to, or will when it no longer waits: HAProxy has to have these before.
    let services: Set<ServiceName>

    fileprivate init(_ id: RouteID, _ route: Route, next: Route? = nil, age: Int64) {
        (self.id, self.route, self.age) = (id, route, age)
        services = route.services.union(next?.services ?? [])
        keys = route.places.map { RoutePlace.key($0.host, $0.path, $0.match) }
    }

    /// Operators come before labels, and the older one comes first.
    fileprivate static func isBefore(_ left: RouteClaim, _ right: RouteClaim) -> Bool {
        (left.rank, left.age, left.id) < (right.rank, right.age, right.id)
    }

    private var rank: Int { if case .named = id { 0 } else { 1 } }
}

/// Makes tables of routes, and remembers what did not change: a change of one route costs what that route is.
struct RouteTableBuilder: Sendable {
    /// What decides.
    struct Inputs: Equatable, Sendable {
        /// The routes of operators.
        var named = PartitionedTable<RegistryRecord>()
        /// Those that wait, with what they said before.
        var waiting: [RouteName: Route] = [:]
        /// Those of labels.
        var labels: [ServiceName: LabelRoutes] = [:]
        /// The services of which somebody says that their connections are no HTTP.
        var tcp: Set<ServiceName> = []
    }

    private var inputs = Inputs()
    private var table = RouteTable()
    private var claims: [RouteID: RouteClaim] = [:]
    /// Those of each key, the one that has it first.
    private var byKey: [String: [RouteClaim]] = [:]
    private var users: [ServiceName: Set<RouteID>] = [:]
    private var conditions: [RouteCondition: Set<RouteID>] = [:]
    private var shares: [String: (shares: RouteShares, users: Set<RouteID>)] = [:]
    private var problems: [RouteID: Set<Diagnostic>] = [:]

    /// Makes one that knows nothing.
    init() {}

    /// All routes that can be told apart, and the claims of each key.
    var all: [RouteClaim] { claims.values.sorted { $0.id < $1.id } }

    /// Who else asks for a key, the one that has it first.
    func claims(of key: String) -> [RouteClaim] { byKey[key] ?? [] }

    /// The table of what decides now.
    mutating func table(of next: Inputs) -> RouteTable {
        var touched: Set<RouteID> = []
        var keys: Set<String> = []
        for id in changes(to: next) {
            if let old = claims[id] { remove(old, &keys) }
            touched.insert(id)
            guard let claim = claim(id, next) else { continue }
            add(claim, &keys)
        }
        let tcp = next.tcp.symmetricDifference(inputs.tcp)
        for service in tcp { touched.formUnion(users[service] ?? []) }
        inputs = next
        if touched.isEmpty { return table }
        if conditions.count != table.conditions.count || !table.conditions.allSatisfy({ conditions[$0] != nil }) {
            let allowed = Array(conditions.keys.sorted().prefix(RouteProblem.mostConditions))
            for condition in Set(allowed).symmetricDifference(table.conditions) {
                touched.formUnion(conditions[condition] ?? [])
            }
            table.conditions = allowed
        }
        for id in touched { keys.formUnion(claims[id]?.keys ?? []) }
        table.records.apply(keys.map { ($0, record(of: $0)) })
        for key in keys { touched.formUnion(claims(of: key).map(\.id)) }
        judge(touched)
        return table
    }

    // MARK: Changes

    /// Who says something else than before, or is gone or new.
    private func changes(to next: Inputs) -> Set<RouteID> {
        var changed: Set<RouteID> = []
        for (name, _, _) in next.named.differences(from: inputs.named) {
            if let name = RouteName(name) { changed.insert(.named(name)) }
        }
        if next.waiting != inputs.waiting {
            for name in Set(next.waiting.keys).union(inputs.waiting.keys)
            where next.waiting[name] != inputs.waiting[name] { changed.insert(.named(name)) }
        }
        guard next.labels != inputs.labels else { return changed }
        for service in Set(next.labels.keys).union(inputs.labels.keys) {
            let (old, new) = (inputs.labels[service], next.labels[service])
            guard old != new else { continue }
            for place in (old?.places ?? []) + (new?.places ?? []) { changed.insert(.label(service, place)) }
        }
        return changed
    }

    private func claim(_ id: RouteID, _ next: Inputs) -> RouteClaim? {
        switch id {
        case .named(let name):
            guard let record = next.named[name.text], case .route(_, let route?) = record.content else { return nil }
            return RouteClaim(
                id, next.waiting[name] ?? route, next: route, age: record.keyValue.createRevision)
        case .label(let service, let place):
            guard let labels = next.labels[service], labels.places.contains(place) else { return nil }
            let route = Route(
                place, to: service, strips: labels.strips, redirectsToHTTPS: labels.redirectsToHTTPS)
            return RouteClaim(id, route, age: labels.age)
        }
    }

    private mutating func add(_ claim: RouteClaim, _ keys: inout Set<String>) {
        claims[claim.id] = claim
        for key in claim.keys {
            byKey[key, default: []].append(claim)
            byKey[key]?.sort(by: RouteClaim.isBefore)
        }
        keys.formUnion(claim.keys)
        guard !claim.route.isUnusable else { return }
        for service in claim.services {
            if users[service, default: []].isEmpty { table.services.insert(service) }
            users[service, default: []].insert(claim.id)
        }
        for when in claim.route.when { conditions[when.condition, default: []].insert(claim.id) }
        if let shares = claim.route.to.flatMap({ RouteShares($0, isSticky: claim.route.isSticky) }) {
            if self.shares[shares.id] == nil { table.shares[shares.id] = shares }
            self.shares[shares.id, default: (shares, [])].users.insert(claim.id)
        }
    }

    private mutating func remove(_ claim: RouteClaim, _ keys: inout Set<String>) {
        claims[claim.id] = nil
        for key in claim.keys {
            byKey[key]?.removeAll { $0.id == claim.id }
            if byKey[key]?.isEmpty == true { byKey[key] = nil }
        }
        keys.formUnion(claim.keys)
        for service in claim.services {
            users[service]?.remove(claim.id)
            if users[service]?.isEmpty == true { (users[service], _) = (nil, table.services.remove(service)) }
        }
        for when in claim.route.when {
            conditions[when.condition]?.remove(claim.id)
            if conditions[when.condition]?.isEmpty == true { conditions[when.condition] = nil }
        }
        if let id = claim.route.to.flatMap({ RouteShares($0, isSticky: claim.route.isSticky)?.id }) {
            shares[id]?.users.remove(claim.id)
            if shares[id]?.users.isEmpty == true { (shares[id], table.shares[id]) = (nil, nil) }
        }
    }

    // MARK: What it comes to

    private func record(of key: String) -> String? {
        guard let claim = byKey[key]?.first else { return nil }
        return RouteRecord(claim.route, named: claim.id.logName, isUsable: obstacle(to: claim) == nil).text
    }

    /// Why a route leads nowhere; nil where it does somewhere.
    private func obstacle(to claim: RouteClaim) -> RouteProblem? {
        if claim.route.isUnusable { return .unusable(claim.id) }
        if let service = claim.route.services.intersection(inputs.tcp).min() { return .targetIsTCP(claim.id, service) }
        let isKnown = claim.route.when.allSatisfy { table.conditions.contains($0.condition) }
        return isKnown ? nil : .tooManyConditions(claim.id)
    }

    /// Finds anew what is wrong with some routes.
    private mutating func judge(_ ids: Set<RouteID>) {
        for id in ids {
            var found: Set<Diagnostic> = []
            if case .named(let name) = id { found.formUnion(inputs.named[name.text]?.problems ?? []) }
            if let claim = claims[id] {
                if let obstacle = obstacle(to: claim) { found.insert(.route(obstacle)) }
                for (key, place) in zip(claim.keys, claim.route.places) {
                    guard let winner = byKey[key]?.first, winner.id != id else { continue }
                    let text = RoutePlace(host: place.host, path: place.path).description
                    found.insert(
                        .route(.claimed(id, place: place.match == .exact ? "\(text) (exact)" : text, by: winner.id)))
                }
            }
            let old = problems[id] ?? []
            guard found != old else { continue }
            table.problems.subtract(old)
            table.problems.formUnion(found)
            problems[id] = found.isEmpty ? nil : found
        }
    }
}
