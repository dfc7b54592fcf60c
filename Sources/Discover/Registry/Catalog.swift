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
        private let said: RegistryRecord?

        /// Makes one of its records.
        init(id: InstanceID, endpoint: Endpoint, entry: RegistryRecord, meta: RegistryRecord?) {
            (self.id, self.endpoint, self.entry, said) = (id, endpoint, entry, meta)
            if case .meta(_, _, let meta)? = meta?.content {
                options = meta.options
            } else {
                options = ServiceOptions.unsaid
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
    let problems: Set<Problem>

    /// How many instances there are.
    var instanceCount: Int { services.reduce(0) { $0 + $1.instances.count } }

    /// Puts what is known of each service together.
    init(_ state: RegistryState) {
        services = state.groups.values.compactMap(\.service).sorted { $0.name < $1.name }
        var claims: [ServiceName: Claim] = [:]
        var problems: Set<Problem> = []
        for (name, group) in state.groups {
            if let name, let claim = group.claim { claims[name] = claim }
            problems.formUnion(group.problems)
        }
        (self.claims, self.problems) = (claims, problems)
    }
}
