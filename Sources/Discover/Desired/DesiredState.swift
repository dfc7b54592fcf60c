import Shared

/// What HAProxy should run: a listener for each service that can have one, in the order of their names.
struct DesiredState: Equatable, Sendable {
    /// One service's listener.
    struct Listener: Equatable, Sendable {
        /// The service, which gives the section its name.
        let service: ServiceName
        /// Where consumers connect.
        private(set) var port: Port
        /// On which address; nil for all IPv4 addresses.
        var address: IPAddress?
        /// Another port where they may connect too.
        var otherPort: Port?
        /// Those of its ports that it has at the loopback address of IPv6 too, which is `localhost` as well.
        var loopback6: [Port] = []
        /// How connections are treated; states share it.
        private(set) var sharedOptions: Interned<ListenerOptions>
        /// Where they go, by name.
        var servers: [Server]
        /// The shortest interval between two checks for which the servers are made.
        var minCheckInterval = Duration.zero
        /// What its section says instead, where HAProxy rejects what it would say.
        var written: Written?

        /// How connections are treated.
        var options: ListenerOptions {
            get { sharedOptions.value }
            set { sharedOptions = Interned(newValue) }
        }

        /// Makes one.
        init(
            service: ServiceName, port: Port, address: IPAddress? = nil, otherPort: Port? = nil, loopback6: [Port] = [],
            options: Interned<ListenerOptions> = Interned(ListenerOptions()), servers: [Server],
            minCheckInterval: Duration = .zero, written: Written? = nil
        ) {
            (self.service, self.port, self.address, sharedOptions) = (service, port, address, options)
            (self.otherPort, self.loopback6) = (otherPort, loopback6)
            (self.servers, self.minCheckInterval, self.written) = (servers, minCheckInterval, written)
        }

        /// Text that HAProxy has accepted once.
        struct Written: Equatable, Sendable {
            /// The section without its servers.
            let head: String
            /// The lines of those servers that are as they were accepted, too.
            let servers: [InstanceID: ServerLine]
        }

        /// Address and port.
        var bind: BindAddress { BindAddress(address: address, port: port) }

        /// All its addresses with their ports, ``bind`` first.
        var binds: [BindAddress] {
            let others = otherPort.map { [BindAddress(address: address, port: $0)] } ?? []
            return [bind] + others + loopback6.map { BindAddress(address: .loopback6, port: $0) }
        }

        /// Gives up one of its two ports.
        mutating func leave(_ lost: Port) {
            if lost == port, let otherPort { port = otherPort }
            otherPort = nil
            loopback6.removeAll { $0 == lost }
        }
    }

    /// One instance behind a listener.
    struct Server: Equatable, Sendable {
        /// The instance, which gives the server its name.
        let id: InstanceID
        /// Its address.
        let endpoint: Endpoint
        private var shared: Interned<ServerOptions>

        /// What else HAProxy is told of it.
        var keywords: ServerOptions {
            get { shared.value }
            set { shared = Interned(newValue) }
        }

        /// Makes one.
        init(id: InstanceID, endpoint: Endpoint, keywords: ServerOptions = ServerOptions()) {
            (self.id, self.endpoint, shared) = (id, endpoint, Interned(keywords))
        }

        /// Makes one whose keywords many have.
        init(id: InstanceID, endpoint: Endpoint, shared: Interned<ServerOptions>) {
            (self.id, self.endpoint, self.shared) = (id, endpoint, shared)
        }
    }

    /// The listeners by name; no two share a port.
    private(set) var listeners: [Listener]

    /// What is wrong in the registry, and what was left out, and why.
    private(set) var diagnostics: Set<Diagnostic> = []

    /// What has to be written into the registry so that all services keep their ports.
    private(set) var claims: [PortClaimUpdate] = []

    /// The services of which the registry knows an instance.
    private(set) var services: [Catalog.Service] = []

    /// The claims of ports, also those of services without an instance.
    private(set) var portClaims: [ServiceName: Catalog.Claim] = [:]

    /// Where services should listen, whether they can or not.
    private(set) var wantedBinds: Set<BindAddress> = []

    /// The addresses among those that nobody has tried yet: they count as free.
    private(set) var untestedBinds: Set<BindAddress> = []

    /// Where the stats page is besides: at the loopback address of IPv6.
    private(set) var statsLoopback6: BindAddress?

    /// The endpoints of agents that are on this host.
    private(set) var publishedHere: [Endpoint: EntryID] = [:]

