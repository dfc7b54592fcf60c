import FoundationEssentials
import Shared

/// Which containers and instances of the services file are drained, kept in etcd so that it outlives the agent.
///
/// The loop that owns it is the one place where drains change; etcd is brought to what it says.
struct Drains {
    /// One drained container: the JSON value at `<prefix>-drained/<container>`.
    struct Drain: Codable, Equatable, Sendable {
        /// The container's name, for people.
        var container: String
        /// When the container started: another life of it is not drained.
        var started: String
        /// Whose container it is.
        var owner: String
        /// When it was drained, RFC 3339.
        var at: String
    }

    private let registry: EntryStore
    private var owner: Owner
    private let logger: Logger
    private var wanted: [InstanceID: Drain] = [:]
    /// What etcd had at the start, until it is known which of these are this host's.
    private var loaded: [InstanceID: Drain]?
    /// What etcd has of this host's; nil until that is known.
    private var stored: [InstanceID: Drain]?
    /// The containers whose withdrawal every docker-discover is asked to confirm.
    private(set) var toConfirm: Set<InstanceID> = []
    private var isRefused = false

    /// Begins without knowing any.
    init(_ registry: EntryStore, _ owner: Owner, logger: Logger) {
        self.registry = registry
        self.owner = owner
        self.logger = logger
    }

    /// Gives the host another address; its drains go on.
    mutating func move(to owner: Owner) {
        self.owner = owner
        wanted = wanted.mapValues { drain in
            var drain = drain
            drain.owner = owner.text
            return drain
        }
    }

    /// What is drained, of what runs; until the engine has listed its containers, all that was.
    var ids: Set<InstanceID> { Set(wanted.keys).union((loaded ?? [:]).keys) }

    /// When a container was drained; nil where it is not.
    func since(_ id: InstanceID) -> String? { wanted[id]?.at }

    /// Drains a container.
    ///
    /// - Parameter isConfirmed: whether every docker-discover is asked to confirm the withdrawal.
    mutating func drain(_ container: Docker.Container, at time: String, confirmed isConfirmed: Bool = false) {
        drain(container.id, container.name, started: container.started, at: time, confirmed: isConfirmed)
    }

    /// Drains an instance of the services file, which has no time of start.
    mutating func drain(
        _ id: InstanceID, of service: ServiceName, at time: String, confirmed isConfirmed: Bool = false
    ) {
        drain(id, service.text, started: "", at: time, confirmed: isConfirmed)
    }

    private mutating func drain(
        _ id: InstanceID, _ name: String, started: String, at time: String, confirmed isConfirmed: Bool
    ) {
        if isConfirmed { toConfirm.insert(id) }
        guard wanted[id]?.started != started else { return }
        wanted[id] = Drain(container: name, started: started, owner: owner.text, at: time)
    }

    /// Ends a drain.
    mutating func undrain(_ id: InstanceID) { wanted[id] = nil }

    /// Says that what is drained is withdrawn: a later withdrawal has its own reason, and nobody to confirm it.
    mutating func applied() { toConfirm = [] }

    /// Whether a drain is about the life that a container of this host has now, or may go on with.
    private static func `is`(_ drain: Drain, of id: InstanceID, in list: Docker.ContainerList) -> Bool {
        if let container = list.containers.first(where: { $0.id == id }) { return container.started == drain.started }
        return list.idle.contains { $0.mayGoOn && $0.subject.id == id }
    }

    /// Whether a drain is about an instance that this host's services file still lists.
    private func isOfFile(_ drain: Drain, _ id: InstanceID, _ services: Set<InstanceID>) -> Bool {
        drain.started.isEmpty && services.contains(id) && drain.owner.hasPrefix("\(owner.engine)@")
    }

    /// Reads what etcd has, once at the start.
    ///
    /// A role that may not read it costs only that drains end with the agent.
    mutating func load() async throws {
        do {
            loaded = try await read()
        } catch Etcd.Error.refused(.permissionDenied, let message) {
            loaded = [:]
            logger.warning(
                "no permission to read drains",
                ["keys": registry.keyspace.drained, "error": message])
            isRefused = true
        }
    }

    /// Applies a newer list of containers; the drains of those that ended or were started anew are over.
    ///
    /// With the first one it is known whose the loaded drains are: one that an agent of this host left under another
    /// `HOST_IP`, or another id of the engine, is recognized by the container's id and start.
    ///
    /// - Parameter services: the instances of the services file.
    mutating func accept(_ list: Docker.ContainerList, services: Set<InstanceID> = []) {
        if let found = loaded {
            let ours = found.filter { id, drain in
                drain.owner == owner.text || Self.is(drain, of: id, in: list) || isOfFile(drain, id, services)
            }
            (loaded, stored) = (nil, ours)
            wanted.merge(ours) { mine, _ in mine }
            // What an agent of another address left is this one's from now on, also to take away.
            move(to: owner)
        }
        wanted = wanted.filter { id, drain in Self.is(drain, of: id, in: list) || isOfFile(drain, id, services) }
    }

    private mutating func reread() async throws {
        guard stored != nil else { return }
        do {
            stored = try await read().filter { id, drain in drain.owner == owner.text || wanted[id] != nil }
        } catch Etcd.Error.refused(.permissionDenied, _) {}
    }

    private func read() async throws -> [InstanceID: Drain] {
        let folder = registry.keyspace.drained
        let listing = try await registry.etcd.range(prefix: folder, deadline: registry.deadline)
        var found: [InstanceID: Drain] = [:]
        for keyValue in listing.keyValues {
            let name = String(decoding: keyValue.key.dropFirst(folder.utf8.count), as: UTF8.self)
            guard let id = InstanceID(name),
                let drain = try? JSONDecoder().decode(Drain.self, from: Data(keyValue.value))
            else { continue }
            found[id] = drain
        }
        return found
    }

    /// Brings etcd's copy to what is wanted.
    ///
    /// A role that may not write it costs only that drains end with the agent.
    ///
    /// - Parameter rereading: whether somebody else may have changed it.
    mutating func store(rereading: Bool = false) async throws {
        if rereading { try await reread() }
        guard let known = stored, known != wanted else { return }
        do {
            try await write(besides: known)
        } catch Etcd.Error.refused(.permissionDenied, let message) {
            guard !isRefused else { return }
            isRefused = true
            logger.warning(
                "no permission to store drains; they end with this agent",
                ["keys": registry.keyspace.drained, "error": message])
        }
    }

    private mutating func write(besides known: [InstanceID: Drain]) async throws {
        for (id, drain) in wanted where known[id] != drain {
            try await commit(.put(key: key(id), value: [UInt8](try JSONEncoder().encode(drain)), lease: 0))
            stored?[id] = drain
        }
        for id in known.keys where wanted[id] == nil {
            try await commit(.delete(key: key(id)))
            stored?[id] = nil
        }
    }

    private func commit(_ operation: Etcd.Transaction.Operation) async throws {
        _ = try await registry.etcd.commit(Etcd.Transaction([operation]), deadline: registry.deadline)
    }

    private func key(_ id: InstanceID) -> String { registry.keyspace.drained + id.text }
}
