import Shared

/// What the registry says, put together: services with their instances, in an order that depends on nothing but them.
struct Catalog: Equatable, Sendable {
    /// One instance of a service.
    struct Instance: Equatable, Sendable {
        /// The last part of its key.
        let id: InstanceID
        /// Where it is reached.
        let endpoint: Endpoint
        /// The revision at which its entry was created: its age among all entries.
        let createRevision: Int64
        private let said: Boxed<Meta>

        /// What it says of itself; empty where it says nothing.
        var meta: Meta { said.value }

        /// Makes one.
        fileprivate init(id: InstanceID, endpoint: Endpoint, createRevision: Int64, said: Boxed<Meta>) {
            (self.id, self.endpoint, self.createRevision, self.said) = (id, endpoint, createRevision, said)
        }
    }

    /// A service that has at least one instance.
    struct Service: Equatable, Sendable {
        /// Its name.
        let name: ServiceName
        /// Its instances by id.
        let instances: [Instance]
        /// What an operator says of it; empty where nobody said anything.
        let config: ServiceConfig
        /// The listener port of the older `/port` key.
        let port: Port?
    }

    /// A port that a service keeps.
    struct Claim: Equatable, Sendable {
        /// Which port, and for which.
        let claim: PortClaim
        /// The revision at which it was made: of two claims of one port the older one counts.
        let revision: Int64
    }

    /// The services by name.
    let services: [Service]

    /// The claims of ports, also of services that have no instance now.
    let claims: [ServiceName: Claim]

    /// What was wrong, and left out.
    let problems: Set<Problem>

    /// How many instances there are.
    var instanceCount: Int { services.reduce(0) { $0 + $1.instances.count } }

    /// Puts the records together, whatever order they come in.
    init(_ state: RegistryState) {
        let parts = CatalogParts(state.records.values)
        services = parts.entries.keys.sorted().map(parts.service)
        claims = parts.claims
        problems = services.reduce(into: parts.problems) { problems, service in
            if let problem = service.mixture { problems.insert(problem) }
        }
    }
}

/// A large value of its own, so that what holds it is small: thousands of instances are sorted and copied around.
private indirect enum Boxed<Value: Equatable & Sendable>: Equatable, Sendable {
    case holding(Value)

    var value: Value {
        switch self {
        case .holding(let value): value
        }
    }
}

/// The records of a registry, sorted by what they speak of.
private struct CatalogParts {
    private(set) var entries: [ServiceName: [Catalog.Instance]] = [:]
    private(set) var claims: [ServiceName: Catalog.Claim] = [:]
    private(set) var problems: Set<Problem> = []
    private var configs: [ServiceName: ServiceConfig] = [:]
    private var ports: [ServiceName: Port] = [:]

    init(_ records: some Collection<RegistryRecord>) {
        var metas: [Name: Boxed<Meta>] = [:]
        let silence = Boxed.holding(Meta())
        for record in records {
            problems.formUnion(record.problems)
            switch record.content {
            case .meta(let service, let id, let meta): metas[Name(service: service, id: id)] = .holding(meta)
            case .config(let service, let config): configs[service] = config
            case .port(let service, let port): ports[service] = port
            case .claim(let service, let claim):
                claims[service] = Catalog.Claim(claim: claim, revision: record.keyValue.modRevision)
            case .entry, .nothing: break
            }
        }
        for record in records {
            guard case .entry(let service, let id, let endpoint) = record.content else { continue }
            let instance = Catalog.Instance(
                id: id, endpoint: endpoint, createRevision: record.keyValue.createRevision,
                said: metas[Name(service: service, id: id)] ?? silence)
            entries[service, default: []].append(instance)
        }
    }

    func service(_ name: ServiceName) -> Catalog.Service {
        Catalog.Service(
            name: name, instances: (entries[name] ?? []).sorted { $0.id < $1.id },
            config: configs[name] ?? ServiceConfig(), port: ports[name])
    }

    private struct Name: Hashable {
        let service: ServiceName
        let id: InstanceID
    }
}

extension Catalog.Service {
    /// The problem of being fed by several repositories, such as `a/web` and `b/web`.
    fileprivate var mixture: Problem? {
        let repositories = Set(instances.compactMap { $0.meta.image.flatMap(ImageReference.init)?.repository })
        return repositories.count > 1 ? .repositoriesDiffer(name, repositories: repositories.sorted()) : nil
    }
}
