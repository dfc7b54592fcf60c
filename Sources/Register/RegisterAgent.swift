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
    let configuration: RegisterSettings
    /// What it keeps.
    let registry: EntryStore
    /// Nil on a host without an engine.
    private let source: Docker.ContainerWatcher?
    /// Where everything is told.
    let logger: Logger

    /// What wakes its loop.
    let bell: Doorbell<Reason>
    /// The containers as they were listed last, until the loop takes them.
    let newest = LatestValue<Docker.ContainerList>()
    /// What is known of the host's addresses and ports.
    let whereabouts: HostMonitor
    /// What decides, as it was said last.
    var inputs: Inputs
    /// The checks of its own.
    let checks: RegistrationChecker
    /// What commands ask the loop for.
    let requests: LoopQueue<RegisterAgent>
    private let engineTrouble = LatestValue<ErrorRecord?>()
    /// What questions are answered from.
    let board: SharedSnapshot<Snapshot>
    /// What is put on the board next.
    var snapshot: Snapshot
    /// What brings the registry to what it should hold.
    var publisher: Publisher
    /// What keeps the plain keys of the services file.
    var plainKeys: HostKeys
    /// The containers that are out on purpose.
    var drains: Drains
    /// Whether what should be was decided for the newest look, drains and results of the checks.
    var isDecided = false
    /// The entries of the last decision; before the first one, nil until it is known what the registry holds.
    var current: [EntryID: CurrentEntry]?
    /// What rings when a wait is over.
    var alarm: Task<Void, any Error>?
    /// What the log has of containers.
    var reasonLog = ReasonLog()

    /// Connects to the engine, which has to answer.
    ///
    /// - Parameter bell: rung for ``Reason/hangup`` when the services file is to be read again.
    init(
        _ configuration: RegisterSettings, _ http: HTTPClient, _ bell: Doorbell<Reason>, logger: Logger
    ) async throws {
        let limit = configuration.deadline
        var engine: Docker.Client?
        if let docker = configuration.docker {
            engine = try await Docker.Client.connect(http, docker, deadline: limit)
        }
        let identity = try await engine?.identity() ?? HostIdentity.read()
        let whereabouts = try await HostMonitor(
            configuration.hostAddress, members: configuration.etcd.endpoints, engine, at: configuration.docker,
            deadline: limit, interval: configuration.ttl / 3, logger: logger)
        let owner = Owner(identity, whereabouts.address)
        let etcd = Etcd.Client(http, configuration.etcd, first: Int.random(in: 0..<1024))
        registry = EntryStore(etcd: etcd, keyspace: configuration.keyspace, deadline: limit)
        publisher = Publisher(registry, owner, ttl: configuration.ttl, logger: logger)
        plainKeys = HostKeys(registry, logger: logger)
        inputs = Inputs(owner: owner, policy: configuration.rules, services: configuration.services)
        if configuration.docker == nil { inputs.containers = Docker.ContainerList(containers: []) }
        source = configuration.docker.map { docker in
            Docker.ContainerWatcher(http, docker, deadline: limit, resync: configuration.resync, logger: logger)
        }
        drains = Drains(registry, owner, logger: logger)
        self.bell = bell
        requests = LoopQueue { bell.ring(.request) }
        self.whereabouts = whereabouts
        checks = RegistrationChecker(http)
        snapshot = Snapshot(
            owner, engine, at: configuration.docker?.name, members: configuration.etcd.endpoints,
            configuration.keyspace, agent: .thisProcess)
        board = SharedSnapshot(snapshot)
        self.configuration = configuration
        self.logger = logger
        logger.info(
            "docker-register started",
            [
                "version": Version.current, "host": owner.host, "host_ip": owner.address, "owner": owner.text,
                "engine": configuration.docker?.name ?? "none", "api": engine?.version,
                "prefix": configuration.keyspace.prefix, "services_file": inputs.services?.path,
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
                        engineTrouble.put(ErrorRecord($0))
                        bell.ring(.engine)
                    }
                }
            }
            group.addTask { try await checks.run { bell.ring(.checks) } }
            if let server = router().server(at: configuration.controlSocket, logger) {
                group.addTask { await server.run() }
            }
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
                inputs.services?.readAgain(owner: publisher.owner, logger: logger)
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
        if Etcd.needsOperator(error) {
            logger.error("etcd refuses; trying again", ["error": "\(error)"])
        } else {
            logger.warning("etcd is lost; trying again", ["error": "\(error)"])
        }
    }
}

// What the agent decides should be in the registry.

extension RegisterAgent {
    /// Takes what the watchers have handed over; whether there is something.
    mutating func takeNews() -> Bool {
        let (containers, host) = (newest.take(), whereabouts.take())
        if let containers { inputs.containers = containers }
        if let address = host.address { move(to: address) }
        if let listeners = host.listeners { inputs.listeningPorts = listeners }
        return containers != nil || !host.isEmpty
    }

