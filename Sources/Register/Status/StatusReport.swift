import Shared

/// What `status` shows, as `--json` prints it.
///
/// docs/status.md documents every field; fields that are not known are left out.
struct StatusReport: Encodable, Equatable, Sendable {
    /// docker-register itself.
    struct Agent: Encodable, Equatable, Sendable {
        /// Of the program that answers.
        var version: String
        /// Whether an agent answers; otherwise engine and etcd were asked directly.
        var running: Bool
        /// Its process id.
        var process: Int32?
        /// Since when it runs.
        var started: String?
        /// The docker-register that registers instead, while this one stands by.
        var standsByFor: String?
        /// The owner in the metas of its entries.
        var owner: String
        /// The host's name.
        var host: String
        /// `HOST_IP`.
        var address: String
        /// What may be wrong with `HOST_IP`.
        var warnings: [String]
    }

    /// The Docker Engine.
    struct Engine: Encodable, Equatable, Sendable {
        /// `DOCKER_HOST`.
        var address: String
        /// The API version that is spoken.
        var api: String
        /// Since when, and why, it does not answer.
        var lost: ErrorRecord?
    }

    /// etcd.
    struct Store: Encodable, Equatable, Sendable {
        /// `ETCD_HOST`.
        var members: [String]
        /// What all keys begin with.
        var prefix: String
        /// What the entries go with.
        var lease: Lease?
        /// Since when, and why, it does not answer.
        var lost: ErrorRecord?
        /// What failed last, also if it is over.
        var lastError: ErrorRecord?
    }

    /// The agent's lease.
    struct Lease: Encodable, Equatable, Sendable {
        /// As etcdctl writes it.
        var id: String
        /// In seconds.
        var ttl: Int64
    }

    /// docker-register itself.
    var agent: Agent
    /// The Docker Engine; nil on a host without one.
    var engine: Engine?
    /// etcd.
    var etcd: Store
    /// The containers of this host, by name.
    var containers: [ContainerReport]
    /// What the services file says, by service and id; `port` is left out.
    var services: [ContainerReport.Entry]
    /// Keys of ours whose containers are gone.
    var leftovers: [String]

    /// Makes the report of what is known.
    init(_ snapshot: Snapshot) {
        let owner = snapshot.owner
        agent = Agent(
            version: Version.current, running: snapshot.agent != nil, process: snapshot.agent?.process,
            started: snapshot.agent?.started, standsByFor: snapshot.leader, owner: owner.text, host: owner.host,
            address: owner.address.text,
            warnings: [snapshot.addressWarning].compactMap(\.self) + snapshot.addressConflicts)
        engine = snapshot.engine.map {
            Engine(address: $0.address, api: $0.api, lost: $0.trouble)
        }
        let store = snapshot.store
        etcd = Store(
            members: store.members, prefix: store.keyspace.prefix,
            lease: store.lease.map { Lease(id: $0.text, ttl: $0.ttl) },
            lost: store.trouble, lastError: store.lastTrouble)
        let desired = snapshot.desired
        containers = desired.decisions.map { ContainerReport($0, snapshot) }
            .sorted { ($0.name, $0.id) < ($1.name, $1.id) }
        services = desired.services.sorted { $0.key < $1.key }.map {
            ContainerReport.Entry($0.value, port: nil, snapshot)
        }
        let known = Set(desired.decisions.map(\.subject.id))
        leftovers = (snapshot.registered ?? [:]).filter { id, entry in
            entry.value != nil && !known.contains(id.id) && desired.services[id] == nil
        }
        .keys.sorted().map { store.keyspace.text(of: .entry($0.service, $0.id)) }
    }
}

/// What `why` shows of a service of the services file, as `--json` prints it.
struct ServicesFileReport: Encodable, Equatable, Sendable {
    /// Its instances, by service and id.
    var services: [ContainerReport.Entry]
}
