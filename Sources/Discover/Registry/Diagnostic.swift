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
    case portClaimed(ServiceName, Port, by: ServiceName?, instead: Port?)
    /// The listener port is the stats page's.
    case portOfStats(ServiceName, Port)
    /// What this host's operator adds to haproxy.cfg listens on the port.
    case portOfAddition(ServiceName, Port)
    /// What this host's operator adds to haproxy.cfg has a section of the service's name.
    case nameOfAddition(ServiceName)
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
        case .portClaimed(_, _, _, .some): "port conflict: service listens on another port"
        case .loop: "endpoint not served"
        case .refusedByHAProxy(_, _, true): "HAProxy rejected a service; serving its last accepted form"
        case .portClaimed, .portOfStats, .portOfAddition, .nameOfAddition, .portUnavailable, .refusedByHAProxy:
            "service not served"
        case .addressShared: "several hosts register with the same HOST_IP"
        case .addressElsewhere: "HOST_IP is on no interface of this host"
        case .route(let problem): problem.message
        default: "invalid registry entry ignored"
        }
    }

    /// Whether a person must act before the service is reachable again.
    var isSevere: Bool {
        switch self {
        case .addressShared, .addressElsewhere, .badKey, .badValue, .badField, .repositoriesDiffer, .valuesDiffer,
            .optionMisfits:
            false
        case .portClaimed, .portOfStats, .portOfAddition, .nameOfAddition, .loop, .portUnavailable,
            .refusedByHAProxy:
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
            .portClaimed(let service, _, _, _), .portOfStats(let service, _), .portOfAddition(let service, _),
            .nameOfAddition(let service), .loop(let service, _, _),
            .portUnavailable(let service, _, _), .refusedByHAProxy(let service, _, _):
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
            "one service is fed by several repositories: \(repositories.map(\.shortened).joined(separator: ", "))"
        case .valuesDiffer(_, let field, let values, let chosen):
            "instances differ in \(field): \(values.map(\.shortened).joined(separator: ", ")); \(chosen) is used"
        case .addressShared(_, let hosts):
            "HOST_IP of \(hosts.prefix(10).map(\.shortened).joined(separator: ", ")): each host needs its own, "
                + "or connections reach the wrong one"
        case .addressElsewhere(_, let host):
            "HOST_IP of \(host.shortened), which is this host, and no interface of it has this address; "
                + "that is right behind NAT alone"
        case .optionMisfits(_, let field, let why): "\(field): \(why); it counts as not said"
        case .portClaimed(_, let port, let winner, let other):
            Self.claimed(port, by: winner) + (other.map { "; \($0) is used" } ?? ", and PORT_RANGE has none left")
        case .portOfStats(_, let port): "port \(port) is the stats page's"
        case .portOfAddition(_, let port): "EXTRA_FILE listens on port \(port)"
        case .nameOfAddition: "EXTRA_FILE has a section of the same name"
        case .loop(_, let id, let endpoint):
            "its endpoint \(id) at \(endpoint) would loop back to this HAProxy's own listener"
        case .portUnavailable(_, let port, let obstacle): "port \(port) is \(obstacle)"
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
        case .portClaimed(let service, let port, let winner, .some):
            .portClaimed(service, port, by: winner, instead: port)
        case .route(.notListening(let setting, let bind, _)):
            .route(.notListening(setting: setting, bind, obstacle: ""))
        default: self
        }
    }

    private static func claimed(_ port: Port, by winner: ServiceName?) -> String {
        winner.map { "port \(port) belongs to service \($0), which claimed it first" }
            ?? "port \(port) was another service's when this one first asked for it"
    }
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