    private mutating func move(to address: IPAddress) {
        inputs.owner.address = address
        publisher.move(to: address)
        drains.move(to: inputs.owner)
        snapshot.owner = inputs.owner
    }

    /// Reads what an earlier agent has left in the registry: a restart takes nothing of it out for being checked anew.
    mutating func recall() async throws {
        try await publisher.publish()
        current = publisher.published?.compactMapValues(CurrentEntry.init)
        isDecided = false
    }

    /// Decides what should be there, from what the engine, the services file and the agent's checks said last.
    mutating func decide() {
        guard !isDecided, inputs.containers != nil || inputs.services != nil else { return }
        isDecided = true
        if let containers = inputs.containers { drains.keepOnly(containers) }
        let desired = Desired(inputs, drains: drains.ids, checks: checks.results, current: current)
        snapshot.desired = desired
        whereabouts.watch(desired.listeningPorts, at: inputs.owner.address)
        plainKeys.desire(desired.hostKeys)
        reasonLog.update(desired, besides: current ?? [:], to: logger)
        // What may be there depends on what is there, which is not known before the first turn.
        guard current != nil else { return }
        current = desired.current
        checks.watch(desired.checks)
        publisher.desire(desired)
    }
}

// What one turn of the loop does.

extension RegisterAgent {
    /// Does everything that is to be done now.
    mutating func turn(_ reasons: Set<Reason>) async throws {
        if reasons.contains(.registry) {
            if let wait = publisher.doubt() { ringAgain(.registry, in: wait) }
            try await drains.doubt()
        }
        if reasons.contains(.lease) { publisher.renewalIsDue() }
        if !reasons.isDisjoint(with: [.lease, .registry]) { plainKeys.doubt() }
        // What was drained before the agent started must not come back for a moment.
        let drained = drains.ids
        try await drains.learn(inputs.containers)
        let toConfirm = drains.toConfirm
        if inputs.containers != nil { requests.change(&self) }
        if drains.ids != drained || drains.toConfirm != toConfirm { isDecided = false }
        if current == nil { try await recall() }
        decide()
        try await publisher.publish()
        try await drains.store()
        requests.respond(self)
        if !drains.toConfirm.isEmpty {
            drains.applied()
            isDecided = false
        }
        try await publishPlainKeys()
    }

    /// Does the same for the plain keys, which go with the same lease.
    private mutating func publishPlainKeys() async throws {
        guard let lease = publisher.leaseID else { return }
        do {
            try await plainKeys.publish(under: lease)
        } catch let error as Etcd.Error where error.isLeaseGone {
            publisher.renewalIsDue()
            throw error
        }
    }

    private mutating func ringAgain(_ reason: Reason, in wait: Duration) {
        alarm?.cancel()
        alarm = Task { [bell] in
            try await Task.sleep(for: wait)
            bell.ring(reason)
        }
    }

    /// Drains a container that runs.
    ///
    /// - Parameter isConfirmed: whether every docker-discover is asked to confirm the withdrawal.
    mutating func drain(_ id: InstanceID, confirmed isConfirmed: Bool) {
        guard let container = inputs.containers?.containers.first(where: { $0.id == id }) else { return }
        drains.drain(container, at: Timestamp.text(Timestamp.now()), confirmed: isConfirmed)
    }

    /// Takes a drain back.
    mutating func undrain(_ id: InstanceID) { drains.undrain(id) }

    /// At which revision a container was withdrawn; nil where it was not, or long ago.
    func revisionOfWithdrawal(of id: InstanceID) -> Int64? { publisher.withdrawals[id] }
}

// What the agent answers to commands.

extension RegisterAgent {
    /// What each command does; those that only ask do not wait for the loop.
    func router() -> CommandRouter {
        let drains = DrainCommands(registry, requests)
        var handlers = StatusCommands.handlers { [board] in board.read() }
        for command in DrainCommands.all {
            handlers[command.name] = { [board] in await drains.answer(command, $0, board.read()) }
        }
        return CommandRouter(of: RegisterSettings.options.program, handlers)
    }

    /// Keeps in mind what is wrong with etcd.
    mutating func note(_ error: any Error) {
        let trouble = ErrorRecord(error)
        if snapshot.store.trouble == nil { snapshot.store.trouble = trouble }
        snapshot.store.lastTrouble = trouble
    }

    /// Puts up what is known now: no question waits for the loop.
    mutating func tellQuestions() {
        snapshot.store.lease = publisher.lease
        snapshot.registered = publisher.published
        snapshot.leader = publisher.leader
        board.put(snapshot)
    }
}
