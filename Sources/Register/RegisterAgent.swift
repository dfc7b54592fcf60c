import Shared

/// docker-register: keeps one host's containers, and what its services file lists, in the registry.
///
/// It starts by loading what is registered and drained. Then one loop owns all state, and each turn observes (what the
/// watchers have handed over), decides (``Desired``) and applies (``Publisher``). Watchers only ring its bell, or hand
/// over a newer whole state. What could not be applied is a difference again at the next turn, so a retry is the same
/// code as a first try.
struct RegisterAgent: ~Copyable {
    /// Why the loop turns.
    enum Reason: Hashable {
        /// The engine has listed its containers, or is lost.
        case engine
        /// The host's address has changed, or on which ports its programs listen.
        case host
        /// A check has another result.
        case checks
        /// The services file and etcd's password are to be read again.
        case hangup
        /// A command asks for something.
        case request
        /// The lease is to be renewed.
        case lease
        /// Somebody else may have changed what is registered.
        case registry
        /// It is time to ask whether somebody has.
        case audit
        /// What was not served is to be tried again.
        case retry
    }

    private let configuration: RegisterSettings
    private let logger: Logger
    private let store: EntryStore

    // What observes, and rings.
    private let bell: Doorbell<Reason>
    /// Nil on a host without an engine.
    private let containerWatcher: Docker.ContainerWatcher?
    private let newestContainers = LatestValue<Docker.ContainerList>()
    private let engineTrouble = LatestValue<ErrorRecord?>()
    private let hostMonitor: HostMonitor
    private let checker: RegistrationChecker
    private let requests: LoopQueue<RegisterAgent>
    /// How many docker-registers there are; nil before that was read.
    private let fleet = SharedSnapshot<Int?>(nil)

    // What the loop knows.
    private var inputs: Inputs
    private var drains: Drains
    /// The entries of the last decision; nil until it is known what is registered.
    private var current: [EntryID: CurrentEntry]?
    private var publisher: Publisher
    private var addressConflicts: AddressConflicts
    private var outage = Outage<ErrorRecord>()
    /// The withdrawals of the last turn that etcd did not take.
    private var waiting: Set<EntryID> = []
    // Short, so that everything is right again within a second of etcd's return.
    private var backoff = Backoff(first: .milliseconds(50), limit: .milliseconds(300))
    private var alarm: Task<Void, any Error>?

