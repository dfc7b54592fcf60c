import Shared

/// Something wrong that costs only itself: a key, a field, or one service's listener.
///
/// Equal facts are the same problem, so each is reported once however often the state is looked at.
enum Diagnostic: Hashable, Sendable {
    /// A key below the prefix that is not one of the registry contract's.
    case badKey(key: String, why: String)
    /// A value that is not what its key demands.
    case badValue(key: String, value: String, expected: String)
    /// A field of a JSON value that is wrong and counts as absent.
    case badField(key: String, field: String)
    /// One service's instances come from different image repositories.
    case repositoriesDiffer(ServiceName, repositories: [String])
    /// Several hosts register with one `HOST_IP`.
    case addressShared(IPAddress, hosts: [String])
    /// This host registers with a `HOST_IP` that none of its interfaces has.
    case addressElsewhere(IPAddress, host: String)
    /// The instances of a service say different things of the whole service; the newest deployment decides.
    case valuesDiffer(ServiceName, field: String, values: [String], chosen: String)
    /// An option that does not go with the others and counts as not said.
    case optionMisfits(ServiceName, field: String, why: String)
    /// Another service claimed the listener port first; nil for `by` where that one has no endpoint any more, and for
    /// `instead` where the range has no port left.
    case portClaimed(ServiceName, Port, by: ServiceName?, instead: Port?, in: Keyspace)
    /// A service listens on its other port only.
    case portMissed(ServiceName, Port, why: String, instead: Port)
    /// An endpoint on this host has the port, or had it a short while ago, so that its container needs it again.
    case portPublished(ServiceName, Port, by: EntryID, at: Endpoint, isRegistered: Bool)
    /// The port is none that labels may ask for on this host.
    case portNotAllowed(ServiceName, Port, allowed: String, in: Keyspace)
    /// A service listens on the port over IPv4, and not on the loopback address of IPv6.
    case loopback6Unavailable(ServiceName, Port, obstacle: String)
    /// The listener port is the stats page's.
    case portOfStats(ServiceName, Port)
    /// What this host's operator adds to haproxy.cfg listens on the port.
    case portOfAddition(ServiceName, Port)
    /// What this host's operator adds to haproxy.cfg has a section of the service's name.
    case nameOfAddition(ServiceName)
    /// HAProxy may not have files open enough to listen for the service, which came later than the others.
    case beyondOpenFiles(ServiceName, limit: Int, needed: Int)
    /// Something else in haproxy.cfg leads to the service, which has no endpoint.
    case namedWithoutEndpoint(ServiceName)
    /// An endpoint is a listener of this HAProxy, from which its connections would come back, again and again.
    case loop(ServiceName, InstanceID, Endpoint)
    /// HAProxy could not listen on the port, mostly because another process on this host does.
    case portUnavailable(ServiceName, Port, obstacle: String)
    /// HAProxy refuses the file for the sake of the service, of which it may still serve an earlier form.
    case refusedByHAProxy(ServiceName, words: String, isServed: Bool)
    /// Something is wrong with a route.
    case route(RouteProblem)
}

extension Diagnostic {
    /// What it comes to, as the log's message.
    var message: StaticString {
        switch self {
        case .portClaimed(_, _, _, .some, _), .portMissed: "port conflict: service listens on another port"
        case .loopback6Unavailable: "service listens on IPv4 only"
        case .loop: "endpoint not served"
        case .refusedByHAProxy(_, _, true): "HAProxy rejected a service; serving its last accepted form"
        case .portClaimed, .portPublished, .portNotAllowed, .portOfStats, .portOfAddition, .nameOfAddition,
            .portUnavailable, .refusedByHAProxy, .beyondOpenFiles:
            "service not served"
        case .addressShared: "several hosts register with the same HOST_IP"
        case .addressElsewhere: "HOST_IP is on no interface of this host"
        case .route(let problem): problem.message
        case .namedWithoutEndpoint: "service has no endpoint"
        default: "invalid registry entry ignored"
        }
    }

