import Shared

/// What of a service is on this host: connections from here may come back here.
struct LocalInstances: Sendable {
    /// The service.
    let service: ServiceName
    /// What containers of this host publish.
    let published: [(endpoint: Endpoint, name: EntryID)]

    /// Looks at a service's instances; nil where none is on a host with these addresses.
    init?(of service: Catalog.Service, on ownAddresses: Set<IPAddress>) {
        let local = service.instances.filter { instance in
            let address = instance.endpoint.reached
            return address.isLoopback || ownAddresses.contains(address)
        }
        guard !local.isEmpty else { return nil }
        self.service = service.name
        published = local.compactMap { instance in
            let isPublished =
                ownAddresses.contains(instance.endpoint.address) && instance.isOfAgent && !instance.isUDP
            return isPublished ? (instance.endpoint, EntryID(service: service.name, id: instance.id)) : nil
        }
    }
}

/// What earlier decisions came to, so that a service which did not change is not decided again.
struct DesiredStateCache {
    private struct Resolution {
        let of: Catalog.Service
        let zone: Zone?
        let value: ResolvedService
    }

    /// What routes came to.
    private(set) var routes = RouteTableBuilder()
    private var resolved: [ServiceName: Resolution] = [:]
    private var locals: [ServiceName: (of: Catalog.Service, local: LocalInstances?)] = [:]
    private var localAddresses: Set<IPAddress> = []
    private var listeners: [ServiceName: (of: ResolvedService, listener: DesiredState.Listener)] = [:]

    /// Makes an empty one.
    init() {}

    /// What routes come to.
    mutating func table(of inputs: RouteTableBuilder.Inputs) -> RouteTable { routes.table(of: inputs) }

    /// What is said of services; those without instances are left out.
    ///
    /// - Parameter isRouted: whether routes lead to a service; nil where that is not known yet, and what was is as good.
    mutating func resolved(
        _ services: [Catalog.Service], zone: Zone?, isRouted: (ServiceName) -> Bool?
    ) -> [ResolvedService] {
        let known = resolved
        resolved = [:]
        return services.compactMap { service in
            let isRouted = isRouted(service.name)
            if let known = known[service.name], known.of === service, known.zone == zone,
                known.value.isRouted == isRouted ?? known.value.isRouted
            {
                resolved[service.name] = known
                return known.value
            }
            guard let value = ResolvedService(service, zone: zone, isRouted: isRouted ?? false) else { return nil }
            resolved[service.name] = Resolution(of: service, zone: zone, value: value)
            return value
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

    /// What of a service is on this host; nil for nothing.
    mutating func local(of service: Catalog.Service, on ownAddresses: Set<IPAddress>) -> LocalInstances? {
        if ownAddresses != localAddresses { (locals, localAddresses) = ([:], ownAddresses) }
        if let known = locals[service.name], known.of === service { return known.local }
        let local = LocalInstances(of: service, on: ownAddresses)
        locals[service.name] = (service, local)
        return local
    }

    /// Evicts the listeners of all services but these.
    mutating func evict(except present: [ResolvedService]) {
        if locals.count > present.count {
            let names = Set(present.map(\.service))
            locals = locals.filter { names.contains($0.key) }
        }
        guard listeners.count > present.count else { return }
        let names = Set(present.map(\.service))
        listeners = listeners.filter { names.contains($0.key) }
    }
}
