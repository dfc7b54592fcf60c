import Shared

/// What of this host is in the way of listeners.
struct HostObstacles {
    private let host: HostSettings
    private let keyspace: Keyspace
    private var published: PublishedPorts
    private let registered: [Endpoint: EntryID]

    /// Takes what is known of the host, and which of its endpoints are registered now.
    init(
        _ host: HostSettings, _ published: PublishedPorts, registered: [Endpoint: EntryID], keyspace: Keyspace
    ) {
        (self.host, self.published, self.registered, self.keyspace) = (host, published, registered, keyspace)
        self.published.add(registered)
    }

    /// What is left of a listener; nil for nothing.
    func remaining(
        of listener: DesiredState.Listener, _ service: ResolvedService, _ diagnostics: inout Set<Diagnostic>
    ) -> DesiredState.Listener? {
        guard let obstacle = obstacle(to: listener.bind, of: service) else {
            guard let other = listener.otherPort else { return listener }
            let bind = BindAddress(address: listener.address, port: other)
            return self.obstacle(to: bind, of: service).map { listener.leaving(other, $0.explanation, &diagnostics) }
                ?? listener
        }
        if let other = listener.otherPort,
            self.obstacle(to: BindAddress(address: listener.address, port: other), of: service) == nil
        {
            return listener.leaving(listener.port, obstacle.explanation, &diagnostics)
        }
        diagnostics.insert(obstacle)
        return nil
    }

    private func obstacle(to bind: BindAddress, of service: ResolvedService) -> Diagnostic? {
        guard host.hasHAProxy else { return nil }
        let name = service.service
        if bind.overlaps(host.statsBind) || host.statsLoopback6.map(bind.overlaps) == true {
            return .portOfStats(name, bind.port)
        }
        if host.routes?.binds.contains(where: bind.overlaps) == true {
            return .route(.portOfRoutes(name, bind.port, isRouted: service.isRouted))
        }
        if host.reserved.names.contains(name.text) { return .nameOfAddition(name) }
        if host.reserved.binds.contains(where: bind.overlaps) { return .portOfAddition(name, bind.port) }
        // An operator's word counts more; a port of the range is no label's.
        guard bind.port != service.port.port || !service.port.isOperators else { return nil }
        if bind.port == service.port.port, !host.allowedPorts.contains(bind.port) {
            return .portNotAllowed(name, bind.port, allowed: host.allowedPorts.description, in: keyspace)
        }
        return published.holder(of: bind).map { endpoint, record in
            .portPublished(name, bind.port, by: record.name, at: endpoint, isRegistered: registered[endpoint] != nil)
        }
    }
}

extension DesiredState.Listener {
    /// The listener without one of its two ports, which is told.
    fileprivate func leaving(_ lost: Port, _ why: String, _ diagnostics: inout Set<Diagnostic>) -> DesiredState.Listener
    {
        var left = self
        left.leave(lost)
        diagnostics.insert(.portMissed(service, lost, why: why, instead: left.port))
        return left
    }

    /// What is left of a listener that cannot have all its addresses; nil for nothing.
    func remaining(
        after obstacles: [BindAddress: String], _ diagnostics: inout Set<Diagnostic>
    ) -> DesiredState.Listener? {
        let ports = [port, otherPort].compactMap(\.self)
        let lost = ports.compactMap { port in
            obstacles[BindAddress(address: address, port: port)].map { (port: port, obstacle: $0) }
        }
        guard lost.count < ports.count else {
            for (port, obstacle) in lost { diagnostics.insert(.portUnavailable(service, port, obstacle: obstacle)) }
            return nil
        }
        var left = self
        for (port, obstacle) in lost { left = left.leaving(port, "port \(port) is \(obstacle)", &diagnostics) }
        for port in left.loopback6 {
            guard let obstacle = obstacles[BindAddress(address: .loopback6, port: port)] else { continue }
            left.loopback6.removeAll { $0 == port }
            diagnostics.insert(.loopback6Unavailable(service, port, obstacle: obstacle))
        }
        return left
    }
}

extension ResolvedService {
    /// Where it listens on a host; nil for all IPv4 addresses.
    func address(on host: HostSettings) -> IPAddress? {
        isNarrowed(on: host) ? host.listenAddress : address ?? host.listenAddress
    }

    /// Whether a label asks for an address that other hosts reach where its operator restricts services to this host.
    func isNarrowed(on host: HostSettings) -> Bool {
        guard let address, !hasOperatorsAddress, host.listenAddress?.isLoopback == true else { return false }
        return !address.isLoopback
    }

    /// What of it does not count on a host.
    func problems(on host: HostSettings) -> Set<Diagnostic> {
        guard isNarrowed(on: host), let address, let listenAddress = host.listenAddress else { return [] }
        let why = "a label asks for \(address), and LISTEN_ADDRESS of this host is \(listenAddress)"
        return [.optionMisfits(service, field: "listen_address", why: why)]
    }
}
