import Shared

/// docker-register: keeps one host's running containers in the registry.
///
/// One loop owns the lease and knows what is published. Watchers hand it the newest list of containers or ring its
/// bell: the source of containers, the watcher of the registry, the agent's own checks, and the clocks. Each turn of the
/// loop renews the lease if that is due, compares what should be with what is, and carries out the difference. What was
/// not carried out is a difference again at the next turn, so a retry is the same code as a first try.
struct RegisterAgent: ~Copyable {
    /// Why the loop turns.
    private enum Reason: Hashable {
        case containers
        case checks
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
    private let checks: RegisterChecks
    private var publisher: Publisher
    private var look: Docker.Look?
    /// Whether what should be was decided for the newest look and the newest results of the checks.
    private var isDecided = false
    /// The entries of the last decision; before the first one, nil until it is known what the registry holds.
    private var standing: [Slot: Standing]?
    private var told: Set<Told> = []

    /// A remark that the log has.
    private struct Told: Hashable {
        var id: InstanceID
        var container: String
        var remark: Verdict.Remark
    }

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
        checks = RegisterChecks(http)
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
        let (bell, newest, source, checks) = (bell, newest, source, checks)
        let watcher = RegistryWatcher(registry, publisher.expectation, logger: logger)
        let (ttl, resync) = (configuration.ttl, configuration.resync)
        try await withThrowingTaskGroup { group in
            group.addTask {
                try await source.run {
                    newest.put($0)
                    bell.ring(.containers)
                }
            }
            group.addTask { try await checks.run { bell.ring(.checks) } }
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
            if let newer = newest.take() { (look, isDecided) = (newer, false) }
            if reasons.contains(.checks) { isDecided = false }
            do {
                if reasons.contains(.registry) { publisher.doubt() }
                if reasons.contains(.lease) { publisher.renewalIsDue() }
                if standing == nil { try await recall() }
                decide()
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

    /// Reads what an earlier agent has left in the registry: a restart takes nothing of it out for being checked anew.
    private mutating func recall() async throws {
        try await publisher.publish()
        standing = publisher.published?.compactMapValues(Standing.init)
    }

    private mutating func decide() {
        guard !isDecided, let look, let before = standing else { return }
        let services = Services(of: look.containers, owner: publisher.owner, rules: configuration.rules)
        let admission = Admission(
            of: services, standing: before, unreadable: look.unreadable, checks: checks.verdicts)
        (standing, isDecided) = (admission.standing, true)
        checks.want(admission.targets)
        tell(admission, before)
        publisher.desire(
            admission.registrations, running: Set(look.containers.map(\.id)), unreadable: look.unreadable,
            obstacles: admission.obstacles)
    }

    /// Tells what was not told before.
    ///
    /// Why an entry has just been withdrawn is told with its withdrawal.
    private mutating func tell(_ admission: Admission, _ before: [Slot: Standing]) {
        let all = admission.verdicts.flatMap { verdict in
            verdict.remarks.map { Told(id: verdict.subject.id, container: verdict.subject.name, remark: $0) }
        }
        let withdrawn = admission.obstacles.filter { before[$0.key] != nil }
        for new in Set(all).subtracting(told).sorted(by: {
            ($0.container, $0.remark.text) < ($1.container, $1.remark.text)
        }) where !withdrawn.contains(where: { $0.key.id == new.id && $0.value.remark == new.remark }) {
            let fields: Logger.Fields = ["container": new.container, "reason": new.remark.text]
            if new.remark.isWarning {
                logger.warning("container needs attention", fields)
            } else {
                logger.info("container is left out", fields)
            }
        }
        told = Set(all)
    }
}
