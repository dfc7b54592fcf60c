import Shared

/// docker-register: keeps one host's running containers in the registry.
///
/// One loop owns the lease and knows what is published. Watchers hand it the newest list of containers or ring its
/// bell: the source of containers, the watcher of the registry, and the clocks. Each turn of the loop renews the lease
/// if that is due, compares what should be with what is, and carries out the difference. What was not carried out is a
/// difference again at the next turn, so a retry is the same code as a first try.
struct RegisterAgent: ~Copyable {
    /// Why the loop turns.
    private enum Reason: Hashable {
        case containers
        case lease
        case registry
        case retry
    }

    private let configuration: RegisterConfiguration
    private let registry: EtcdRegistry
    private let source: Docker.ContainerSource
    private let logger: Logger

    private let bell = Doorbell<Reason>()
    private let newest = Latest<Docker.Look>()
    private var publisher: Publisher
    private var remarks: Set<Services.Remark> = []

    /// Connects to the engine, which has to answer.
    init(_ configuration: RegisterConfiguration, _ http: HTTPClient, logger: Logger) async throws {
        let limit = configuration.deadline
        let engine = try await Docker.Client.connect(http, configuration.docker, deadline: limit)
        let owner = Owner(try await engine.identity(), configuration.hostAddress)
        let etcd = Etcd.Client(http, configuration.etcd, first: Int.random(in: 0..<1024))
        registry = EtcdRegistry(etcd: etcd, keyspace: configuration.keyspace, deadline: limit)
        publisher = Publisher(registry, owner, ttl: configuration.ttl, logger: logger)
        source = Docker.ContainerSource(
            http, configuration.docker, deadline: limit, resync: configuration.resync, logger: logger)
        self.configuration = configuration
        self.logger = logger
        logger.info(
            "docker-register started",
            [
                "version": Version.current, "host": owner.host, "host_ip": owner.address, "owner": owner.text,
                "engine": configuration.docker.name, "api": engine.version, "prefix": configuration.keyspace.prefix,
            ])
    }

    /// Works until the task is cancelled.
    mutating func run() async throws {
        let (bell, newest, source) = (bell, newest, source)
        let watcher = RegistryWatcher(registry, publisher.expectation, logger: logger)
        let (ttl, resync) = (configuration.ttl, configuration.resync)
        try await withThrowingTaskGroup { group in
            group.addTask {
                try await source.run {
                    newest.put($0)
                    bell.ring(.containers)
                }
            }
            group.addTask { try await watcher.run { bell.ring(.registry) } }
            group.addTask { try await bell.ring(.lease, every: ttl / 3) }
            group.addTask { try await bell.ring(.registry, every: resync) }
            defer { group.cancelAll() }
            bell.ring(.lease)
            try await loop()
        }
    }

    private mutating func loop() async throws {
        // Short, so that everything is right again within a second of etcd's return.
        var backoff = Backoff(first: .milliseconds(50), limit: .milliseconds(300))
        var isLost = false
        while let reasons = await bell.answer() {
            if let look = newest.take() { decide(look) }
            do {
                if reasons.contains(.registry) { publisher.doubt() }
                if reasons.contains(.lease) { publisher.renewalIsDue() }
                try await publisher.publish()
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

    private func tell(_ error: any Error) {
        if Etcd.needsPerson(error) {
            logger.error("etcd refuses; trying again", ["error": "\(error)"])
        } else {
            logger.warning("etcd is lost; trying again", ["error": "\(error)"])
        }
    }

    private mutating func decide(_ look: Docker.Look) {
        let services = Services(of: look.containers, owner: publisher.owner, rules: configuration.rules)
        for remark in services.remarks.subtracting(remarks).sorted(by: {
            ($0.container, $0.text) < ($1.container, $1.text)
        }) {
            if remark.isWarning {
                logger.warning("container needs attention", ["container": remark.container, "reason": remark.text])
            } else {
                logger.info("container is left out", ["container": remark.container, "reason": remark.text])
            }
        }
        remarks = services.remarks
        publisher.desire(
            services.registrations, running: Set(look.containers.map(\.id)), unreadable: look.unreadable)
    }
}
