import Shared

/// What is known of one service, as `--json` prints it.
struct ServiceReport: Encodable, Equatable, Sendable {
    /// Whether it is served.
    enum State: String, Encodable, Sendable {
        /// HAProxy listens for it.
        case served
        /// HAProxy does not listen for it yet.
        case pending
        /// It has no listener; the problems say why.
        case leftOut
        /// It should be served, and HAProxy does not answer.
        case unknown
        /// There is no HAProxy here, or none that forwards it, as it is UDP; it is in the outputs.
        case outputsOnly
    }

    /// A listener port that the service keeps.
    struct Claim: Encodable, Equatable, Sendable {
        /// The port.
        var port: UInt16
        /// The port that it asked for then.
        var wish: UInt16
        /// The revision of the claim.
        var revision: Int64
    }

    /// Its name.
    var name: String
    /// Whether it is served.
    var state: State
    /// Where HAProxy listens for it, or should; nil where it has no listener.
    var listener: String?
    /// All addresses where HAProxy listens for it, or should.
    var listeners: [String]
    /// The port that it asks for.
    var port: UInt16
    /// Who names that port: its config, its port key, or its endpoints.
    var portFrom: String
    /// The claim of a port, where there is one.
    var claim: Claim?
    /// What HAProxy understands of its connections.
    var mode: String
    /// How they are spread.
    var balance: String
    /// How its endpoints are checked.
    var check: String
    /// What an operator's config says of it, by field.
    var config: [String: String]
    /// What is wrong with it, or was not understood.
    var problems: [DiagnosticReport]
    /// Its endpoints, by id.
    var endpoints: [EndpointReport]

    /// Whether connections to it come to an endpoint.
    var isRouted: Bool {
        [.served, .outputsOnly].contains(state) && mode != OutputService.udp
            && endpoints.contains { $0.state == .serving }
    }
}

/// Something that is wrong, as `--json` prints it.
struct DiagnosticReport: Encodable, Equatable, Sendable {
    /// A key, a service, or a setting.
    var of: String
    /// What is wrong, and what would be right.
    var problem: String
    /// Whether a service is not reachable where it should be, before somebody acts.
    var severe: Bool
}

extension DiagnosticReport {
    /// Takes a problem.
    init(_ problem: Diagnostic) {
        self.init(of: problem.subject, problem: problem.explanation, severe: problem.isSevere)
    }

    /// What it concerns, and what is wrong.
    var sentence: String { "\(of): \(problem)" + (problem.hasSuffix("?") ? "" : ".") }
}

/// All that a report of services is made from, looked up once.
struct ReportSources {
    let keyspace: Keyspace
    let zone: Zone?
    let claims: [ServiceName: Catalog.Claim]
    let listeners: [ServiceName: DesiredState.Listener]
    let holds: [EntryID: HeldEndpoint]
    let problems: [ServiceName: [Diagnostic]]
    let sight: ProxyStats?
    let delay: String?
    let hasHAProxy: Bool

    /// Puts them together.
    init(_ desired: DesiredState, _ snapshot: Snapshot, _ sight: ProxyStats?) {
        keyspace = snapshot.store.keyspace
        zone = snapshot.settings.host.zone
        claims = desired.portClaims
        listeners = Dictionary(desired.listeners.map { ($0.service, $0) }) { first, _ in first }
        holds = Dictionary(snapshot.massLoss.held.map { ($0.name, $0) }) { first, _ in first }
        problems = Self.byService(desired.diagnostics, snapshot.store.keyspace)
        self.sight = sight
        delay = snapshot.delay
        hasHAProxy = snapshot.settings.host.hasHAProxy
    }

    private static func byService(_ problems: Set<Diagnostic>, _ keyspace: Keyspace) -> [ServiceName: [Diagnostic]] {
        problems.sorted().reduce(into: [:]) { found, problem in
            if let service = problem.service(in: keyspace) { found[service, default: []].append(problem) }
        }
    }
}

extension Diagnostic {
    /// The service that it is about; nil for a key that belongs to none.
    func service(in keyspace: Keyspace) -> ServiceName? {
        if case .route(let problem) = self { return problem.field == "service" ? ServiceName(problem.name) : nil }
        if let service = ServiceName(subject) { return service }
        return (try? keyspace.parse(subject.utf8))?.service
    }
}

extension Snapshot {
    /// Why HAProxy may be behind what is known; nil where it is not.
    var delay: String? {
        guard agent != nil else { return "no docker-discover answers that would tell it so" }
        if let trouble = history?.trouble { return trouble.error }
        guard let behindSince, let revision = registry?.revision else {
            // The copy is not applied to an HAProxy that was taken over: it may be older than what runs.
            return registry == nil || appliedRevision != nil
                ? nil : "etcd has not answered since docker-discover started, so HAProxy stays as it is"
        }
        let applied = appliedRevision.map { "it runs revision \($0)" } ?? "it runs an earlier one"
        return "revision \(revision) waits since \(Timestamp.text(behindSince)), and \(applied)"
    }
}