    /// Whether a person must act before the service is reachable again.
    var isSevere: Bool {
        switch self {
        case .addressShared, .addressElsewhere, .badKey, .badValue, .badField, .repositoriesDiffer, .valuesDiffer,
            .optionMisfits, .loopback6Unavailable, .namedWithoutEndpoint:
            false
        case .portClaimed, .portMissed, .portPublished, .portNotAllowed, .portOfStats, .portOfAddition,
            .nameOfAddition, .loop, .portUnavailable, .refusedByHAProxy, .beyondOpenFiles:
            true
        case .route(let problem): problem.isSevere
        }
    }

    /// What it concerns: a key or a service.
    var subject: String {
        switch self {
        case .badKey(let key, _), .badValue(let key, _, _), .badField(let key, _): key
        case .addressShared(let address, _), .addressElsewhere(let address, _): address.text
        case .repositoriesDiffer(let service, _), .valuesDiffer(let service, _, _, _),
            .optionMisfits(let service, _, _),
            .portClaimed(let service, _, _, _, _), .portMissed(let service, _, _, _),
            .portPublished(let service, _, _, _, _), .portNotAllowed(let service, _, _, _),
            .loopback6Unavailable(let service, _, _), .portOfStats(let service, _), .portOfAddition(let service, _),
            .nameOfAddition(let service), .namedWithoutEndpoint(let service), .loop(let service, _, _),
            .portUnavailable(let service, _, _), .refusedByHAProxy(let service, _, _),
            .beyondOpenFiles(let service, _, _):
            service.text
        case .route(let problem): problem.subject
        }
    }

    /// What is wrong, and what would be right.
    var explanation: String {
        switch self {
        case .badKey(_, let why): why
        case .badValue(_, let value, let expected): "the value '\(value)' is not \(expected)"
        case .badField(_, let field): field
        case .repositoriesDiffer(_, let repositories):
            "one service is fed by several repositories: \(Self.list(repositories))"
        case .valuesDiffer(_, let field, let values, let chosen):
            "instances differ in \(field): \(Self.list(values)); \(chosen) is used"
        case .addressShared(_, let hosts):
            "HOST_IP of \(hosts.prefix(10).map(\.shortened).joined(separator: ", ")): each host needs its own, "
                + "or connections reach the wrong one"
        case .addressElsewhere(_, let host):
            "HOST_IP of \(host.shortened), which is this host, and no interface of it has this address; "
                + "that is right behind NAT alone"
        case .optionMisfits(_, let field, let why): "\(field): \(why); it counts as not said"
        case .portClaimed(let service, let port, let winner, let other, let keyspace):
            Self.claimed(port, by: winner) + (other.map { "; \($0) is used" } ?? ", and PORT_RANGE has none left")
                + "; to give it to this service: etcdctl put \(keyspace.text(of: .port(service))) \(port)"
        case .portMissed(_, let port, let why, let other): "\(why); \(other) is used instead of \(port)"
        case .portPublished(let service, let port, let holder, let endpoint, let isRegistered):
            Self.published(port, by: holder, at: endpoint, isRegistered, isOwn: holder.service == service)
        case .portNotAllowed(let service, let port, let allowed, let keyspace):
            "port \(port) is not in ALLOWED_PORTS (\(allowed)) of this host; to allow it for this service: "
                + "etcdctl put \(keyspace.text(of: .port(service))) \(port)"
        case .loopback6Unavailable(_, let port, let obstacle): "port \(port) of ::1 is \(obstacle)"
        case .portOfStats(_, let port): "port \(port) is the stats page's"
        case .portOfAddition(_, let port): "EXTRA_FILE listens on port \(port)"
        case .nameOfAddition: "EXTRA_FILE has a section of the same name"
        case .namedWithoutEndpoint:
            "EXTRA_FILE leads to it; until it has one, requests are answered 503, and connections in mode tcp are closed"
        case .loop(_, let id, let endpoint):
            "its endpoint \(id) at \(endpoint) would loop back to this HAProxy's own listener"
        case .portUnavailable(_, let port, let obstacle): "port \(port) is \(obstacle)"
        case .beyondOpenFiles(_, let limit, let needed): Self.limit(limit, needed: needed)
        case .refusedByHAProxy(_, let words, _): "HAProxy says: \(words)"
        case .route(let problem): problem.explanation
        }
    }
}

