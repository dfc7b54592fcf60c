import Shared

/// What HAProxy should run: a listener for each service that can have one, in the order of their names.
struct DesiredState: Equatable, Sendable {
    /// One service's listener.
    struct Listener: Equatable, Sendable {
        /// The service, which gives the section its name.
        let service: ServiceName
        /// Where consumers connect, unless it has no port of its own.
        private(set) var port: Port
        /// Whether it listens; where it does not, only routes lead to it.
        private(set) var hasPort = true
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
        /// Whether routes lead to it.
        var isRouted = false

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

        /// The same without a port of its own.
        var withoutPort: Listener {
            var listener = self
            listener.hasPort = false
            (listener.otherPort, listener.loopback6) = (nil, [])
            return listener
        }

        /// Address and port.
        var bind: BindAddress { BindAddress(address: address, port: port) }

        /// All its addresses with their ports, ``bind`` first.
        var binds: [BindAddress] {
            guard hasPort else { return [] }
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

    /// What routes come to; nil where this host serves none.
    private(set) var routes: RouteTable?

    /// What they come from; nil where this host serves none.
    private(set) var routeInputs: RouteTableBuilder.Inputs?

    /// Where it listens for routes.
    private(set) var routeBinds = RouteBinds()

    /// What is wrong in the registry, and what was left out, and why.
    private(set) var diagnostics: Set<Diagnostic> = []

    /// What has to be written into the registry so that all services keep their ports.
    private(set) var claims: [PortClaimUpdate] = []

    /// The services of which the registry knows an instance.
    private(set) var services: [Catalog.Service] = []

    /// The claims of ports, also those of services without an instance.
    private(set) var portClaims: [ServiceName: Catalog.Claim] = [:]

    /// The services that something else in haproxy.cfg leads to, with the mode in which it does.
    private(set) var named: [ServiceName: ServiceMode] = [:]

    /// What `/healthz` says of services that are beyond a limit of this host; nil where there are none.
    private(set) var noteOfLimit: String?

    /// Where services should listen, whether they can or not.
    private(set) var wantedBinds: Set<BindAddress> = []

    /// The addresses among those that nobody has tried yet: they count as free.
    private(set) var untestedBinds: Set<BindAddress> = []

    /// Where the stats page is besides: at the loopback address of IPv6.
    private(set) var statsLoopback6: BindAddress?

    /// The endpoints of agents that are on this host.
    private(set) var publishedHere: [Endpoint: EntryID] = [:]

    /// Where it listens.
    var binds: Set<BindAddress> {
        Set(listeners.flatMap(\.binds)).union([statsLoopback6].compactMap(\.self)).union(routeBinds.all)
    }

    /// The named services without a listener, whatever the reason: without a section of theirs HAProxy would refuse the
    /// whole file.
    var emptySections: [(service: ServiceName, mode: ServiceMode)] {
        guard !named.isEmpty else { return [] }
        let listening = Set(listeners.map(\.service))
        return named.filter { !listening.contains($0.key) }.sorted { $0.key < $1.key }.map { ($0, $1) }
    }

    /// At how many addresses it listens for services.
    var listenerCount: Int { listeners.reduce(0) { $0 + $1.binds.count } }

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
        listeners = []
        diagnostics.formUnion(inputs.ports.problems(of: catalog.hosts, on: host))
        named = inputs.named
        diagnostics.formUnion(Set(named.keys).subtracting(services.map(\.name)).map { .namedWithoutEndpoint($0) })
        let resolved = resolve(inputs, &cache)
        let assignment = PortAssignment(
            resolved.filter(\.hasPort), claims: portClaims, range: host.portRange, leaving: catalog.leaving,
            in: inputs.registry.keyspace)
        let ownAddresses = inputs.ports.ownAddresses
        let local = services.compactMap { cache.local(of: $0, on: ownAddresses) }
        // The first service of several with one endpoint.
        publishedHere = Dictionary(local.flatMap(\.published).map { ($0.endpoint, $0.name) }) { first, _ in first }
        let obstacles = HostObstacles(
            host, inputs.published, registered: publishedHere, keyspace: inputs.registry.keyspace)
        claims = assignment.changes + inputs.expiredClaims(of: catalog) + inputs.lostClaims
        diagnostics.formUnion(assignment.problems)
        for service in resolved {
            diagnostics.formUnion(service.problems)
            let port = assignment.ports[service.service]
            guard port != nil || service.isRouted else { continue }
            diagnostics.formUnion(service.problems(on: host))
            var listener = cache.listener(of: service, at: port ?? service.port.port, on: host)
            let isNameFree = !host.reserved.names.contains(service.service.text)
            if port == nil {
                if isNameFree {
                    listeners.append(listener.withoutPort)
                } else {
                    diagnostics.insert(.nameOfAddition(service.service))
                }
                continue
            }
            listener.otherPort = assignment.lent[service.service]
            if let served = obstacles.remaining(of: listener, service, &diagnostics) {
                listeners.append(served)
            } else if service.isRouted, isNameFree {
                listeners.append(listener.withoutPort)
            }
        }
        removeOverlaps(of: Set(resolved.filter { $0.isNarrowed(on: host) }.map(\.service)))
        if inputs.ports.ownAddresses.contains(.loopback6) { addLoopback6(on: host) }
        cache.evict(except: resolved)
        addServicesWithoutEndpoints(resolved, on: host)
        listeners = inputs.rejected.applied(to: listeners, &diagnostics)
        routeBinds = RouteBinds(host.routes, host, hasCertificate: !inputs.certificates.isEmpty, &diagnostics)
        wantedBinds = binds
        untestedBinds = wantedBinds.subtracting(inputs.ports.tried)
        remove(inputs.ports.obstacles)
        if let budget = host.openFiles { removeYoungest(beyond: budget, resolved) }
        if host.hasHAProxy { removeLoops(of: ownAddresses, among: Set(local.map(\.service))) }
    }