    /// Where it listens.
    var binds: Set<BindAddress> { Set(listeners.flatMap(\.binds)).union([statsLoopback6].compactMap(\.self)) }

    /// How many servers there are.
    var serverCount: Int { listeners.reduce(0) { $0 + $1.servers.count } }

    /// Decides.
    init(_ inputs: DesiredInputs) {
        var cache = DesiredStateCache()
        self.init(inputs, &cache)
    }

    /// Decides which service listens where, and how, and remembers what did not change for the next time.
    init(_ inputs: DesiredInputs, _ cache: inout DesiredStateCache) {
        let host = inputs.host
        let catalog = Catalog(inputs.registry.holding(inputs.held))
        (services, portClaims, diagnostics) = (catalog.services, catalog.claims, catalog.problems)
        diagnostics.formUnion(inputs.ports.problems(of: catalog.hosts, on: host))
        let resolved = cache.resolved(services, zone: host.zone)
        let assignment = PortAssignment(
            resolved, claims: portClaims, range: host.portRange, leaving: catalog.leaving, in: inputs.registry.keyspace)
        publishedHere = Self.published(by: services, on: inputs.ports.ownAddresses)
        let obstacles = HostObstacles(
            host, inputs.published, registered: publishedHere, keyspace: inputs.registry.keyspace)
        claims = assignment.changes + inputs.expiredClaims(of: catalog) + inputs.lostClaims
        diagnostics.formUnion(assignment.problems)
        listeners = []
        for service in resolved {
            diagnostics.formUnion(service.problems)
            guard let port = assignment.ports[service.service] else { continue }
            diagnostics.formUnion(service.problems(on: host))
            var listener = cache.listener(of: service, at: port, on: host)
            listener.otherPort = assignment.lent[service.service]
            if let served = obstacles.remaining(of: listener, service, &diagnostics) { listeners.append(served) }
        }
        removeOverlaps(of: Set(resolved.filter { $0.isNarrowed(on: host) }.map(\.service)))
        if inputs.ports.ownAddresses.contains(.loopback6) { addLoopback6(on: host) }
        cache.evict(except: resolved)
        listeners = inputs.rejected.applied(to: listeners, &diagnostics)
        wantedBinds = binds
        untestedBinds = wantedBinds.subtracting(inputs.ports.tried)
        remove(inputs.ports.obstacles)
        removeLoops(of: inputs.ports.ownAddresses)
    }

    /// No service at all.
    static let empty = DesiredState(listeners: [])

    /// The state with these listeners, which share no port, in the order of their names.
    init(listeners: [Listener]) {
        self.listeners = listeners
    }

    /// The state with other listeners.
    func with(_ listeners: [Listener]) -> DesiredState {
        var next = self
        next.listeners = listeners
        return next
    }

    /// The services whose claims of ports are of no use now.
    var idleClaims: Set<ServiceName> { Set(portClaims.keys).subtracting(services.map(\.name)) }

    /// Removes the listeners that something is in the way of, or the ports of them.
    private mutating func remove(_ obstacles: [BindAddress: String]) {
        guard !obstacles.isEmpty else { return }
        if let bind = statsLoopback6, obstacles[bind] != nil { statsLoopback6 = nil }
        listeners = listeners.compactMap { listener in
            guard listener.binds.contains(where: { obstacles[$0] != nil }) else { return listener }
            return listener.remaining(after: obstacles, &diagnostics)
        }
    }

    /// Has listeners that a program reaches at 127.0.0.1 listen on ::1 too, as programs may take either for `localhost`;
    /// not on all IPv6 addresses, which may be reachable from where IPv4 is not.
    ///
    /// What others ask for explicitly is theirs.
    private mutating func addLoopback6(on host: HostSettings) {
        let explicit = Set(listeners.filter { $0.address == .loopback6 }.map(\.port))
        let reserved = Set(host.reserved.binds.filter { $0.address?.family == .v6 }.map(\.port))
        let stats = host.statsLoopback6.flatMap { reserved.contains($0.port) ? nil : $0 }
        let isTaken = { (port: Port) in explicit.contains(port) || reserved.contains(port) || port == stats?.port }
        statsLoopback6 = stats
        for index in listeners.indices where listeners[index].bind.isLocalIPv4 {
            let ports = [listeners[index].port, listeners[index].otherPort].compactMap(\.self)
            listeners[index].loopback6 = ports.filter { !isTaken($0) }
        }
    }

