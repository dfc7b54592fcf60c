import Shared

/// docker-register: keeps one host's running containers in the registry, and what its services file says.
///
/// One loop owns the lease and knows what is published. Watchers hand it the newest list of containers or ring its
/// bell: the source of containers, the watcher of the registry, and the clocks. Each turn of the loop renews the lease
/// if that is due, compares what should be with what is, and carries out the difference. What was not carried out is a
/// difference again at the next turn, so a retry is the same code as a first try.
struct RegisterAgent: ~Copyable {
    /// Why the loop turns.
    enum Reason: Hashable {
        case containers
        case hangup
        case lease
        case registry
        case retry
    }

    private let configuration: RegisterConfiguration
    private let registry: EtcdRegistry
    /// Nil on a host without an engine.
    private let source: Docker.ContainerSource?
    private let logger: Logger

    private let bell: Doorbell<Reason>
    private let newest = Latest<Docker.Look>()
    private var publisher: Publisher
    private var plainKeys: PlainKeys
    private var statics: StaticEntries?
    /// What the engine said last; nil where it has said nothing yet.
    private var look: Docker.Look?
    private var remarks: Set<Services.Remark> = []

    /// Connects to the engine, which has to answer.
    ///
    /// - Parameter bell: rung for ``Reason/hangup`` when the services file is to be read again.
    init(
        _ configuration: RegisterConfiguration, _ http: HTTPClient, _ bell: Doorbell<Reason>, logger: Logger
    ) async throws {
        let limit = configuration.deadline
        var engine: Docker.Client?
        if let docker = configuration.docker {
            engine = try await Docker.Client.connect(http, docker, deadline: limit)
        }
        let owner = Owner(try await engine?.identity() ?? HostIdentity.read(), configuration.hostAddress)
        let etcd = Etcd.Client(http, configuration.etcd, first: Int.random(in: 0..<1024))
        registry = EtcdRegistry(etcd: etcd, keyspace: configuration.keyspace, deadline: limit)
        publisher = Publisher(registry, owner, ttl: configuration.ttl, logger: logger)
        plainKeys = PlainKeys(registry, logger: logger)
        statics = configuration.services
        source = configuration.docker.map { docker in
            Docker.ContainerSource(http, docker, deadline: limit, resync: configuration.resync, logger: logger)
        }
        look = source == nil ? Docker.Look(containers: []) : nil
        self.bell = bell
        self.configuration = configuration
        self.logger = logger
        logger.info(
            "docker-register started",
            [
                "version": Version.current, "host": owner.host, "host_ip": owner.address, "owner": owner.text,
                "engine": configuration.docker?.name ?? "none", "api": engine?.version,
                "prefix": configuration.keyspace.prefix, "services_file": statics?.path,
            ])
    }

    /// Works until the task is cancelled.
    mutating func run() async throws {
        let (bell, newest, source) = (bell, newest, source)
        let watcher = RegistryWatcher(registry, publisher.expectation, logger: logger)
        let (ttl, resync) = (configuration.ttl, configuration.resync)
        try await withThrowingTaskGroup { group in
            if let source {
                group.addTask {
                    try await source.run {
                        newest.put($0)
                        bell.ring(.containers)
                    }
                }
            }
            group.addTask { try await watcher.run { bell.ring(.registry) } }
            group.addTask { try await bell.ring(.lease, every: ttl / 3) }
            group.addTask { try await bell.ring(.registry, every: resync) }
            defer { group.cancelAll() }
            decide()
            bell.ring(.lease)
            try await loop()
        }
    }

    private mutating func loop() async throws {
        // Short, so that everything is right again within a second of etcd's return.
        var backoff = Backoff(first: .milliseconds(50), limit: .milliseconds(300))
        var isLost = false
        while let reasons = await bell.answer() {
            if reasons.contains(.hangup) { statics?.readAgain(owner: publisher.owner, logger: logger) }
            let look = newest.take()
            if let look { self.look = look }
            if look != nil || reasons.contains(.hangup) { decide() }
            do {
                if reasons.contains(.registry) { publisher.doubt() }
                if reasons.contains(.lease) { publisher.renewalIsDue() }
                if !reasons.isDisjoint(with: [.lease, .registry]) { plainKeys.doubt() }
                try await publish()
                if isLost { logger.info("etcd is back") }
                isLost = false
                backoff.reset()
            } catch {
                try Task.checkCancellation()
                if !isLost { tell(error) }
                isLost = true
                try await Task.sleep(for: backoff.next())
                bell.ring(.retry)
            }
        }
        throw CancellationError()
    }

    private mutating func publish() async throws {
        try await publisher.publish()
        guard let lease = publisher.leaseID else { return }
        do {
            try await plainKeys.publish(under: lease)
        } catch let error as Etcd.Error where error.isLeaseGone {
            publisher.renewalIsDue()
            throw error
        }
    }

    private func tell(_ error: any Error) {
        if Etcd.needsPerson(error) {
            logger.error("etcd refuses; trying again", ["error": "\(error)"])
        } else {
            logger.warning("etcd is lost; trying again", ["error": "\(error)"])
        }
    }

    /// Decides what should be there, from what the engine and the services file said last.
    private mutating func decide() {
        let owner = publisher.owner
        let services = Services(of: look?.containers ?? [], owner: owner, rules: configuration.rules)
        tell(services.remarks)
        let statics = self.statics?.file.registrations(by: owner, zone: configuration.rules.zone) ?? [:]
        // Before the engine has said anything, there may be entries of containers to take over.
        if look != nil || self.statics != nil {
            publisher.desire(
                services.registrations.merging(statics) { container, _ in container },
                running: look.map { Set($0.containers.map(\.id)) }, unreadable: look?.unreadable ?? [])
        }
        plainKeys.desire(self.statics?.file.plainKeys(of: owner) ?? [:])
    }

    /// Tells what was not told before.
    private mutating func tell(_ remarks: Set<Services.Remark>) {
        for remark in remarks.subtracting(self.remarks).sorted(by: {
            ($0.container, $0.text) < ($1.container, $1.text)
        }) {
            if remark.isWarning {
                logger.warning("container needs attention", ["container": remark.container, "reason": remark.text])
            } else {
                logger.info("container is left out", ["container": remark.container, "reason": remark.text])
            }
        }
        self.remarks = remarks
    }
}
