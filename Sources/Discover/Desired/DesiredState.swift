import Shared

/// What HAProxy should do: a listener for each service that can have one, in the order of their names.
struct DesiredState: Equatable, Sendable {
    /// One service's listener.
    struct Listener: Equatable, Sendable {
        /// The service, which gives the section its name.
        let service: ServiceName
        /// Where consumers connect.
        let port: Port
        /// On which address; nil for all IPv4 addresses.
        var address: IPAddress?
        /// How connections are treated; plans share it.
        private(set) var sharedOptions: Interned<ListenerOptions>
        /// Where they go, by name.
        var servers: [Server]
        /// The shortest interval between two checks for which the servers are made.
        var checkFloor = Duration.zero
        /// What its section says instead, where HAProxy refuses what it would say.
        var written: Written?

        /// How connections are treated.
        var options: ListenerOptions {
            get { sharedOptions.value }
            set { sharedOptions = Interned(newValue) }
        }

        /// Makes one.
        init(
            service: ServiceName, port: Port, address: IPAddress? = nil,
            options: Interned<ListenerOptions> = Interned(ListenerOptions()), servers: [Server],
            checkFloor: Duration = .zero, written: Written? = nil
        ) {
            (self.service, self.port, self.address, sharedOptions) = (service, port, address, options)
            (self.servers, self.checkFloor, self.written) = (servers, checkFloor, written)
        }

        /// Text that HAProxy has accepted once.
        struct Written: Equatable, Sendable {
            /// The section without its servers.
            let head: String
            /// Its servers; nil for those of the listener.
            let servers: [ServerLine]?
        }

        /// Address and port.
        var bind: BindAddress { BindAddress(address: address, port: port) }
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

    /// What was left out, and why.
    private(set) var problems: Set<Diagnostic>

    /// What has to be written into the registry so that all services keep their ports.
    private(set) var claims: [PortClaimUpdate]

    /// Where it listens.
    var binds: Set<BindAddress> { Set(listeners.map(\.bind)) }

    /// How many servers there are.
    var serverCount: Int { listeners.reduce(0) { $0 + $1.servers.count } }

    /// Decides which service listens where, and how.
    init(_ catalog: Catalog, on host: HostSettings) {
        var memory = DesiredStateCache()
        self.init(catalog, on: host, &memory)
    }

    /// Decides, and remembers what it came to for the next plan.
    init(_ catalog: Catalog, on host: HostSettings, _ memory: inout DesiredStateCache) {
        let services = memory.resolutions(of: catalog, zone: host.zone)
        let assignment = PortAssignment(services, claims: catalog.claims, range: host.portRange)
        claims = assignment.changes
        problems = services.reduce(into: assignment.problems) { $0.formUnion($1.problems) }
        listeners = []
        for service in services {
            guard let port = assignment.ports[service.service] else { continue }
            let listener = memory.listener(of: service, at: port, on: host)
            if let problem = host.obstacle(to: listener) {
                problems.insert(problem)
            } else {
                listeners.append(listener)
            }
        }
        memory.keep(services)
    }

    /// The plan of no service at all.
    static let empty = DesiredState(listeners: [])

    /// The plan of these listeners, which share no port, in the order of their names.
    init(listeners: [Listener]) {
        self.listeners = listeners
        problems = []
        claims = []
    }

    /// The plan with other listeners.
    func with(_ listeners: [Listener]) -> DesiredState {
        var plan = self
        plan.listeners = listeners
        return plan
    }

    /// The plan with further problems.
    func adding(_ problems: [Diagnostic]) -> DesiredState {
        var plan = self
        plan.problems.formUnion(problems)
        return plan
    }

