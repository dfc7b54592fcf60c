import Shared

/// Finds out once, from the engine and etcd, what a docker-register would know; it only reads.
struct OfflineCollector: Sendable {
    private let configuration: RegisterSettings
    private let http: HTTPClient
    private let logger: Logger

    /// Prepares to ask.
    init(_ configuration: RegisterSettings, _ http: HTTPClient, logger: Logger) {
        self.configuration = configuration
        self.http = http
        self.logger = logger
    }

    /// Asks the engine, which has to answer where there is one, and etcd, which need not.
    ///
    /// What is not registered and has a check of the agent's own is checked once.
    func snapshot() async throws -> Snapshot {
        let limit = configuration.deadline
        var engine: Docker.Client?
        var containers = Docker.ContainerList(containers: [])
        if let docker = configuration.docker {
            let client = try await Docker.Client.connect(http, docker, deadline: limit)
            containers = try await Docker.ContainerWatcher(
                http, docker, deadline: limit, resync: configuration.resync, logger: logger
            ).once(client)
            engine = client
        }
        let host = try await HostMonitor(
            configuration.hostAddress, members: configuration.etcd.members, engine, at: configuration.docker,
            deadline: limit, interval: configuration.ttl / 3, waits: false, logger: logger)
        let owner = Owner(try await engine?.identity() ?? HostIdentity.read(), host.address)
        var inputs = Inputs(
            owner: owner, policy: configuration.rules, containers: containers, services: configuration.services)
        var snapshot = Snapshot(
            owner, engine, at: configuration.docker?.name, members: configuration.etcd.members.names,
            configuration.keyspace, agent: nil)
        let etcd = Etcd.Client(http, configuration.etcd)
        let registry = EntryStore(etcd: etcd, keyspace: configuration.keyspace, deadline: limit)
        snapshot.addressWarning = host.warning
        let services = inputs.services?.file.entries(by: owner, zone: nil) ?? [:]
        let drains = await drains(containers, Set(services.keys.map(\.id)), owner, registry, &snapshot)
        inputs.listeningPorts = try await host.listeningPorts(
            among: Desired(inputs, drains: drains, current: nil).listeningPorts)
        await readRegistry(Desired(inputs, drains: drains, current: nil), owner, registry, &snapshot)
        let current = (snapshot.registered ?? [:]).compactMapValues(CurrentEntry.init)
        let unchecked = Desired(inputs, drains: drains, current: current)
        let results = await results(of: unchecked.checks.filter { !$0.value }.keys.map(\.self))
        snapshot.desired = Desired(inputs, drains: drains, checks: results, current: current)
        return snapshot
    }

    /// The containers that are drained.
    private func drains(
        _ containers: Docker.ContainerList, _ services: Set<InstanceID>, _ owner: Owner, _ registry: EntryStore,
        _ snapshot: inout Snapshot
    ) async -> Set<InstanceID> {
        var drains = Drains(registry, owner, logger: logger)
        do {
            try await drains.load()
        } catch {
            snapshot.store.trouble = ErrorRecord(error)
        }
        drains.accept(containers, services: services)
        return drains.ids
    }

    /// Reads what etcd has of ours, and where our entries and plain keys should be.
    private func readRegistry(
        _ desired: Desired, _ owner: Owner, _ registry: EntryStore, _ snapshot: inout Snapshot
    ) async {
        guard snapshot.store.trouble == nil else { return }
        do {
            // No lease is ours: which one holds them does not matter here.
            let ours = try await registry.entries(ownedBy: owner.text, lease: 0)
            let others = try await registry.read(desired.entries.keys.filter { ours[$0] == nil }.sorted(), lease: 0)
            snapshot.registered = ours.merging(others) { ours, _ in ours }
            snapshot.hostKeys = try await HostKeys.read(desired.hostKeys.keys.sorted(), registry).mapValues(\.value)
        } catch {
            snapshot.store.trouble = ErrorRecord(error)
        }
    }

    /// Checks each target once.
    private func results(of targets: [CheckTarget]) async -> [CheckTarget: CheckResult] {
        var results: [CheckTarget: CheckResult] = [:]
        for start in stride(from: 0, to: targets.count, by: RegistrationChecker.room) {
            let chunk = targets[start..<min(start + RegistrationChecker.room, targets.count)]
            await withTaskGroup { group in
                for target in chunk { group.addTask { (target, await http.failure(of: target)) } }
                for await (target, failure) in group { results[target] = failure.map { .failing($0) } ?? .passing }
            }
        }
        return results
    }
}
