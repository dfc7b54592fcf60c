import Shared

/// What all that is said of one service comes to, the same on every consumer of a zone.
///
/// It never changes; plans share it.
final class ResolvedService: Sendable {
    /// The service.
    let service: ServiceName
    /// The port that it wants.
    let port: ListenerPort
    /// The address that it wants; nil for the consumer's usual one.
    let address: IPAddress?
    /// Whether an operator said so.
    let hasOperatorsAddress: Bool
    /// How it is balanced; plans share it.
    let sharedOptions: Interned<ListenerOptions>
    /// Its instances by id.
    let servers: [DesiredState.Server]
    /// What of it counts as not said.
    let problems: Set<Diagnostic>
    /// Whether it is reached over UDP alone, so that HAProxy has no part in it.
    let isUDP: Bool
    /// Whether it listens on a port of its own.
    let hasPort: Bool
    /// Whether routes lead to it.
    let isRouted: Bool
    /// Whether somebody says that its connections are no HTTP.
    let saysTCP: Bool
    /// The routes that its labels ask for; nil for none.
    let labelRoutes: LabelRoutes?

    /// Resolves a service for a consumer of a zone; nil for one without instances.
    ///
    /// - Parameter isRouted: whether routes lead to it.
    init?(_ registered: Catalog.Service, zone: Zone?, isRouted: Bool = false) {
        let service = registered.overTCP ?? registered
        isUDP = registered.overTCP == nil
        guard let port = ListenerPort(service) else { return nil }
        let said = MergedOptions(service, isRouted: isRouted)
        let options = ListenerOptions(said.options)
        self.service = service.name
        self.port = port
        sharedOptions = Interned(options)
        address = said.options.listenAddress
        let config = service.config.options
        hasPort = !port.isNone && !isUDP
        self.isRouted = isRouted
        saysTCP = said.options.mode == .tcp || isUDP
        labelRoutes = said.options.route.map { route in
            LabelRoutes(
                places: route.places, strips: said.options[ServiceOptions.routeStrip],
                redirectsToHTTPS: said.options[ServiceOptions.routeHTTPS], age: port.firstRevision)
        }
        hasOperatorsAddress = config.listenAddress != nil
        problems = said.problems.union(port.problems).union(Self.needlessPort(service, options))
        let isPreferred = Self.preference(among: service.instances, config, zone: zone)
        var pool = InternPool<ServerOptions>()
        let check = ServerOptions.Check(options)
        let overriding = ServiceOptions.fields.filter { $0.text(config) != nil }
        servers = service.instances.map { instance in
            var configured = overriding.reduce(into: instance.options.value) { $1.copy(config, &$0) }
            if let own = instance.config?.value { configured = configured.overridden(by: own) }
            var keywords = ServerOptions(configured, hasCookie: options.cookie != nil, check: check)
            if !isPreferred(instance) { keywords.isBackup = true }
            return DesiredState.Server(id: instance.id, endpoint: instance.endpoint, shared: pool.interned(keywords))
        }
    }

    /// How it is balanced.
    var options: ListenerOptions { sharedOptions.value }

    /// The problem of a port to be checked where nothing is checked.
    private static func needlessPort(_ service: Catalog.Service, _ options: ListenerOptions) -> Set<Diagnostic> {
        guard options[ServiceOptions.check] == .none,
            service.config.options.checkPort != nil
                || service.instances.contains(where: {
                    $0.options.value.checkPort != nil || $0.config?.value.checkPort != nil
                })
        else { return [] }
        return [.optionMisfits(service.name, field: "check_port", why: OptionRule.needsCheck)]
    }

    /// Which instances come first: those of the zone, where one of them can take connections; otherwise all.
    private static func preference(
        among instances: [Catalog.Instance], _ config: ServiceOptions, zone: Zone?
    ) -> (Catalog.Instance) -> Bool {
        guard let zone else { return { _ in true } }
        let isNear = { (instance: Catalog.Instance) in
            (instance.config?.value.zone ?? config.zone ?? instance.options.value.zone) == zone
        }
        let isServing = instances.contains { instance in
            let (own, said) = (instance.config?.value, instance.options.value)
            return isNear(instance) && !(own?.isBackup ?? config.isBackup ?? said.isBackup ?? false)
                && (own?.weight ?? config.weight ?? said.weight) != 0
        }
        return isServing ? isNear : { _ in true }
    }
}

extension ServerOptions.Check {
    /// The check of a service's endpoint; nil where nothing is checked.
    init?(_ listener: ListenerOptions) {
        switch listener[ServiceOptions.check] {
        case .none: return nil
        case .tcp: isHTTP = false
        case .http: isHTTP = true
        }
        observesAnswers = isHTTP && listener.mode == .http
        interval = listener[ServiceOptions.checkInterval]
        fastInterval = listener.checkFastInterval
        downInterval = listener.checkDownInterval == interval ? nil : listener.checkDownInterval
        rise = listener[ServiceOptions.checkRise]
        fall = listener[ServiceOptions.checkFall]
    }
}

/// The port that a service wants to listen on.
///
/// An operator's `config` comes first, then the `/port` key, then what the newest instance says in its meta, then the
/// port in the newest entry's own value.
struct ListenerPort: Equatable {
    /// The port.
    let port: Port

    /// Whether an operator said so.
    let isOperators: Bool

    /// The revision since which an entry asks for the port; where an operator does, that of the oldest entry.
    let age: Int64

    /// The instances' disagreement, where they decided and did not agree.
    let problems: Set<Diagnostic>

    /// Whether it wants none.
    let isNone: Bool

    /// The revision of the oldest entry.
    let firstRevision: Int64

    /// Decides; nil for a service without instances.
    init?(_ service: Catalog.Service) {
        guard let oldest = service.instances.map(\.createRevision).min() else { return nil }
        firstRevision = oldest
        let config = service.config.options
        let speaker = service.instances.filter { $0.options.value.port != nil || $0.options.value.hasNoPort != nil }
            .max(by: Catalog.Instance.isOlder)
        isNone =
            config.hasNoPort ?? (config.port ?? service.port == nil ? speaker?.options.value.hasNoPort ?? false : false)
        if let port = service.config.options.port ?? service.port {
            (self.port, isOperators, age, problems) = (port, true, oldest, [])
            return
        }
        let byAge = service.instances.sorted(by: Catalog.Instance.isOlder)
        let said = byAge.filter { $0.options.value.port != nil }
        let candidates = (said.isEmpty ? byAge : said).map { ($0.options.value.port ?? $0.endpoint.port, $0) }
        guard let newest = candidates.last?.0 else { return nil }
        port = newest
        isOperators = false
        age = candidates.first { $0.0 == newest }?.1.createRevision ?? oldest
        // Those older ones that do not say a port had the one in their value, and the newest moves them.
        let first = candidates.first { $0.0 == newest }?.1
        let moved = byAge.filter { instance in
            instance.options.value.port == nil && first.map { Catalog.Instance.isOlder(instance, $0) } ?? false
        }
        let all = Set(candidates.map(\.0) + moved.map(\.endpoint.port))
        problems =
            all.count > 1
            ? [
                .valuesDiffer(
                    service.name, field: "port", values: all.sorted().map(\.description), chosen: newest.description)
            ] : []
    }
}

extension Catalog.Instance {
    /// Orders by age; of equal revisions, which one transaction makes, the greater id is the newer one.
    static func isOlder(_ left: Catalog.Instance, _ right: Catalog.Instance) -> Bool {
        (left.createRevision, left.id) < (right.createRevision, right.id)
    }
}