extension ServiceReport {
    /// Makes the report of a service.
    init?(_ service: Catalog.Service, _ sources: ReportSources) {
        let listener = sources.listeners[service.name]
        guard
            let resolution = ResolvedService(
                service, zone: sources.zone, isRouted: listener?.isRouted ?? false)
        else { return nil }
        name = service.name.text
        self.listener = listener.map { $0.hasPort ? $0.bind.description : "routes only" }
        listeners = listener?.binds.map(\.description) ?? []
        port = resolution.port.port.number
        portFrom =
            service.config.options.port != nil ? "config" : service.port != nil ? "port key" : "endpoints"
        claim = sources.claims[service.name].map {
            Claim(port: $0.claim.port.number, wish: $0.claim.wish.number, revision: $0.revision)
        }
        mode = resolution.isUDP ? OutputService.udp : resolution.options.mode.rawValue
        balance = resolution.options[ServiceOptions.balance].rawValue
        check = resolution.options[ServiceOptions.check].description
        config = ServiceOptions.fields.reduce(into: [:]) { said, field in
            said[field.name] = field.text(service.config.options)
        }
        problems = (sources.problems[service.name] ?? []).map(DiagnosticReport.init)
        endpoints = []
        state = .leftOut
        let servers = sources.sight?.servers[name]
        // Of a listener without servers HAProxy says nothing.
        let isPending = servers == nil && listener?.servers.isEmpty == false
        if !sources.hasHAProxy || resolution.isUDP {
            state = .outputsOnly
        } else if listener != nil {
            state = sources.sight == nil ? .unknown : isPending ? .pending : .served
        }
        let facts = EndpointSources(
            service, resolution, sources, servers ?? [:], isServed: listener != nil || resolution.isUDP)
        endpoints = service.instances.map(facts.report)
        endpoints += facts.leaving
    }
}

/// What the reports of one service's endpoints are made from.
private struct EndpointSources {
    let service: Catalog.Service
    let sources: ReportSources
    let servers: [String: ServerStats]
    let isServed: Bool
    private let options: ListenerOptions
    private let wanted: [InstanceID: DesiredState.Server]
    private let hasPrimary: Bool

    init(
        _ service: Catalog.Service, _ resolution: ResolvedService, _ sources: ReportSources,
        _ servers: [String: ServerStats], isServed: Bool
    ) {
        (self.service, self.sources, self.servers, self.isServed) = (service, sources, servers, isServed)
        options = resolution.options
        wanted = Dictionary(resolution.servers.map { ($0.id, $0) }) { first, _ in first }
        hasPrimary = servers.values.contains { !$0.isBackup && $0.isUsable }
    }

    func report(_ instance: Catalog.Instance) -> EndpointReport {
        let name = EntryID(service: service.name, id: instance.id)
        let key = sources.keyspace.text(of: .entry(service.name, instance.id))
        var facts = EndpointStatus.Facts(endpoint: instance.endpoint)
        facts.isServed = isServed
        facts.loop = circular.contains(instance.id)
        facts.isSeen = sources.sight != nil
        facts.hasHAProxy = sources.hasHAProxy && !instance.isUDP
        facts.sight = servers[instance.id.text]
        facts.options = options
        facts.checkPort = wanted[instance.id]?.keywords.check?.port
        facts.delay = refusal ?? sources.delay
        facts.zeroWeight = wanted[instance.id]?.keywords.weight == 0 ? sayer(instance, \.weight) : nil
        facts.backup = wanted[instance.id]?.keywords.isBackup == true ? backup(instance) : nil
        facts.hasBetter = hasPrimary
        var report = EndpointReport(instance, facts, key: key)
        report.weight = wanted[instance.id]?.keywords.weight
        report.held = sources.holds[name].map(EndpointReport.Held.init)
        return report
    }

    /// Its endpoints that lead back to this HAProxy.
    private var circular: Set<InstanceID> {
        Set(
            (sources.problems[service.name] ?? []).compactMap { problem in
                if case .loop(_, let id, _) = problem { id } else { nil }
            })
    }

    /// Why the service is served in an earlier form.
    private var refusal: String? {
        (sources.problems[service.name] ?? []).lazy.compactMap { problem in
            if case .refusedByHAProxy = problem { problem.explanation } else { nil }
        }.first
    }

    /// Servers that HAProxy has and the registry does not.
    var leaving: [EndpointReport] {
        let known = Set(service.instances.map(\.id.text))
        return servers.filter { !known.contains($0.key) }.sorted { $0.key < $1.key }
            .map { EndpointReport(leaving: $0.key, $0.value) }
    }

    private func sayer(_ instance: Catalog.Instance, _ option: KeyPath<ServiceOptions, Int?>) -> String {
        if instance.config?.value[keyPath: option] != nil {
            return sources.keyspace.text(of: .endpointConfig(service.name, instance.id))
        }
        return service.config.options[keyPath: option] != nil
            ? sources.keyspace.text(of: .config(service.name)) : "what it says of itself"
    }

    private func backup(_ instance: Catalog.Instance) -> String {
        let config = service.config.options
        if let own = instance.config?.value, own.isBackup == true {
            return "\(sources.keyspace.text(of: .endpointConfig(service.name, instance.id))) says so"
        }
        if let said = config.isBackup, said { return "\(sources.keyspace.text(of: .config(service.name))) says so" }
        if config.isBackup == nil, instance.options.value.isBackup == true { return "it says so of itself" }
        let zone = (config.zone ?? instance.options.value.zone).map { "its zone is \($0)" } ?? "it has no zone"
        return "\(zone), and this host's is \(sources.zone.map(\.description) ?? "none")"
    }
}
