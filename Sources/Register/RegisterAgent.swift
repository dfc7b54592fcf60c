import Shared

/// docker-register: keeps one host's running containers in the registry, and what its services file says.
///
/// One loop owns the lease and knows what is published. Watchers hand it the newest list of containers or ring its
/// bell: the source of containers, the watcher of the registry, the agent's own checks, and the clocks. Each turn of the
/// loop renews the lease if that is due, compares what should be with what is, and carries out the difference. What was
/// not carried out is a difference again at the next turn, so a retry is the same code as a first try.
struct RegisterAgent: ~Copyable {
    /// Why the loop turns.
    enum Reason: Hashable {
        case containers
        case hangup
        case checks
        case lease
        case registry
        case whereabouts
        case request
        case engine
        case retry
    }

    /// What it was told.
    let configuration: RegisterConfiguration
    /// What it keeps.
    let registry: EtcdRegistry
    /// Nil on a host without an engine.
    private let source: Docker.ContainerSource?
    /// Where everything is told.
    let logger: Logger

    /// What wakes its loop.
    let bell: Doorbell<Reason>
    /// The containers as they were listed last, until the loop takes them.
    let newest = Latest<Docker.Look>()
    /// What is known of the host's addresses and ports.
    let whereabouts: Whereabouts
    /// Which ports are listened on in the host's network.
    var listeners = Listeners()
    /// The checks of its own.
    let checks: RegisterChecks
    /// What commands ask the loop for.
    let requests = DrainRequests()
    private let engineTrouble = Latest<Trouble?>()
    /// What questions are answered from.
    let board: Board<Snapshot>
    /// What is put on the board next.
    var snapshot: Snapshot
    /// What brings the registry to what it should hold.
    var publisher: Publisher
    /// What keeps the plain keys of the services file.
    var plainKeys: PlainKeys
    /// What the services file says; nil where there is none.
    private(set) var statics: StaticEntries?
    /// The containers that are out on purpose.
    var drains: Drains
    /// What the engine said last; nil where it has said nothing yet.
    var look: Docker.Look?
    /// Whether what should be was decided for the newest look, drains and results of the checks.
    var isDecided = false
    /// The entries of the last decision; before the first one, nil until it is known what the registry holds.
    var standing: [Slot: Standing]?
    /// What commands have asked for and is not done yet.
    var asked: [DrainRequests.Request] = []
    /// What rings when a wait is over.
    var alarm: Task<Void, any Error>?
    /// What was told of containers.
    var remarks = RemarkLog()

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
        let identity = try await engine?.identity() ?? HostIdentity.read()
        let whereabouts = try await Whereabouts(configuration, engine, logger: logger)
        let owner = Owner(identity, whereabouts.address)
        let etcd = Etcd.Client(http, configuration.etcd, first: Int.random(in: 0..<1024))
        registry = EtcdRegistry(etcd: etcd, keyspace: configuration.keyspace, deadline: limit)
        publisher = Publisher(registry, owner, ttl: configuration.ttl, logger: logger)
        plainKeys = PlainKeys(registry, logger: logger)
        statics = configuration.services
        source = configuration.docker.map { docker in
            Docker.ContainerSource(http, docker, deadline: limit, resync: configuration.resync, logger: logger)
        }
        look = source == nil ? Docker.Look(containers: []) : nil
        drains = Drains(registry, owner, logger: logger)
        self.bell = bell
        self.whereabouts = whereabouts
        checks = RegisterChecks(http)
        snapshot = Snapshot(configuration, owner, engine, agent: .thisProcess)
        board = Board(snapshot)
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
        let (bell, newest, source, engineTrouble, checks) = (bell, newest, source, engineTrouble, checks)
        let whereabouts = whereabouts
        let watcher = RegistryWatcher(registry, publisher.expectation, logger: logger)
        let (ttl, resync) = (configuration.ttl, configuration.resync)
        try await withThrowingTaskGroup { group in
            if let source {
                group.addTask {
                    try await source.run {
                        newest.put($0)
                        engineTrouble.put(nil)
                        bell.ring(.containers)
                    } lose: {
                        engineTrouble.put(Trouble($0))
                        bell.ring(.engine)
                    }
                }
            }
            group.addTask { try await checks.run { bell.ring(.checks) } }
            if let server = commandServer() { group.addTask { await server.run() } }
            group.addTask { try await watcher.run { bell.ring(.registry) } }
            group.addTask { try await whereabouts.run { bell.ring(.whereabouts) } }
            group.addTask { try await bell.ring(.lease, every: ttl / 3) }
            group.addTask { try await bell.ring(.registry, every: resync) }
            defer { group.cancelAll() }
            decide()
            bell.ring(.lease)
            do {
                try await loop()
            } catch {
                await end()
                throw error
            }
        }
    }

    /// Leaves the registry as it was told to; the task is cancelled here, and etcd takes a moment.
    private func end() async {
        let (publisher, logger, withdraws) = (publisher, logger, configuration.withdrawsOnExit)
        await Task {
            do {
                try await withDeadline(withdraws ? .seconds(4) : .seconds(1)) {
                    if withdraws { try await publisher.withdrawEverything(because: "docker-register was stopped") }
                    try await publisher.leave()
                }
            } catch {
                logger.warning("cannot tell etcd of the end; the entries go with their lease", ["error": "\(error)"])
            }
        }.value
    }

    private mutating func loop() async throws {
        // Short, so that everything is right again within a second of etcd's return.
        var backoff = Backoff(first: .milliseconds(50), limit: .milliseconds(300))
        var isLost = false
        defer { alarm?.cancel() }
        while let reasons = await bell.answer() {
            if reasons.contains(.hangup) {
                statics?.readAgain(owner: publisher.owner, logger: logger)
                isDecided = false
            }
            if takeNews() || reasons.contains(.checks) { isDecided = false }
            decide()
            if let trouble = engineTrouble.take() { snapshot.engine?.trouble = trouble }
            tellQuestions()
            do {
                try await turn(reasons)
                if isLost { logger.info("etcd is back") }
                isLost = false
                snapshot.store.trouble = nil
                tellQuestions()
                backoff.reset()
            } catch {
                try Task.checkCancellation()
                if !isLost { tell(error) }
                isLost = true
                note(error)
                tellQuestions()
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
}
