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
        case whereabouts
        case retry
    }

    private let configuration: RegisterConfiguration
    private let registry: EtcdRegistry
    private let source: Docker.ContainerSource
    private let logger: Logger

    private let bell = Doorbell<Reason>()
    private let newest = Latest<Docker.Look>()
    private let whereabouts: Whereabouts
    private var look: Docker.Look?
    private var listeners = Listeners()
    private var publisher: Publisher
    private var told: Set<Told> = []

    /// A remark that the log has.
    private struct Told: Hashable {
        var container: String
        var remark: Verdict.Remark
    }

    /// Connects to the engine, which has to answer.
    init(_ configuration: RegisterConfiguration, _ http: HTTPClient, logger: Logger) async throws {
        let limit = configuration.deadline
        let engine = try await Docker.Client.connect(http, configuration.docker, deadline: limit)
        let identity = try await engine.identity()
        let whereabouts = try await Whereabouts(configuration, engine, logger: logger)
        let owner = Owner(identity, whereabouts.address)
        let etcd = Etcd.Client(http, configuration.etcd, first: Int.random(in: 0..<1024))
        registry = EtcdRegistry(etcd: etcd, keyspace: configuration.keyspace, deadline: limit)
        publisher = Publisher(registry, owner, ttl: configuration.ttl, logger: logger)
        source = Docker.ContainerSource(
            http, configuration.docker, deadline: limit, resync: configuration.resync, logger: logger)
        self.whereabouts = whereabouts
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
        let (bell, newest, source, whereabouts) = (bell, newest, source, whereabouts)
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
            group.addTask { try await whereabouts.run { bell.ring(.whereabouts) } }
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
            if takeNews() { decide() }
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

    /// Takes what the watchers have handed over; whether there is something.
    private mutating func takeNews() -> Bool {
        let (containers, host) = (newest.take(), whereabouts.take())
        if let containers { look = containers }
        if let address = host.address { publisher.move(to: address) }
        if let listeners = host.listeners { self.listeners = listeners }
        return containers != nil || !host.isEmpty
    }

    private mutating func decide() {
        guard let look else { return }
        let services = Services(
            of: look.containers, owner: publisher.owner, rules: configuration.rules, listeners: listeners)
        whereabouts.want(services.awaited, at: publisher.owner.address)
        tell(services.verdicts)
        publisher.desire(
            services.registrations, running: Set(look.containers.map(\.id)),
            unreadable: look.unreadable.union(services.undecided))
    }

    /// Tells what was not told before.
    private mutating func tell(_ verdicts: [Verdict]) {
        let all = verdicts.flatMap { verdict in
            verdict.remarks.map { Told(container: verdict.subject.name, remark: $0) }
        }
        for new in Set(all).subtracting(told).sorted(by: {
            ($0.container, $0.remark.text) < ($1.container, $1.remark.text)
        }) {
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
