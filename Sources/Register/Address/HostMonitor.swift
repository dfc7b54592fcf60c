import Shared

/// What the agent has to know of its host besides the containers: the address under which others reach it, and where
/// its programs listen.
struct HostMonitor: Sendable {
    /// What `HOST_IP` was at the start.
    let address: IPAddress
    /// That `HOST_IP` is on no interface of this host, as far as that can be seen; nil where it is.
    let warning: String?

    private let lookup: HostAddressLookup
    private let listenerWatch: ListeningPortMonitor
    private let newestAddress = LatestValue<IPAddress>()
    private let newestListeners = LatestValue<ListeningPorts>()
    private let interval: Duration
    private let logger: Logger

    /// What has become known.
    struct News: Sendable {
        /// The host's address, where that has changed.
        var address: IPAddress?
        /// Where programs listen, where that has changed.
        var listeners: ListeningPorts?

        /// Whether there is any.
        var isEmpty: Bool { address == nil && listeners == nil }
    }

    /// Finds out the host's address.
    ///
    /// - Parameters:
    ///   - setting: `HOST_IP`.
    ///   - members: those of etcd, for `HOST_IP=auto`.
    ///   - origin: where the engine is; nil on a host without one.
    ///   - deadline: of each lookup.
    ///   - interval: between two lookups.
    ///   - waits: whether that may take as long as it takes.
    /// - Throws: what cannot come right by itself, or soon, and what the engine failed with.
    init(
        _ setting: HostAddress, members: Etcd.Members, _ engine: Docker.Client?, at origin: HTTPOrigin?,
        deadline: Duration, interval: Duration, waits: Bool = true, logger: Logger
    ) async throws {
        let interfaces = try HostAddressLookup.interfaces()
        let signs = AgentPlacement.Evidence.read()
        var containers: [Docker.Listed] = []
        if signs.isInContainer, let engine { containers = try await Self.containers(of: engine, with: signs) }
        let placement = AgentPlacement(signs, among: containers, interfaces)
        lookup = HostAddressLookup(
            setting: setting, placement: placement, members: members, engine: origin, deadline: deadline)
        listenerWatch = ListeningPortMonitor(lookup.isOnHost(interfaces) ? .table : .connections, logger: logger)
        self.interval = interval
        self.logger = logger
        address = try await waits ? lookup.first(logger: logger) : lookup.lookUp()
        warning = lookup.warning(of: address, interfaces)
    }

    /// All containers, this process's own one among them as the engine sees it once it runs.
    ///
    /// A container's program may ask before the engine's list has it running, and in its networks: at most a second.
    private static func containers(
        of engine: Docker.Client, with signs: AgentPlacement.Evidence
    ) async throws -> [Docker.Listed] {
        for _ in 0..<20 {
            let all = try await engine.list(all: true)
            guard let own = all.first(where: { signs.isSelf($0.id) }), !own.isRunning else { return all }
            try await Task.sleep(for: .milliseconds(50))
        }
        return try await engine.list(all: true)
    }

    /// Where programs listen now, of the ports that matter.
    func listeningPorts(among ports: Set<Port>) async throws -> ListeningPorts {
        ports.isEmpty ? ListeningPorts() : try await listenerWatch.once(ports, at: address)
    }

    /// Follows both until the task is cancelled; `ring` is called when there are news.
    func run(ring: @escaping @Sendable () -> Void) async throws {
        try await withThrowingTaskGroup { group in
            group.addTask {
                try await listenerWatch.run { listeners in
                    newestListeners.put(listeners)
                    ring()
                }
            }
            if lookup.setting.isLookedUp {
                group.addTask {
                    try await lookup.follow(from: address, every: interval, logger: logger) { address in
                        newestAddress.put(address)
                        ring()
                    }
                }
            }
            defer { group.cancelAll() }
            try await group.waitForAll()
        }
    }

    /// What is new since the last time.
    func take() -> News { News(address: newestAddress.take(), listeners: newestListeners.take()) }

    /// Says on which ports of the host it matters from now on whether something listens.
    func watch(_ ports: Set<Port>, at address: IPAddress) { listenerWatch.watch(ports, at: address) }
}