    /// The plan without the listeners that something is in the way of.
    func without(_ obstacles: [BindAddress: String]) -> DesiredState {
        var plan = self
        plan.listeners.removeAll { obstacles[$0.bind] != nil }
        for listener in listeners {
            guard let obstacle = obstacles[listener.bind] else { continue }
            plan.problems.insert(.portUnavailable(listener.service, listener.port, obstacle: obstacle))
        }
        return plan
    }
}

extension DesiredState.Listener {
    /// A service's listener on a host.
    init(_ service: ResolvedService, _ port: Port, on host: HostSettings) {
        let floor = host.checkFloor
        var pool = InternPool<ServerOptions>()
        self.init(
            service: service.service, port: port, address: service.address ?? host.listenAddress,
            options: service.sharedOptions,
            servers: floor > .zero ? service.servers.map { $0.checked(notBelow: floor, &pool) } : service.servers,
            checkFloor: floor)
    }
}

extension DesiredState.Server {
    fileprivate func checked(notBelow floor: Duration, _ pool: inout InternPool<ServerOptions>) -> DesiredState.Server {
        guard let check = keywords.check else { return self }
        var stretched = keywords
        stretched.check = check.stretched(to: floor)
        return DesiredState.Server(id: id, endpoint: endpoint, shared: pool.interned(stretched))
    }
}

extension HostSettings {
    /// What of this host is in the way of a listener.
    fileprivate func obstacle(to listener: DesiredState.Listener) -> Diagnostic? {
        if listener.bind.overlaps(statsBind) { return .portOfStats(listener.service, listener.port) }
        if reserved.names.contains(listener.service.text) { return .nameOfAddition(listener.service) }
        return reserved.binds.contains(where: listener.bind.overlaps)
            ? .portOfAddition(listener.service, listener.port) : nil
    }
}

/// What earlier plans came to, so that a service which did not change is not decided again.
struct DesiredStateCache {
    private var resolutions: [ServiceName: (of: Catalog.Service, zone: Zone?, resolution: ResolvedService)] = [:]
    private var listeners: [ServiceName: (of: ResolvedService, listener: DesiredState.Listener)] = [:]

    /// Makes an empty one.
    init() {}

    /// What is said of the services of a catalogue; those without instances are left out.
    mutating func resolutions(of catalog: Catalog, zone: Zone?) -> [ResolvedService] {
        let known = resolutions
        resolutions = [:]
        return catalog.services.compactMap { service in
            if let known = known[service.name], known.of === service, known.zone == zone {
                resolutions[service.name] = known
                return known.resolution
            }
            guard let resolution = ResolvedService(service, zone: zone) else { return nil }
            resolutions[service.name] = (service, zone, resolution)
            return resolution
        }
    }

    /// A service's listener on this host.
    mutating func listener(of service: ResolvedService, at port: Port, on host: HostSettings) -> DesiredState.Listener {
        if let known = listeners[service.service], known.of === service, known.listener.port == port,
            known.listener.address == service.address ?? host.listenAddress,
            known.listener.checkFloor == host.checkFloor
        {
            return known.listener
        }
        let listener = DesiredState.Listener(service, port, on: host)
        listeners[service.service] = (service, listener)
        return listener
    }

    /// Forgets the listeners of services that are in no plan any more.
    mutating func keep(_ present: [ResolvedService]) {
        guard listeners.count > present.count else { return }
        let names = Set(present.map(\.service))
        listeners = listeners.filter { names.contains($0.key) }
    }
}

/// What the host on which docker-discover runs contributes to a plan.
struct HostSettings: Equatable, Sendable {
    /// Where the stats page is: no service can listen there.
    var statsBind: BindAddress

    /// What the stats page calls the host: letters, digits, dots, dashes.
    var name = "localhost"

    /// Where services listen that do not say so themselves; nil for all IPv4 addresses.
    var listenAddress: IPAddress?

    /// Where the host is: endpoints of the same zone come first.
    var zone: Zone?

    /// Ports for services that do not get the one that they ask for.
    var portRange = PortRange.standard

    /// The shortest interval between two checks of an endpoint, which depends on how many consumers there are.
    var checkFloor = Duration.zero

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
