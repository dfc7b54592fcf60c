import Shared

/// What HAProxy should do: a listener for each service that can have one, in the order of their names.
struct ProxyPlan: Equatable, Sendable {
    /// One service's listener.
    struct Listener: Equatable, Sendable {
        /// The service, which gives the section its name.
        let service: ServiceName
        /// Where consumers connect.
        let port: Port
        /// On which address; nil for all IPv4 addresses.
        var address: IPAddress?
        /// How connections are treated.
        var options = ListenerOptions()
        /// Where they go, by name.
        let servers: [Server]

        /// Address and port.
        var bind: BindAddress { BindAddress(address: address, port: port) }
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

    /// Decides which service listens where, and how.
    init(_ catalog: Catalog, on host: ConsumerHost) {
        var winners: [Claim] = []
        var problems: Set<Problem> = []
        let claims = catalog.services.compactMap { ServiceResolution($0, zone: host.zone) }.map { Claim($0, on: host) }
        for claim in claims.sorted() {
            problems.formUnion(claim.resolution.problems)
            let (service, port) = (claim.resolution.service, claim.bind.port)
            if claim.bind.overlaps(host.statsBind) {
                problems.insert(.portOfStats(service, port))
            } else if let winner = winners.first(where: { $0.bind.overlaps(claim.bind) }) {
                problems.insert(.portClaimed(service, port, by: winner.resolution.service))
            } else {
                winners.append(claim)
            }
        }
        listeners = winners.map(\.listener).sorted { $0.service < $1.service }
        self.problems = problems
    }

    /// The plan of no service at all.
    static let empty = ProxyPlan()

    private init() {
        listeners = []
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
    let resolution: ServiceResolution
    let bind: BindAddress

    init(_ resolution: ServiceResolution, on host: ConsumerHost) {
        self.resolution = resolution
        bind = BindAddress(address: resolution.address ?? host.listenAddress, port: resolution.port.port)
    }

    var listener: ProxyPlan.Listener {
        ProxyPlan.Listener(
            service: resolution.service, port: bind.port, address: bind.address, options: resolution.options,
            servers: resolution.servers)
    }

    static func < (left: Claim, right: Claim) -> Bool {
        (left.resolution.port.age, left.resolution.service) < (right.resolution.port.age, right.resolution.service)
    }
}