    /// Removes services that would listen where another one does, as they may not where their labels say.
    private mutating func removeOverlaps(of narrowed: Set<ServiceName>) {
        guard !narrowed.isEmpty else { return }
        let byPort = Dictionary(
            grouping: listeners.filter { !narrowed.contains($0.service) }.flatMap(\.binds), by: \.port)
        var kept: Set<BindAddress> = []
        listeners.removeAll { listener in
            guard narrowed.contains(listener.service) else { return false }
            let isTaken = listener.binds.contains { bind in
                kept.contains(bind) || byPort[bind.port]?.contains(where: bind.overlaps) == true
            }
            if isTaken {
                diagnostics.insert(
                    .portUnavailable(
                        listener.service, listener.port, obstacle: "another service's at LISTEN_ADDRESS of this host"))
            } else {
                kept.formUnion(listener.binds)
            }
            return isTaken
        }
    }

    /// The endpoints that agents have put and that have one of these addresses.
    private static func published(
        by services: [Catalog.Service], on ownAddresses: Set<IPAddress>
    ) -> [Endpoint: EntryID] {
        guard !ownAddresses.isEmpty else { return [:] }
        var published: [Endpoint: EntryID] = [:]
        for service in services {
            for instance in service.instances
            where ownAddresses.contains(instance.endpoint.address) && instance.isOfAgent {
                // The first service of several with one endpoint.
                let name = EntryID(service: service.name, id: instance.id)
                published[instance.endpoint] = published[instance.endpoint] ?? name
            }
        }
        return published
    }

    /// Removes the endpoints from which connections would come back to this HAProxy, again and again.
    private mutating func removeLoops(of ownAddresses: Set<IPAddress>) {
        let loops = LoopDetector(listeners, ownAddresses: ownAddresses).servers
        guard !loops.isEmpty else { return }
        for index in listeners.indices {
            guard let looping = loops[listeners[index].service] else { continue }
            let ids = Set(looping.map(\.id))
            listeners[index].servers.removeAll { ids.contains($0.id) }
            for server in looping {
                diagnostics.insert(.loop(listeners[index].service, server.id, server.endpoint))
            }
        }
    }
}

/// Everything that decides what HAProxy should run.
///
/// The loop, the review of snippets, `status`, `plan` and `render` decide from one such value each, so they cannot come to
/// different results.
struct DesiredInputs: Sendable {
    /// What the registry says.
    var registry: RegistryState
    /// The records of lost endpoints that stay in service.
    var held: [RegistryRecord] = []
    /// The services that HAProxy rejected, and what stands in for them.
    var rejected = RejectedServices()
    /// The services whose claims of ports have been of no use for too long.
    var expiredClaims: Set<ServiceName> = []
    /// What was seen of this host's ports and addresses.
    var ports = PortObservation()
    /// What endpoints on this host have published.
    var published = PublishedPorts()
    /// What this host contributes.
    var host: HostSettings

    /// The claims that nobody needs any more are given up.
    fileprivate func expiredClaims(of catalog: Catalog) -> [PortClaimUpdate] {
        guard !expiredClaims.isEmpty else { return [] }
        let unused = expiredClaims.subtracting(catalog.services.map(\.name))
        return unused.sorted().compactMap { service in
            catalog.claims[service].map { .delete(service, revision: $0.revision) }
        }
    }

    /// The claims that went with what is held are made again.
    fileprivate var lostClaims: [PortClaimUpdate] {
        let claims = held.reduce(into: [ServiceName: PortClaim]()) { claims, record in
            guard case .claim(let service, let claim) = record.content, registry[.claim(service)] == nil else { return }
            claims[service] = claim
        }
        return claims.sorted { $0.key < $1.key }.map { .put($0.key, $0.value, replacing: nil) }
    }
}

/// What was seen of this host's ports and addresses.
struct PortObservation: Equatable, Sendable {
    /// The addresses that were tried, or at which HAProxy listens already.
    private(set) var tried: Set<BindAddress> = []
    /// What is in the way of some of them, such as `in use by process 7 (nginx)`.
    private(set) var obstacles: [BindAddress: String] = [:]
    /// This host's own addresses.
    var ownAddresses: Set<IPAddress> = []

    /// Adds addresses that were tried, and what is in the way of some of them.
    mutating func add(_ binds: Set<BindAddress>, obstacles found: [BindAddress: String]) {
        tried.formUnion(binds)
        obstacles.merge(found) { $1 }
    }
}

