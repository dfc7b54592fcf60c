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
        case request
        case engine
        case retry
    }

    private let configuration: RegisterConfiguration
    private let registry: EtcdRegistry
    private let source: Docker.ContainerSource
    private let logger: Logger

    private let bell = Doorbell<Reason>()
    private let newest = Latest<Docker.Look>()
    private let requests = DrainRequests()
    private let engineTrouble = Latest<Snapshot.Trouble?>()
    private let board: Board<Snapshot>
    private var snapshot: Snapshot
    private var publisher: Publisher
    private var drains: Drains
    private var look: Docker.Look?
    private var asked: [DrainRequests.Request] = []
    private var alarm: Task<Void, any Error>?
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
        let owner = Owner(try await engine.identity(), configuration.hostAddress)
        let etcd = Etcd.Client(http, configuration.etcd, first: Int.random(in: 0..<1024))
        registry = EtcdRegistry(etcd: etcd, keyspace: configuration.keyspace, deadline: limit)
        publisher = Publisher(registry, owner, ttl: configuration.ttl, logger: logger)
        drains = Drains(registry, owner, logger: logger)
        source = Docker.ContainerSource(
            http, configuration.docker, deadline: limit, resync: configuration.resync, logger: logger)
        snapshot = Snapshot(configuration, owner, engine, agent: .thisProcess)
        board = Board(snapshot)
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
        let (bell, newest, source, engineTrouble) = (bell, newest, source, engineTrouble)
        let watcher = RegistryWatcher(registry, publisher.expectation, logger: logger)
        let (ttl, resync) = (configuration.ttl, configuration.resync)
        try await withThrowingTaskGroup { group in
            group.addTask {
                try await source.run {
                    newest.put($0)
                    engineTrouble.put(nil)
                    bell.ring(.containers)
                } lose: {
                    engineTrouble.put(Snapshot.Trouble($0))
                    bell.ring(.engine)
                }
            }
            if let server = commandServer() { group.addTask { await server.run() } }
            group.addTask { try await watcher.run { bell.ring(.registry) } }
            group.addTask { try await bell.ring(.lease, every: ttl / 3) }
            group.addTask { try await bell.ring(.registry, every: resync) }
            defer { group.cancelAll() }
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
            if let look = newest.take() {
                self.look = look
                decide(look)
            }
            if let trouble = engineTrouble.take() { snapshot.engine.trouble = trouble }
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

    /// Does everything that is to be done now.
    private mutating func turn(_ reasons: Set<Reason>) async throws {
        if reasons.contains(.registry) {
            if let wait = publisher.doubt() { ringAgain(.registry, in: wait) }
            try await drains.doubt()
        }
        if reasons.contains(.lease) { publisher.renewalIsDue() }
        // What was drained before the agent started must not come back for a moment.
        let drained = drains.ids
        try await drains.learn()
        if let look {
            asked += requests.take()
            for request in asked { take(request, look) }
            if drains.ids != drained { decide(look) }
        }
        try await publisher.publish()
        try await drains.store()
        for request in asked { request.outcome.fulfil(.done(revision: publisher.withdrawals[request.container])) }
        asked = []
    }

    private mutating func ringAgain(_ reason: Reason, in wait: Duration) {
        alarm?.cancel()
        alarm = Task { [bell] in
            try await Task.sleep(for: wait)
            bell.ring(reason)
        }
    }

    private mutating func take(_ request: DrainRequests.Request, _ look: Docker.Look) {
        switch request.kind {
        case .drain(let confirm):
            guard let container = look.containers.first(where: { $0.id == request.container }) else { return }
            drains.drain(container, at: Timestamp.text(Timestamp.now()))
            if confirm { publisher.confirmWithdrawal(of: container.id) }
        case .undrain: drains.undrain(request.container)
        }
    }

    private func tell(_ error: any Error) {
        if Etcd.needsPerson(error) {
            logger.error("etcd refuses; trying again", ["error": "\(error)"])
        } else {
            logger.warning("etcd is lost; trying again", ["error": "\(error)"])
        }
    }

    private mutating func decide(_ look: Docker.Look) {
        drains.keepOnly(look)
        let services = Services(
            of: look.containers, owner: publisher.owner, rules: configuration.rules, drained: drains.ids)
        tell(services.verdicts)
        snapshot.verdicts = services.verdicts + look.idle.map { Verdict(on: $0) }
        publisher.desire(services.registrations, reasons: services.reasons, unreadable: look.unreadable)
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

    // MARK: Questions

    /// Where commands are answered; nil where that cannot be, which harms nothing else.
    private func commandServer() -> CommandServer? {
        do {
            let drains = DrainCommands(registry, requests) { [bell] in bell.ring(.request) }
            return try CommandServer(path: configuration.controlSocket) { [board] line in
                await drains.answer(line, board.read()) ?? Questions.answer(line, board.read())
            }
        } catch {
            logger.warning(
                "commands are not answered; CONTROL_SOCKET names another socket",
                ["socket": configuration.controlSocket, "error": "\(error)"])
            return nil
        }
    }

    private mutating func note(_ error: any Error) {
        let trouble = Snapshot.Trouble(error)
        if snapshot.store.trouble == nil { snapshot.store.trouble = trouble }
        snapshot.store.lastTrouble = trouble
    }

    /// Puts up what is known now: no question waits for the loop.
    private mutating func tellQuestions() {
        snapshot.store.lease = publisher.lease
        snapshot.published = publisher.published
        board.put(snapshot)
    }
}