extension Diagnostic {
    /// The problem without what may change while it stays the same one.
    var identity: Diagnostic {
        switch self {
        case .portUnavailable(let service, let port, _): .portUnavailable(service, port, obstacle: "")
        case .route(.notListening(let setting, let bind, _)):
            .route(.notListening(setting: setting, bind, obstacle: ""))
        case .beyondOpenFiles(let service, let limit, _): .beyondOpenFiles(service, limit: limit, needed: 0)
        case .portMissed(let service, let port, _, let other): .portMissed(service, port, why: "", instead: other)
        case .portPublished(let service, let port, let holder, let endpoint, _):
            .portPublished(service, port, by: holder, at: endpoint, isRegistered: true)
        case .loopback6Unavailable(let service, let port, _): .loopback6Unavailable(service, port, obstacle: "")
        case .portClaimed(let service, let port, let winner, .some, let keyspace):
            .portClaimed(service, port, by: winner, instead: port, in: keyspace)
        default: self
        }
    }

    /// What is said of the limit of open files.
    static func limit(_ limit: Int, needed: Int) -> String {
        "HAProxy may have \(limit) files open, and all services need a limit of \(needed); raise LimitNOFILE of the systemd "
            + "unit, --ulimit nofile of the container, or ulimit -n, and restart docker-discover"
    }

    private static func claimed(_ port: Port, by winner: ServiceName?) -> String {
        winner.map { "port \(port) belongs to service \($0), which claimed it first" }
            ?? "port \(port) was another service's when this one first asked for it"
    }

    private static func published(
        _ port: Port, by holder: EntryID, at endpoint: Endpoint, _ isRegistered: Bool, isOwn: Bool
    ) -> String {
        let owner = isOwn ? "its own container" : "the container"
        let state =
            isRegistered
            ? "is published on this host by \(owner) \(holder)"
            : "was published on this host by \(owner) \(holder) until a short while ago"
        return "port \(port) \(state), so HAProxy leaves it to that one; publish it with -P, or with "
            + "-p \(endpoint):\(port) and LISTEN_ADDRESS=127.0.0.1, or give the service another port by SERVICE_PORT"
    }

    /// The first of many values, and how many more there are.
    private static func list(_ values: [String]) -> String {
        let more = values.count > mostShown ? " and \(values.count - mostShown) more" : ""
        return values.prefix(mostShown).map(\.shortened).joined(separator: ", ") + more
    }

    private static let mostShown = 10
}

extension Diagnostic: Comparable {
    /// Orders problems for the log by what they concern.
    static func < (left: Diagnostic, right: Diagnostic) -> Bool {
        let (one, other) = (left.subject, right.subject)
        // Texts are long to make, and there may be thousands of problems.
        return one == other ? left.explanation < right.explanation : one < other
    }
}

extension String {
    fileprivate var shortened: String { Diagnostic.excerpt(utf8) }
}

extension Diagnostic {
    /// Bytes of unknown origin as one short line of text.
    static func excerpt(_ bytes: some Collection<UInt8>, longest: Int = 64) -> String {
        let shown = String(decoding: bytes.prefix(longest), as: UTF8.self)
        let printable = String(shown.map { $0.isNewline || $0 == "\0" ? " " : $0 })
        return bytes.count > longest ? "\(printable)... (\(bytes.count) bytes)" : printable
    }
}

/// Which problems are known, so that each is reported when it appears and when it is gone, and never in between.
struct DiagnosticTracker {
    /// What changed since the last look.
    struct Changes: Equatable {
        /// The problems that are new, in order.
        var appeared: [Diagnostic]
        /// The problems that are no more, in order.
        var gone: [Diagnostic]
    }

    private var known: [Diagnostic: Diagnostic] = [:]

    /// Takes the problems of now and returns how they differ from those of the last time.
    mutating func update(to problems: Set<Diagnostic>) -> Changes {
        let current = Dictionary(problems.map { ($0.identity, $0) }) { first, _ in first }
        defer { known = current }
        return Changes(
            appeared: current.filter { known[$0.key] == nil }.values.sorted(),
            gone: known.filter { current[$0.key] == nil }.values.sorted()
        )
    }
}
