import Shared

/// What the registry says, put together: services with their instances, in an order that depends on nothing but them.
struct Catalog: Equatable, Sendable {
    /// One instance of a service.
    struct Instance: Equatable, Sendable {
        /// The last part of its key.
        let id: InstanceID
        /// Where it is reached.
        let endpoint: Endpoint
        /// Its entry in the registry.
        let entry: RegistryRecord
        /// What it says besides names and addresses.
        let options: Interned<ServiceOptions>
        /// What an operator says of it alone; nil where nobody did.
        let config: Interned<ServiceOptions>?
        /// Whether it is a UDP port, which HAProxy does not forward.
        let isUDP: Bool
        /// Whether an agent put it, for a container or a program on its host; others are people's.
        let isOfAgent: Bool
        private let said: RegistryRecord?

        /// Makes one of its records.
        init(
            id: InstanceID, endpoint: Endpoint, entry: RegistryRecord, meta: RegistryRecord?,
            config: Interned<ServiceOptions>? = nil
        ) {
            (self.id, self.endpoint, self.entry, said, self.config) = (id, endpoint, entry, meta, config)
            if case .meta(_, _, let meta)? = meta?.content {
                options = meta.options
                isUDP = meta.isUDP
                isOfAgent = meta.host != nil || id.isOfContainer
            } else {
                options = ServiceOptions.unsaid
                isUDP = false
                isOfAgent = id.isOfContainer
            }
        }

        /// The revision at which its entry was created: its age among all entries.
        var createRevision: Int64 { entry.keyValue.createRevision }

        /// Its image without tag and digest; nil where it does not say one.
        var repository: String? {
            guard case .meta(_, _, let meta)? = said?.content else { return nil }
            return meta.repository
        }

        /// All that it says of itself, read anew; empty where it says nothing.
        var meta: Meta { said.flatMap { Meta(json: $0.keyValue.value) } ?? Meta() }
    }

    /// A service that has at least one instance.
    final class Service: Equatable, Sendable {
        /// Its name.
        let name: ServiceName
        /// Its instances by id.
        let instances: [Instance]
        private let said: Interned<ServiceConfig>?
        /// The listener port of the older `/port` key.
        let port: Port?

        /// Makes one.
        init(name: ServiceName, instances: [Instance], config: ServiceConfig, port: Port?) {
            (self.name, self.instances, self.port) = (name, instances, port)
            // Few have one, and it takes room.
            said = config == ServiceConfig() ? nil : Interned(config)
        }

        /// What an operator says of it; empty where nobody said anything.
        var config: ServiceConfig { said?.value ?? ServiceConfig() }

        /// The same with what HAProxy forwards alone; nil where that is nothing.
        var overTCP: Service? {
            let instances = instances.filter { !$0.isUDP }
            guard instances.count < self.instances.count else { return self }
            return instances.isEmpty ? nil : Service(name: name, instances: instances, config: config, port: port)
        }

        /// Whether the same is said of both.
        static func == (left: Service, right: Service) -> Bool {
            left === right
                || left.name == right.name && left.instances == right.instances && left.said == right.said
                    && left.port == right.port
        }
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
    let problems: Set<Diagnostic>

    /// The hosts that have registered instances.
    let hosts: Set<RegisteringHost>

    /// The services whose last instances were withdrawn a moment ago.
    let leaving: Set<ServiceName>

    /// How many instances there are.
    var instanceCount: Int { services.reduce(0) { $0 + $1.instances.count } }