    /// No service at all.
    static let empty = DesiredState(listeners: [])

    /// No service with an endpoint, for what else is in haproxy.cfg on a host.
    static func empty(on host: HostSettings) -> DesiredState { DesiredState(listeners: [], named: host.named) }

    /// The state with these listeners, which share no port, in the order of their names.
    init(listeners: [Listener], named: [ServiceName: ServiceMode] = [:]) {
        (self.listeners, self.named) = (listeners, named)
    }

    /// The state with other listeners.
    func with(_ listeners: [Listener]) -> DesiredState {
        var next = self
        next.listeners = listeners
        return next
    }

    /// The services whose claims of ports are of no use now.
    var idleClaims: Set<ServiceName> { Set(portClaims.keys).subtracting(services.map(\.name)) }

    /// What is said of services, and what routes come to.
    ///
    /// A service that a route names speaks HTTP unless somebody says otherwise, and then it is no target.
    private mutating func resolve(_ inputs: DesiredInputs, _ cache: inout DesiredStateCache) -> [ResolvedService] {
        let zone = inputs.host.zone
        guard inputs.host.routes != nil else { return cache.resolved(services, zone: zone) { _ in false } }
        if !inputs.registry.hasRoutes { diagnostics.insert(.route(.unreadable)) }
        let before = cache.resolved(services, zone: zone) { _ in nil }
        var wanted = RouteTableBuilder.Inputs(
            named: inputs.heldRoutes.applied(to: inputs.registry.routes), waiting: inputs.switches.routes)
        wanted.labels = inputs.formerRoutes
        for service in before {
            wanted.labels[service.service] = nil
            if service.saysTCP { wanted.tcp.insert(service.service) }
            if let labels = service.labelRoutes { wanted.labels[service.service] = labels }
        }
        let table = cache.table(of: wanted)
        (routes, routeInputs) = (table, wanted)
        diagnostics.formUnion(table.problems)
        diagnostics.formUnion(inputs.switches.problems.union(inputs.heldRoutes.problems))
        // One without a port of its own can only be for routes, and so needs no reload when one names it.
        let ready = table.services.union(before.lazy.filter { !$0.hasPort && !$0.isUDP }.map(\.service)).subtracting(
            wanted.tcp)
        return cache.resolved(services, zone: zone) { ready.contains($0) }
    }

