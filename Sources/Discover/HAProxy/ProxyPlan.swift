import Shared

/// What HAProxy should do: a listener for each service that can have one, in the order of their names.
struct ProxyPlan: Equatable, Sendable {
    /// One service's listener.
    struct Listener: Equatable, Sendable {
        /// The service, which gives the section its name.
        let service: ServiceName
        /// Where consumers connect.
        let port: Port
        /// Where their connections go, by name.
        let servers: [Server]

        /// The port on all addresses.
        var bind: BindAddress { BindAddress(port: port) }
    }

    /// One instance behind a listener.
    struct Server: Equatable, Sendable {
        /// The instance, which gives the server its name.
        let id: InstanceID
        /// Its address.
        let endpoint: Endpoint
        /// What else HAProxy is told of it.
        var keywords = ServerKeywords()
    }

    /// The listeners by name; no two share a port.
    private(set) var listeners: [Listener]

    /// What was left out, and why.
    private(set) var problems: Set<Problem>

    /// Where it listens.
    var binds: Set<BindAddress> { Set(listeners.map(\.bind)) }

    /// How many servers there are.
    var serverCount: Int { listeners.reduce(0) { $0 + $1.servers.count } }

    /// Decides which service listens where; `statsPort` is taken.
    init(_ catalog: Catalog, statsPort: Port) {
        var winners: [Port: Claim] = [:]
        var problems: Set<Problem> = []
        for claim in catalog.services.compactMap(Claim.init).sorted() {
            problems.formUnion(claim.problems)
            if claim.port == statsPort {
                problems.insert(.portOfStats(claim.service.name, claim.port))
            } else if let winner = winners[claim.port] {
                problems.insert(.portClaimed(claim.service.name, claim.port, by: winner.service.name))
            } else {
                winners[claim.port] = claim
            }
        }
        listeners = winners.values.map(\.listener).sorted { $0.service < $1.service }
        self.problems = problems
    }

    /// The plan of no service at all.
    static let empty = ProxyPlan(listeners: [])

    /// The plan of these listeners, which share no port, in the order of their names.
    init(listeners: [Listener]) {
        self.listeners = listeners
        problems = []
    }

    /// The plan without the listeners that something is in the way of.
    func without(_ obstacles: [BindAddress: String]) -> ProxyPlan {
        var plan = self
        plan.listeners.removeAll { obstacles[$0.bind] != nil }
        for listener in listeners {
            guard let obstacle = obstacles[listener.bind] else { continue }
            plan.problems.insert(.portUnavailable(listener.service, listener.port, obstacle: obstacle))
        }
        return plan
    }
}

/// A service that asks for a port.
///
/// The order of claims is that of the services' oldest entries.
private struct Claim: Comparable {
    let service: Catalog.Service
    let port: Port
    let problems: Set<Problem>
    private let age: Int64

    init?(_ service: Catalog.Service) {
        guard let age = service.instances.map(\.createRevision).min(), let wish = ListenerPort(service)
        else { return nil }
        self.service = service
        self.age = age
        port = wish.port
        problems = wish.problems
    }

    var listener: ProxyPlan.Listener {
        let servers = service.instances.map { ProxyPlan.Server(id: $0.id, endpoint: $0.endpoint) }
        return ProxyPlan.Listener(service: service.name, port: port, servers: servers)
    }

    static func < (left: Claim, right: Claim) -> Bool {
        (left.age, left.service.name) < (right.age, right.service.name)
    }

    static func == (left: Claim, right: Claim) -> Bool {
        left.service == right.service
    }
}