    // What it shows.
    private var reasonLog = ReasonLog()
    private var snapshot: Snapshot
    private let board: SharedSnapshot<Snapshot>

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
        hostMonitor = try await HostMonitor(
            configuration.hostAddress, members: configuration.etcd.members, engine, at: configuration.docker,
            deadline: limit, interval: configuration.ttl / 3, logger: logger)
        let owner = Owner(identity, hostMonitor.address)
        let etcd = Etcd.Client(http, configuration.etcd, first: Int.random(in: 0..<1024))
        store = EntryStore(etcd: etcd, keyspace: configuration.keyspace, deadline: limit)
        publisher = Publisher(store, owner, ttl: configuration.ttl, logger: logger)
        addressConflicts = AddressConflicts(store, pause: configuration.ttl / 3, logger: logger)
        inputs = Inputs(owner: owner, policy: configuration.rules, services: configuration.services)
        if configuration.docker == nil { inputs.containers = Docker.ContainerList(containers: []) }
        containerWatcher = configuration.docker.map { docker in
            Docker.ContainerWatcher(http, docker, deadline: limit, resync: configuration.resync, logger: logger)
        }
        drains = Drains(store, owner, logger: logger)
        self.bell = bell
        requests = LoopQueue { bell.ring(.request) }
        checker = RegistrationChecker(http)
        snapshot = Snapshot(
            owner, engine, at: configuration.docker?.name, members: configuration.etcd.members.names,
            configuration.keyspace, agent: .thisProcess)
        board = SharedSnapshot(snapshot)
        self.configuration = configuration
        self.logger = logger
        logger.info(
            "docker-register started",
            [
                "version": Version.current, "host": owner.host, "host_ip": owner.address, "owner": owner.text,
                "engine": configuration.docker?.name ?? "none", "api": engine?.version,
                "prefix": configuration.keyspace.prefix, "etcd": configuration.etcd.members,
                "etcd_from": configuration.etcd.sources.joined(separator: ","), "services_file": inputs.services?.path,
            ])
        guard let warning = hostMonitor.warning else { return }
        snapshot.addressWarning = warning
        logger.warning("HOST_IP is on no interface of this host", ["host_ip": owner.address, "reason": warning])
    }

    /// Works until the task is cancelled.
    mutating func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            addWatchers(to: &group)
            defer { group.cancelAll() }
            do {
                try await load()
                try await loop()
            } catch {
                await end()
                throw error
            }
        }
    }

    private func addWatchers(to group: inout ThrowingTaskGroup<Void, any Error>) {
        let (bell, newestContainers, engineTrouble) = (bell, newestContainers, engineTrouble)
        let (checker, hostMonitor, ttl, resync) = (checker, hostMonitor, configuration.ttl, configuration.resync)
        let registryWatcher = RegistryWatcher(store, publisher.expected, fleet, logger: logger)
        if let containerWatcher {
            group.addTask {
                try await containerWatcher.run {
                    newestContainers.put($0)
                    engineTrouble.put(nil)
                    bell.ring(.engine)
                } lose: {
                    engineTrouble.put(ErrorRecord($0))
                    bell.ring(.engine)
                }
            }
        }
        group.addTask { try await hostMonitor.run { bell.ring(.host) } }
        group.addTask { try await checker.run { bell.ring(.checks) } }
        group.addTask { try await registryWatcher.run { bell.ring(.registry) } }
        group.addTask { try await bell.ring(.lease, every: ttl / 3) }
        group.addTask { try await bell.ring(.audit, every: resync) }
        let socket = configuration.controlSocket
        if let server = router().server(at: socket, setting: "CONTROL_SOCKET", logger) {
            group.addTask { await server.run() }
        }
    }

    // MARK: Start

    /// Loads what is registered and which containers are drained, on which the first decision depends.
    ///
    /// A restart of the agent withdraws nothing just to check it again, and what was drained does not come back for a
    /// moment. Until etcd answers, questions are answered without it.
    private mutating func load() async throws {
        while current == nil {
            observe([])
            show(decide())
            do {
                let registered = try await publisher.load()
                try await drains.load()
                current = registered.compactMapValues(CurrentEntry.init)
            } catch {
                try Task.checkCancellation()
                recordFailure(error)
                try await Task.sleep(for: backoff.next())
            }
        }
        bell.ring(.retry)
    }

    // MARK: Loop

    private mutating func loop() async throws {
        defer { alarm?.cancel() }
        var unserved: Set<Reason> = []
        while let rung = await bell.answer() {
            unserved = try await turn(rung.union(unserved))
        }
        throw CancellationError()
    }

    /// Observes, decides and applies.
    ///
    /// - Returns: the reasons for which the next turn has to look again, whatever it turns for.
    private mutating func turn(_ reasons: Set<Reason>) async throws -> Set<Reason> {
        observe(reasons)
        requests.change(&self)
        let desired = decide()
        current = desired.current
        hostMonitor.watch(desired.listeningPorts, at: inputs.owner.address)
        if desired.checks != snapshot.desired.checks { checker.watch(desired.checks) }
        show(desired)
        defer { show(desired) }
        do {
            return try await apply(desired, reasons)
        } catch {
            try Task.checkCancellation()
            recordFailure(error)
            logWaiting(desired)
            lookAgain(in: backoff.next())
            return reasons.intersection([.lease, .registry, .audit])
        }
    }

    /// Accepts what the watchers have handed over.
    private mutating func observe(_ reasons: Set<Reason>) {
        if let containers = newestContainers.take() { inputs.containers = containers }
        if let trouble = engineTrouble.take() { snapshot.engine?.trouble = trouble }
        let host = hostMonitor.take()
        if let listeningPorts = host.listeners { inputs.listeningPorts = listeningPorts }
        if let address = host.address {
            inputs.owner.address = address
            publisher.move(to: address)
            drains.move(to: inputs.owner)
        }
        if reasons.contains(.hangup) { store.etcd.logInAgain() }
        if reasons.contains(.hangup) { inputs.services?.readAgain(owner: inputs.owner, logger: logger) }
        if let containers = inputs.containers {
            drains.accept(containers, services: Set(snapshot.desired.services.keys.map(\.id)))
        }
    }

    /// Decides what should be registered, and logs what is new about why something is not.
    private mutating func decide() -> Desired {
        let desired = Desired(
            inputs, drains: drains.ids, confirm: drains.toConfirm, checks: checker.results, current: current)
        reasonLog.update(desired, besides: current ?? [:], to: logger)
        return desired
    }

    private mutating func apply(_ desired: Desired, _ reasons: Set<Reason>) async throws -> Set<Reason> {
        let isRereading = reasons.contains(.registry)
        let isAudit = reasons.contains(.audit)
        let wait = try await publisher.apply(
            desired, rereading: isRereading, auditing: isAudit, renewing: reasons.contains(.lease))
        try await drains.store(rereading: isRereading || isAudit)
        drains.applied()
        requests.respond(self)
        recordSuccess()
        await addressConflicts.update(for: inputs.owner)
        snapshot.addressConflicts = addressConflicts.warnings
        fleet.put(addressConflicts.agents)
        guard let wait else { return [] }
        lookAgain(in: wait)
        return [.registry]
    }

    private mutating func lookAgain(in wait: Duration) {
        alarm?.cancel()
        alarm = bell.ring(.retry, in: wait)
    }

    // MARK: Failures

    private mutating func recordFailure(_ error: any Error) {
        // It is no failure of etcd, and the next turn says more of it.
        guard !(error is Publisher.LeaseLost) else { return }
        let record = ErrorRecord(error)
        snapshot.store.lastTrouble = record
        guard outage.failed(record, isCertain: Etcd.isCertainLoss(error)) else { return }
        if Etcd.needsOperator(error) {
            logger.error("etcd rejected the request; retrying", ["error": record.error])
        } else {
            logger.warning("etcd unreachable; retrying", ["error": record.error])
        }
    }

    /// Logs what stays in service for now because etcd does not take its withdrawal.
    private mutating func logWaiting(_ desired: Desired) {
        let now = publisher.waitingWithdrawals(desired)
        defer { waiting = now }
        guard let first = now.subtracting(waiting).min() else { return }
        logger.warning(
            "withdrawals wait for etcd",
            ["entries": now.count, "service": first.service, "id": first.id])
    }

    private mutating func recordSuccess() {
        waiting = []
        if outage.succeeded() { logger.info("etcd reachable again") }
        backoff.reset()
    }

    // MARK: End

    /// Leaves the registry as the settings say; the task is cancelled here, and etcd needs a moment.
    private func end() async {
        let (publisher, logger, withdraws) = (publisher, logger, configuration.withdrawsOnExit)
        await Task {
            do {
                try await withDeadline(withdraws ? .seconds(4) : .seconds(1)) {
                    if withdraws { try await publisher.withdrawEverything(because: "docker-register was stopped") }
                    try await publisher.leave()
                }
            } catch {
                logger.warning("cannot deregister on shutdown; entries expire with their lease", ["error": "\(error)"])
            }
        }.value
    }
}

