import Shared

/// What a docker-register would know, found out once from the engine and etcd; it only reads.
struct Examination: Sendable {
    private let configuration: RegisterConfiguration
    private let http: HTTPClient
    private let logger: Logger

    /// What was found.
    struct Finding: Sendable {
        /// What is known, as an agent would know it.
        var snapshot: Snapshot
        /// What should be in the registry.
        var desired: [Slot: Registration]
        /// Why containers that run have no entries.
        var reasons: [InstanceID: String]
        /// What the engine has.
        var look: Docker.Look
    }

    /// Prepares to ask.
    init(_ configuration: RegisterConfiguration, _ http: HTTPClient, logger: Logger) {
        self.configuration = configuration
        self.http = http
        self.logger = logger
    }

    /// Asks the engine, which has to answer, and etcd, which need not.
    func find() async throws -> Finding {
        let limit = configuration.deadline
        let engine = try await Docker.Client.connect(http, configuration.docker, deadline: limit)
        let owner = Owner(try await engine.identity(), configuration.hostAddress)
        let source = Docker.ContainerSource(
            http, configuration.docker, deadline: limit, resync: configuration.resync, logger: logger)
        let look = try await source.once(engine)
        let etcd = Etcd.Client(http, configuration.etcd)
        let registry = EtcdRegistry(etcd: etcd, keyspace: configuration.keyspace, deadline: limit)
        var drains = Drains(registry, owner, logger: logger)
        var snapshot = Snapshot(configuration, owner, engine, agent: nil)
        do {
            try await drains.learn()
        } catch {
            snapshot.store.trouble = Snapshot.Trouble(error)
        }
        drains.keepOnly(look)
        let services = Services(
            of: look.containers, owner: owner, rules: configuration.rules, drained: drains.ids)
        snapshot.verdicts = services.verdicts + look.idle.map { Verdict(on: $0) }
        if snapshot.store.trouble == nil {
            do {
                snapshot.published = try await published(services.registrations, owner, registry)
            } catch {
                snapshot.store.trouble = Snapshot.Trouble(error)
            }
        }
        return Finding(
            snapshot: snapshot, desired: services.registrations, reasons: services.reasons, look: look)
    }

    /// What etcd has of ours, and where our entries should be.
    private func published(
        _ desired: [Slot: Registration], _ owner: Owner, _ registry: EtcdRegistry
    ) async throws -> [Slot: Published] {
        // No lease is ours: which one holds them does not matter here.
        let ours = try await registry.entries(ownedBy: owner.text, lease: 0)
        let others = try await registry.read(desired.keys.filter { ours[$0] == nil }.sorted(), lease: 0)
        return ours.merging(others) { ours, _ in ours }
    }
}