extension PortObservation {
    /// The problem of a docker-register on this host whose `HOST_IP` is not this host's.
    fileprivate func problems(of hosts: Set<RegisteringHost>, on host: HostSettings) -> [Diagnostic] {
        guard !ownAddresses.isEmpty, host.name != HostSettings.anyName else { return [] }
        return hosts.filter { $0.name == host.name && !ownAddresses.contains($0.address) }.map {
            .addressElsewhere($0.address, host: $0.name)
        }
    }
}

extension DesiredState.Listener {
    /// A service's listener on a host.
    init(_ service: ResolvedService, _ port: Port, on host: HostSettings) {
        let minInterval = host.minCheckInterval
        var pool = InternPool<ServerOptions>()
        self.init(
            service: service.service, port: port, address: service.address(on: host),
            options: service.sharedOptions,
            servers: minInterval > .zero
                ? service.servers.map { $0.checked(notBelow: minInterval, &pool) } : service.servers,
            minCheckInterval: minInterval)
    }
}

extension DesiredState.Server {
    fileprivate func checked(notBelow minInterval: Duration, _ pool: inout InternPool<ServerOptions>)
        -> DesiredState.Server
    {
        guard let check = keywords.check else { return self }
        var stretched = keywords
        stretched.check = check.stretched(to: minInterval)
        return DesiredState.Server(id: id, endpoint: endpoint, shared: pool.interned(stretched))
    }
}

/// What earlier decisions came to, so that a service which did not change is not decided again.
struct DesiredStateCache {
    private var resolved: [ServiceName: (of: Catalog.Service, zone: Zone?, resolution: ResolvedService)] = [:]
    private var listeners: [ServiceName: (of: ResolvedService, listener: DesiredState.Listener)] = [:]

    /// Makes an empty one.
    init() {}

    /// What is said of services; those without instances are left out.
    mutating func resolved(_ services: [Catalog.Service], zone: Zone?) -> [ResolvedService] {
        let known = resolved
        resolved = [:]
        return services.compactMap { service in
            if let known = known[service.name], known.of === service, known.zone == zone {
                resolved[service.name] = known
                return known.resolution
            }
            guard let resolution = ResolvedService(service, zone: zone) else { return nil }
            resolved[service.name] = (service, zone, resolution)
            return resolution
        }
    }

    /// A service's listener on this host.
    mutating func listener(of service: ResolvedService, at port: Port, on host: HostSettings) -> DesiredState.Listener {
        if let known = listeners[service.service], known.of === service, known.listener.port == port,
            known.listener.address == service.address(on: host),
            known.listener.minCheckInterval == host.minCheckInterval
        {
            return known.listener
        }
        let listener = DesiredState.Listener(service, port, on: host)
        listeners[service.service] = (service, listener)
        return listener
    }

    /// Evicts the listeners of all services but these.
    mutating func evict(except present: [ResolvedService]) {
        guard listeners.count > present.count else { return }
        let names = Set(present.map(\.service))
        listeners = listeners.filter { names.contains($0.key) }
    }
}

/// What the host on which docker-discover runs contributes.
struct HostSettings: Equatable, Sendable {
    /// Where the stats page is: no service can listen there.
    var statsBind: BindAddress

    /// Where the stats page is besides, on a host that has this address; nil for nowhere.
    var statsLoopback6: BindAddress? {
        statsBind.isLocalIPv4 ? BindAddress(address: .loopback6, port: statsBind.port) : nil
    }

    /// What the stats page calls the host: letters, digits, dots, dashes.
    var name = anyName

    /// What a host is called of which no name is known.
    static let anyName = "localhost"

    /// Where services listen that do not say so themselves; nil for all IPv4 addresses.
    var listenAddress: IPAddress?

    /// Where the host is: endpoints of the same zone come first.
    var zone: Zone?

    /// Ports for services that do not get the one that they ask for.
    var portRange = PortRange.standard

    /// The ports that labels may ask for.
    var allowedPorts = AllowedPorts.all

    /// The shortest interval between two checks of an endpoint, which depends on how many client hosts there are.
    var minCheckInterval = Duration.zero

    /// The names and addresses of what its operator adds to haproxy.cfg: no service can have them.
    var reserved = Reserved()

    /// Names of sections, and where they listen.
    struct Reserved: Equatable, Sendable {
        /// The names.
        var names: Set<String> = []
        /// The addresses.
        var binds: Set<BindAddress> = []
    }
}