    /// Puts what is known of each service together.
    init(_ state: RegistryState) {
        services = state.groups.values.compactMap(\.service).sorted { $0.name < $1.name }
        var claims: [ServiceName: Claim] = [:]
        var problems: Set<Diagnostic> = []
        var hosts: Set<RegisteringHost> = []
        var leaving: Set<ServiceName> = []
        for (name, group) in state.groups {
            hosts.formUnion(group.hosts)
            if let name, let claim = group.claim { claims[name] = claim }
            if let name, group.isLeaving { leaving.insert(name) }
            problems.formUnion(group.problems)
        }
        (self.claims, self.problems) = (claims, problems.union(Self.sharedAddresses(of: hosts)))
        (self.hosts, self.leaving) = (hosts, leaving)
    }
}

extension Catalog {
    /// The problem of several hosts that have one `HOST_IP`.
    private static func sharedAddresses(of hosts: Set<RegisteringHost>) -> [Diagnostic] {
        let names = Dictionary(grouping: hosts, by: \.address).mapValues { Set($0.map(\.name)).sorted() }
        return names.filter { $1.count > 1 }.map { .addressShared($0, hosts: $1) }
    }
}

/// All records that speak of one service, and what they come to.
///
/// It never changes; states of the registry share it, so that what did not change is not put together again.
final class ServiceRecords: Sendable {
    /// The records by key.
    let records: [[UInt8]: RegistryRecord]
    /// The service; nil where it has no instance, or the records are not of one.
    let service: Catalog.Service?
    /// Its claim of a port.
    let claim: Catalog.Claim?
    /// The hosts that have registered its instances.
    let hosts: Set<RegisteringHost>
    /// Whether it has no instance, and one was withdrawn a moment ago.
    let isLeaving: Bool
    /// What was wrong, and left out.
    let problems: Set<Diagnostic>

    /// Puts records together, whatever order they come in.
    ///
    /// - Parameter name: the service that they speak of; nil for those of which that is not known.
    init(_ records: [[UInt8]: RegistryRecord], of name: ServiceName?) {
        self.records = records
        var parts = Parts()
        for record in records.values { parts.take(record) }
        (claim, hosts) = (parts.claim, parts.hosts)
        let service = name.flatMap { parts.service($0, records) }
        self.service = service
        isLeaving = service == nil && parts.tellsWithdrawal
        var problems = parts.problems
        if let mixture = service?.mixture { problems.insert(mixture) }
        self.problems = problems
    }

    /// The records, sorted by what they are.
    private struct Parts {
        private static func loopback(_ record: RegistryRecord) -> Diagnostic {
            .badValue(
                key: Diagnostic.excerpt(record.keyValue.key, longest: 320),
                value: Diagnostic.excerpt(record.keyValue.value),
                expected: "an address of the container's host: a loopback address is each client host's own")
        }

        private(set) var problems: Set<Diagnostic> = []
        private(set) var claim: Catalog.Claim?
        private(set) var hosts: Set<RegisteringHost> = []
        private(set) var tellsWithdrawal = false
        private var config = ServiceConfig()
        private var port: Port?
        private var metas: [InstanceID: RegistryRecord] = [:]
        private var configs: [InstanceID: Interned<ServiceOptions>] = [:]

        mutating func take(_ record: RegistryRecord) {
            problems.formUnion(record.problems)
            switch record.content {
            case .meta(_, let id, let meta):
                metas[id] = record
                // What was withdrawn has a host too, which may since have another address.
                if let host = meta.host?.value, !meta.isWithdrawn { hosts.insert(host) }
                tellsWithdrawal = tellsWithdrawal || meta.isWithdrawn
            case .endpointConfig(_, let id, let config): configs[id] = Interned(config.options)
            case .config(_, let config): self.config = config
            case .port(_, let port): self.port = port
            case .claim(_, let claim):
                self.claim = Catalog.Claim(claim: claim, revision: record.keyValue.modRevision)
            case .entry, .route, .nothing: break
            }
        }

        mutating func service(_ name: ServiceName, _ records: [[UInt8]: RegistryRecord]) -> Catalog.Service? {
            var instances: [Catalog.Instance] = []
            for record in records.values {
                guard case .entry(_, let id, let endpoint) = record.content else { continue }
                let instance = Catalog.Instance(
                    id: id, endpoint: endpoint, entry: record, meta: metas[id], config: configs[id])
                if instance.isOfAgent, endpoint.address.isLoopback {
                    // People may mean each client host's own; an agent cannot.
                    problems.insert(Self.loopback(record))
                } else {
                    instances.append(instance)
                }
            }
            guard !instances.isEmpty else { return nil }
            return Catalog.Service(
                name: name, instances: instances.sorted { $0.id < $1.id }, config: config, port: port)
        }
    }
}

extension Catalog.Service {
    /// The problem of being fed by several repositories, such as `a/web` and `b/web`.
    fileprivate var mixture: Diagnostic? {
        let first = instances.first?.repository
        guard instances.contains(where: { $0.repository != first }) else { return nil }
        let repositories = Set(instances.compactMap(\.repository))
        return repositories.count > 1 ? .repositoriesDiffer(name, repositories: repositories.sorted()) : nil
    }
}
