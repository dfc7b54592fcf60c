import Shared

/// What all that is said of one service comes to, the same on every consumer of a zone.
///
/// It never changes; plans share it.
final class ServiceResolution: Sendable {
    /// The service.
    let service: ServiceName
    /// The port that it wants.
    let port: ListenerPort
    /// The address that it wants; nil for the consumer's usual one.
    let address: IPAddress?
    /// How it is balanced; plans share it.
    let sharedOptions: Interned<ListenerOptions>
    /// Its instances by id.
    let servers: [ProxyPlan.Server]
    /// What of it counts as not said.
    let problems: Set<Problem>

    /// Resolves a service for a consumer of a zone; nil for one without instances.
    init?(_ service: Catalog.Service, zone: Zone?) {
        guard let port = ListenerPort(service) else { return nil }
        let said = SaidOptions(service)
        let options = ListenerOptions(said.options)
        self.service = service.name
        self.port = port
        sharedOptions = Interned(options)
        address = said.options.listenAddress
        let config = service.config.options
        problems = said.problems.union(port.problems).union(Self.needlessPort(service, options))
        let isPreferred = Self.preference(among: service.instances, config, zone: zone)
        var pool = InternPool<ServerKeywords>()
        servers = service.instances.map { instance in
            var keywords = ServerKeywords(instance.options.value, config, options)
            if !isPreferred(instance) { keywords.isBackup = true }
            return ProxyPlan.Server(id: instance.id, endpoint: instance.endpoint, shared: pool.interned(keywords))
        }
    }

    /// How it is balanced.
    var options: ListenerOptions { sharedOptions.value }

    /// The problem of a port to be checked where nothing is checked.
    private static func needlessPort(_ service: Catalog.Service, _ options: ListenerOptions) -> Set<Problem> {
        guard options.check.kind == .none,
            service.config.options.checkPort != nil
                || service.instances.contains(where: { $0.options.value.checkPort != nil })
        else { return [] }
        return [.optionMisfits(service.name, field: "check_port", why: OptionRule.needsCheck)]
    }

    /// Which instances come first: those of the zone, where one of them can take connections; otherwise all.
    private static func preference(
        among instances: [Catalog.Instance], _ config: ServiceOptions, zone: Zone?
    ) -> (Catalog.Instance) -> Bool {
        guard let zone else { return { _ in true } }
        let isNear = { (instance: Catalog.Instance) in (config.zone ?? instance.options.value.zone) == zone }
        let isServing = instances.contains { instance in
            let said = instance.options.value
            return isNear(instance) && !(config.isBackup ?? said.isBackup ?? false)
                && (config.weight ?? said.weight) != 0
        }
        return isServing ? isNear : { _ in true }
    }
}

extension ServerKeywords {
    /// What an endpoint and its operator say of it, with the check of its service.
    fileprivate init(_ own: ServiceOptions, _ config: ServiceOptions, _ listener: ListenerOptions) {
        weight = config.weight ?? own.weight ?? weight
        maxConnections = config.maxConnections ?? own.maxConnections
        slowStart = config.slowStart ?? own.slowStart
        isBackup = config.isBackup ?? own.isBackup ?? false
        proxyProtocol = config.proxyProtocol ?? own.proxyProtocol ?? proxyProtocol
        hasCookie = listener.cookie != nil
        check = Check(listener, port: config.checkPort ?? own.checkPort)
    }
}

extension ServerKeywords.Check {
    fileprivate init?(_ listener: ListenerOptions, port: Port?) {
        let check = listener.check
        switch check.kind {
        case .none: return nil
        case .tcp: isHTTP = false
        case .http: isHTTP = true
        }
        observesAnswers = isHTTP && listener.mode == .http
        interval = check.interval
        fastInterval = check.fastInterval
        downInterval = check.downInterval == check.interval ? nil : check.downInterval
        rise = check.rise
        fall = check.fall
        self.port = port
    }
}
