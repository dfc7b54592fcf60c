import Shared

/// What earlier plans came to, so that a service which did not change is not decided again.
struct PlanMemory {
    private var resolutions: [ServiceName: (of: Catalog.Service, zone: Zone?, resolution: ServiceResolution)] = [:]
    private var listeners: [ServiceName: (of: ServiceResolution, listener: ProxyPlan.Listener)] = [:]

    /// Makes an empty one.
    init() {}

    /// What is said of the services of a catalogue; those without instances are left out.
    mutating func resolutions(of catalog: Catalog, zone: Zone?) -> [ServiceResolution] {
        let known = resolutions
        resolutions = [:]
        return catalog.services.compactMap { service in
            if let known = known[service.name], known.of === service, known.zone == zone {
                resolutions[service.name] = known
                return known.resolution
            }
            guard let resolution = ServiceResolution(service, zone: zone) else { return nil }
            resolutions[service.name] = (service, zone, resolution)
            return resolution
        }
    }

    /// A service's listener on this host.
    mutating func listener(of service: ServiceResolution, at port: Port, on host: ConsumerHost) -> ProxyPlan.Listener {
        if let known = listeners[service.service], known.of === service, known.listener.port == port,
            known.listener.address == service.address ?? host.listenAddress,
            known.listener.checkFloor == host.checkFloor
        {
            return known.listener
        }
        let listener = ProxyPlan.Listener(service, port, on: host)
        listeners[service.service] = (service, listener)
        return listener
    }

    /// Forgets the listeners of services that are in no plan any more.
    mutating func keep(_ present: [ServiceResolution]) {
        guard listeners.count > present.count else { return }
        let names = Set(present.map(\.service))
        listeners = listeners.filter { names.contains($0.key) }
    }
}
