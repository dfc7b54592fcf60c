import Shared

/// What a docker-register would know, found out once from the engine and etcd; it only reads.
struct OfflineCollector: Sendable {
    private let configuration: RegisterSettings
    private let http: HTTPClient
    private let logger: Logger

    /// What was found.
    struct Finding: Sendable {
        /// What is known, as an agent would know it.
        var snapshot: Snapshot
        /// What should be in the registry.
        var desired: [EntryID: DesiredEntry]
        /// Why containers that run have no entries.
        var reasons: [InstanceID: String]
        /// Why single entries may not be there.
        var obstacles: [EntryID: NotReadyReason]
        /// What the engine has.
        var look: Docker.ContainerList
        /// The plain keys that are missing or have another value, with the value that they should have.
        var plainKeys: [String: [UInt8]]
    }

    /// Prepares to ask.
    init(_ configuration: RegisterSettings, _ http: HTTPClient, logger: Logger) {
        self.configuration = configuration
        self.http = http
        self.logger = logger
    }

    /// Asks the engine, which has to answer where there is one, and etcd, which need not.
    func find() async throws -> Finding {
        let limit = configuration.deadline
        var engine: Docker.Client?
        var look = Docker.ContainerList(containers: [])
        if let docker = configuration.docker {
            let client = try await Docker.Client.connect(http, docker, deadline: limit)
            look = try await Docker.ContainerWatcher(
                http, docker, deadline: limit, resync: configuration.resync, logger: logger
            ).once(client)
            engine = client
        }
        let whereabouts = try await HostMonitor(
            configuration.hostAddress, members: configuration.etcd.endpoints, engine, at: configuration.docker,
            deadline: limit, interval: configuration.ttl / 3, waits: false, logger: logger)
        let owner = Owner(try await engine?.identity() ?? HostIdentity.read(), whereabouts.address)
        let etcd = Etcd.Client(http, configuration.etcd)
        let registry = EntryStore(etcd: etcd, keyspace: configuration.keyspace, deadline: limit)
        var drains = Drains(registry, owner, logger: logger)
        var snapshot = Snapshot(
            owner, engine, at: configuration.docker?.name, members: configuration.etcd.endpoints,
            configuration.keyspace, agent: nil)
        do {
            try await drains.learn(look)
        } catch {
            snapshot.store.trouble = ErrorRecord(error)
        }
        drains.keepOnly(look)
        let file = configuration.services?.file
        let decide = { [look, ids = drains.ids] listeners in
            DesiredEntries(
                of: look.containers, statics: file?.services ?? [], owner: owner, rules: configuration.rules,
                drained: ids, listeners: listeners, unreadable: look.unreadable)
        }
        let services = decide(try await whereabouts.listeners(on: decide(ListeningPorts()).awaited))
        look.unreadable.formUnion(services.undecided)
        var plainKeys = file?.plainKeys(of: owner) ?? [:]
        if snapshot.store.trouble == nil {
            do {
                snapshot.published = try await published(services.registrations, owner, registry)
                let found = try await HostKeys.read(plainKeys.keys.sorted(), registry)
                plainKeys = plainKeys.filter { found[$0]?.value != $1 }
            } catch {
                snapshot.store.trouble = ErrorRecord(error)
            }
        }
        let admission = await admission(services, snapshot.published ?? [:], look)
        snapshot.verdicts = admission.verdicts + look.idle.map { ContainerDecision(on: $0) }
        snapshot.statics = services.statics
        snapshot.obstacles = admission.obstacles
        return Finding(
            snapshot: snapshot, desired: admission.registrations, reasons: services.reasons,
            obstacles: admission.obstacles, look: look, plainKeys: plainKeys)
    }

    /// Which entries an agent that starts now would let in: those that stand, and those that pass one check.
    private func admission(
        _ services: DesiredEntries, _ published: [EntryID: RegisteredEntry], _ look: Docker.ContainerList
    ) async -> Admission {
        let standing = published.compactMapValues(CurrentEntry.init)
        let first = Admission(of: services, standing: standing, unreadable: look.unreadable, checks: [:])
        let unknown = first.targets.filter { !$0.value }.keys.map(\.self)
        var checks: [CheckTarget: CheckResult] = [:]
        for start in stride(from: 0, to: unknown.count, by: RegistrationChecker.room) {
            let chunk = unknown[start..<min(start + RegistrationChecker.room, unknown.count)]
            await withTaskGroup { group in
                for target in chunk { group.addTask { (target, await http.failure(of: target)) } }
                for await (target, failure) in group { checks[target] = failure.map { .failing($0) } ?? .passing }
            }
        }
        return Admission(of: services, standing: standing, unreadable: look.unreadable, checks: checks)
    }

    /// What etcd has of ours, and where our entries should be.
    private func published(
        _ desired: [EntryID: DesiredEntry], _ owner: Owner, _ registry: EntryStore
    ) async throws -> [EntryID: RegisteredEntry] {
        // No lease is ours: which one holds them does not matter here.
        let ours = try await registry.entries(ownedBy: owner.text, lease: 0)
        let others = try await registry.read(desired.keys.filter { ours[$0] == nil }.sorted(), lease: 0)
        return ours.merging(others) { ours, _ in ours }
    }
}