// What commands ask and change.

extension RegisterAgent {
    /// Publishes what is known now: no command waits for the loop.
    private mutating func show(_ desired: Desired) {
        snapshot.owner = inputs.owner
        snapshot.desired = desired
        snapshot.store.lease = publisher.lease
        snapshot.store.trouble = outage.cause
        snapshot.registered = publisher.registered
        snapshot.leader = publisher.leader
        board.put(snapshot)
    }

    /// What each command does; those that only ask do not wait for the loop.
    private func router() -> CommandRouter {
        let drains = DrainCommands(store, requests)
        var handlers = StatusCommands.handlers { [board] in board.read() }
        for command in DrainCommands.all {
            handlers[command.name] = { [board] in await drains.answer(command, $0, board.read()) }
        }
        return CommandRouter(of: RegisterSettings.options.program, handlers)
    }

    /// Drains a container that runs, or an instance of the services file.
    ///
    /// - Parameter isConfirmed: whether every docker-discover is asked to confirm the withdrawal.
    mutating func drain(_ id: InstanceID, confirmed isConfirmed: Bool) {
        let time = Timestamp.text(Timestamp.now())
        if let container = inputs.containers?.containers.first(where: { $0.id == id }) {
            drains.drain(container, at: time, confirmed: isConfirmed)
        } else if let service = snapshot.desired.services.keys.sorted().first(where: { $0.id == id })?.service {
            drains.drain(id, of: service, at: time, confirmed: isConfirmed)
        }
    }

    /// Ends a drain.
    mutating func undrain(_ id: InstanceID) { drains.undrain(id) }

    /// At which revision a container was withdrawn; nil where it was not, or long ago.
    func revisionOfWithdrawal(of id: InstanceID) -> Int64? { publisher.withdrawals[id] }
}