    /// Adds the services that routes name and that have no endpoint: they answer 503, and their first one is a command.
    private mutating func addServicesWithoutEndpoints(_ resolved: [ResolvedService], on host: HostSettings) {
        guard let routes else { return }
        let missing = routes.services.subtracting(resolved.map(\.service))
            .filter { !host.reserved.names.contains($0.text) }
        guard !missing.isEmpty else { return }
        for service in missing {
            var listener = Listener(
                service: service, port: host.statsBind.port, options: ListenerOptions.ofRoute, servers: [])
            listener.isRouted = true
            listeners.append(listener.withoutPort)
        }
        listeners.sort { $0.service < $1.service }
    }

    /// Removes the listeners that something is in the way of, or the ports of them.
    private mutating func remove(_ obstacles: [BindAddress: String]) {
        guard !obstacles.isEmpty else { return }
        if let bind = statsLoopback6, obstacles[bind] != nil { statsLoopback6 = nil }
        listeners = listeners.compactMap { listener in
            guard listener.binds.contains(where: { obstacles[$0] != nil }) else { return listener }
            return listener.remaining(after: obstacles, &diagnostics)
                ?? (listener.isRouted ? listener.withoutPort : nil)
        }
        routeBinds.remove(obstacles, &diagnostics)
    }

    /// Removes the services that came last, where HAProxy may not have files open enough to listen for them.
    private mutating func removeYoungest(beyond budget: OpenFileBudget, _ resolved: [ResolvedService]) {
        guard listenerCount > budget.maxListeners else { return }
        let needed = OpenFileBudget.needed(for: listenerCount)
        // A service that is at one of two addresses is better than none.
        for index in listeners.indices { listeners[index].loopback6 = [] }
        guard listenerCount > budget.maxListeners else { return }
        let ages = Dictionary(resolved.map { ($0.service, $0.port.age) }) { first, _ in first }
        let byAge = listeners.map(\.service).sorted { (ages[$0] ?? .max, $0) < (ages[$1] ?? .max, $1) }
        let sizes = Dictionary(listeners.map { ($0.service, $0.binds.count) }) { first, _ in first }
        var taken = 0
        let old = byAge.prefix { service in
            taken += sizes[service] ?? 0
            return taken <= budget.maxListeners
        }
        let young = Set(byAge.dropFirst(old.count))
        listeners.removeAll { young.contains($0.service) }
        diagnostics.formUnion(young.map { .beyondOpenFiles($0, limit: budget.limit, needed: needed) })
        noteOfLimit = "\(young.count) services are not served: \(Diagnostic.limit(budget.limit, needed: needed))"
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

    /// Removes the endpoints from which connections would come back to this HAProxy, again and again.
    private mutating func removeLoops(of ownAddresses: Set<IPAddress>, among local: Set<ServiceName>) {
        var loops = LoopDetector(listeners, ownAddresses: ownAddresses, among: local).servers
        for listener in listeners where listener.isRouted && local.contains(listener.service) {
            // It would come back to the routes.
            let looping = listener.servers.filter { $0.endpoint.isListener(among: routeBinds.all, ownAddresses) }
            if !looping.isEmpty { loops[listener.service] = (loops[listener.service] ?? []) + looping }
        }
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
    /// The routes that wait for their new target.
    var switches = RouteSwitches(limit: .zero)
    /// The routes of labels whose services have no endpoint any more.
    var formerRoutes: [ServiceName: LabelRoutes] = [:]
    /// The routes that were lost and are kept.
    var heldRoutes = RouteHold(limit: .zero)
    /// The names of the certificates that can be used.
    var certificates: Set<String> = []
    /// What was seen of this host's ports and addresses.
    var ports = PortObservation()
    /// What endpoints on this host have published.
    var published = PublishedPorts()
    /// What this host contributes.
    var host: HostSettings

    /// The services that something else in haproxy.cfg leads to, with the mode in which it does.
    ///
    /// Each has a section also while it has no endpoint, which answers 503, or closes connections in mode tcp.
    fileprivate var named: [ServiceName: ServiceMode] { host.named }

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
        isRouted = service.isRouted
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
