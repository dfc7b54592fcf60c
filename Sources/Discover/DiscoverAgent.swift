import Shared

/// docker-discover: keeps an HAProxy at what the registry says, for ever.
///
/// Watchers only ring, or hand over a newer whole state. The loop that answers the bell owns all state: it accepts what is
/// new, and has the reconciler take a turn.
struct DiscoverAgent: Sendable {
    /// What it was told.
    let settings: DiscoverSettings
    /// Where programs are looked for: PATH.
    let searchPath: String
    /// Where everything is logged.
    let logger: Logger
    /// What wakes its loop.
    var bell = Doorbell<Reason>()
    /// The limits of its registry watcher.
    var registryTiming = RegistryWatcher.Timing()
    /// The limits of its reconciler.
    var reconcilerTiming = Reconciler.Timing()

    /// Why the agent cannot start.
    enum Failure: Error, Equatable {
        /// HAProxy does not start, not even without any service.
        case noHAProxy(reason: String)
        /// libcurl does not work.
        case noHTTP
        /// HAProxy was built without TLS, and is to serve it.
        case noTLS
    }

    /// Why the loop looks again.
    enum Reason: Hashable {
        /// The registry is not what it was.
        case registry
        /// What an operator adds is to be read again.
        case hangup
        /// HAProxy is no more, or another one.
        case haproxy
        /// Somebody asks for something.
        case request
        /// The client hosts were counted.
        case consumers
        /// The folder of certificates is not what it was.
        case certificates
        /// A wait is over.
        case retry
    }

    /// What watchers hand over to the loop: the newest whole of each kind.
    struct Inbox: Sendable {
        let registry = LatestValue<RegistryState>()
        let consumers = LatestValue<Int>()
        let certificates = LatestValue<CertificateFolder>()
        let requests: LoopQueue<Reconciler>
    }

    /// Runs until the task is cancelled, then stops HAProxy.
    ///
    /// - Throws: only what makes a start impossible. An HAProxy of an earlier run goes on then.
    func run() async throws {
        FileDescriptorLimit.bound()
        let lock = try settings.directory.open()
        defer { lock.release() }
        guard let http = HTTPClient() else { throw Failure.noHTTP }
        let clients = RegistryClients(http, settings, registryTiming, logger)
        let cache = RegistryCacheWriter(
            RegistryCache(file: settings.directory.catalog, keyspace: settings.keyspace), logger: logger)
        cache.load()
        let inbox = Inbox(requests: LoopQueue { [bell] in bell.ring(.request) })
        let outputs = settings.outputs.map { Outputs($0, settings.outputContext, clients.client, logger) }
        try await withThrowingDiscardingTaskGroup { group in
            defer { group.cancelAll() }
            // It takes etcd's time, while HAProxy is asked what it can do.
            group.addTask { await followRegistry(clients, from: cache.saved?.registry, into: inbox) }
            guard let haproxy = settings.haproxy else { return await writeOutputs(outputs, inbox, clients) }
            var reconciler = try await attach(haproxy, cache)
            let board = SharedSnapshot(reconciler.snapshot(store))
            if let outputs { group.addTask { [access = reconciler.haproxy.access] in await outputs.run(access) } }
            if let commands = answers(inbox.requests, board, clients, outputs).server(
                at: settings.directory.controlSocket, logger)
            {
                group.addTask { await commands.run() }
            }
            // Whoever waits for confirmations has to know of it before it has traffic.
            group.addTask { await clients.presence.run() }
            group.addTask { try? await clients.claimer.run() }
            group.addTask { await countConsumers(clients, into: inbox) }
            group.addTask { await followCertificates(into: inbox) }
            try await serve(&reconciler, inbox, clients, board, outputs)
            // The task is cancelled here, and stopping takes time.
            await Task { [reconciler, settings] in await reconciler.stop(grace: settings.stopGrace) }.value
        }
    }

    /// Has the reconciler take a turn with each ring, until the task is cancelled.
    private func serve(
        _ reconciler: inout Reconciler, _ inbox: Inbox, _ clients: RegistryClients,
        _ board: SharedSnapshot<Snapshot>, _ outputs: Outputs?
    ) async throws {
        var hasServed = false
        var (alarm, watch): (Task<Void, Never>?, Task<Void, Never>?)
        defer {
            alarm?.cancel()
            watch?.cancel()
        }
        var reasons = reconciler.knowsNothing ? await firstRing() : []
        while let rung = reasons, !Task.isCancelled {
            if rung.contains(.hangup) {
                readFiles(for: &reconciler)
                readFiles(for: outputs, clients)
            }
            if let registry = inbox.registry.take() { reconciler.accept(registry) }
            if let consumers = inbox.consumers.take() { reconciler.accept(consumers: consumers) }
            if let certificates = inbox.certificates.take() { reconciler.accept(certificates) }
            inbox.requests.change(&reconciler)
            let outcome = await reconciler.turn()
            inbox.requests.respond(reconciler)
            guard hasServed || outcome.hasHAProxy || Task.isCancelled else {
                throw Failure.noHAProxy(reason: reconciler.failure ?? "it ended")
            }
            hasServed = true
            if let decided = outcome.decided, let revision = reconciler.revision {
                outputs?.accept(decided, revision: revision)
            }
            if let claims = outcome.claims { clients.claimer.submit(claims) }
            if let confirmed = outcome.confirmed {
                clients.presence.confirm(confirmed.revision, of: confirmed.clusterID)
            }
            board.put(reconciler.snapshot(store))
            // Each turn is a try and knows the next wait; what an earlier one waited for is over.
            alarm?.cancel()
            alarm = outcome.wait.map { wait in ring(.retry) { try await Task.sleep(for: wait) } }
            watch?.cancel()
            watch = ring(.haproxy, after: reconciler.haproxy.instance.changed)
            reasons = await bell.answer()
        }
    }

    /// Rings once when something has happened.
    private func ring(_ reason: Reason, after event: @escaping @Sendable () async throws -> Void) -> Task<Void, Never> {
        Task { [bell] in if (try? await event()) != nil { bell.ring(reason) } }
    }

    /// Waits a moment for the registry: a start with the services is sooner there than one without them and a reload.
    private func firstRing() async -> Set<Reason>? {
        let alarm = ring(.retry) { try await Task.sleep(for: .seconds(1)) }
        defer { alarm.cancel() }
        var rung: Set<Reason> = []
        while rung.isDisjoint(with: [.registry, .retry]) {
            guard let reasons = await bell.answer() else { return nil }
            rung.formUnion(reasons)
        }
        return rung
    }
}

// What it observes.

extension DiscoverAgent {
    /// Finds HAProxy, and what an earlier run left.
    private func attach(_ haproxy: String, _ cache: RegistryCacheWriter) async throws -> Reconciler {
        let scratch = AtomicFile(path: settings.directory.path + "/probe.cfg")
        let program = try await HAProxyProgram.probe(haproxy, searchPath: searchPath, scratch: scratch)
        guard program.abilities.tls || settings.host.routes?.https == nil else { throw Failure.noTLS }
        logger.info(
            "docker-discover started",
            [
                "version": Version.current, "mode": settings.mode, "prefix": settings.keyspace.prefix,
                "etcd": settings.etcd.members, "etcd_from": settings.etcd.sources.joined(separator: ","),
                "state_dir": settings.directory.path, "stats": settings.host.statsBind,
            ])
        var timing = HAProxyController.Timing()
        timing.drains.limit = settings.drainTimeout
        let haproxy = await HAProxyController(
            try await settings.attach(program, logger), logger: logger, timing: timing)
        var reconciler = Reconciler(
            haproxy, settings: settings.settings(for: program.abilities), cache: cache, holdTime: settings.holdTime,
            logger: logger, timing: reconcilerTiming)
        reconciler.accept(settings.additionFiles.read())
        if let folder = settings.certificates { reconciler.accept(CertificateFolder(folder)) }
        return reconciler
    }

    /// Hands over what the folder of certificates has whenever it has something else.
    private func followCertificates(into inbox: Inbox) async {
        guard let path = settings.certificates else { return }
        var known: CertificateFolder?
        while (try? await Task.sleep(for: Self.certificateInterval)) != nil {
            let folder = CertificateFolder(path)
            if folder != known {
                inbox.certificates.put(folder)
                bell.ring(.certificates)
            }
            known = folder
        }
    }

    /// Between two looks at the folder of certificates.
    private static let certificateInterval = Duration.seconds(1)

    /// Hands over each newer state of the registry.
    private func followRegistry(_ clients: RegistryClients, from saved: RegistryState?, into inbox: Inbox) async {
        try? await clients.source.run(from: saved) { state in
            inbox.registry.put(state)
            clients.source.health.reached(state.revision)
            bell.ring(.registry)
        }
    }

    /// Hands over how many client hosts there are.
    private func countConsumers(_ clients: RegistryClients, into inbox: Inbox) async {
        try? await clients.census.run { count in
            inbox.consumers.put(count)
            clients.source.consumers.put(count)
            bell.ring(.consumers)
        }
    }

    /// Reads again what an operator has written into files on this host, for all but HAProxy.
    func readFiles(for outputs: Outputs?, _ clients: RegistryClients) {
        outputs?.readFile()
        clients.client.logInAgain()
    }

    /// Reads again what an operator has written into files on this host, for HAProxy.
    private func readFiles(for reconciler: inout Reconciler) {
        reconciler.accept(settings.additionFiles.read())
        guard let path = settings.statsAuthPath else { return }
        do {
            reconciler.accept(try StatsUser.read(path))
        } catch {
            logger.error("cannot read STATS_AUTH; keeping the previous users", ["error": "\(error)"])
        }
    }
}

extension DiscoverAgent.Failure: CustomStringConvertible {
    /// One sentence for the person who starts the program.
    var description: String {
        switch self {
        case .noHAProxy(let reason): "HAProxy does not start: \(reason)"
        case .noHTTP: "cannot initialize libcurl"
        case .noTLS: "HTTPS_BIND: this HAProxy was built without TLS (OpenSSL)"
        }
    }
}

// What the agent answers to commands.

extension DiscoverAgent {
    /// Where the registry is.
    var store: Snapshot.Store { Snapshot.Store(settings) }

    /// What each command does; those that only ask do not wait for the loop.
    func answers(
        _ requests: LoopQueue<Reconciler>?, _ board: SharedSnapshot<Snapshot>, _ clients: RegistryClients,
        _ outputs: Outputs?
    ) -> CommandRouter {
        let known = { @Sendable in
            var snapshot = board.read()
            snapshot.store.health = clients.source.health.state
            snapshot.outputs = outputs.map(Snapshot.OutputFacts.init)
            return snapshot
        }
        var handlers: [String: CommandRouter.Handler] = [
            PlanCommand.command.name: { _ in await forecast(known(), clients) }
        ]
        for name in [StatusCommands.status.name, StatusCommands.why.name] {
            handlers[name] = { await StatusCommands.answer([name] + $0, known()) }
        }
        if let requests {
            handlers[DiscoverCommands.release.name] = { await ReleaseCommand.answer($0, requests) }
        }
        return CommandRouter(of: DiscoverSettings.options.program, handlers)
    }

    /// Answers `plan` from what etcd says now.
    private func forecast(_ known: Snapshot, _ clients: RegistryClients) async -> CommandResponse {
        var snapshot = known
        do {
            snapshot.accept(try await clients.source.once())
        } catch {
            return CommandResponse(status: ExitStatus.failure, "etcd does not answer: \(error)\n")
        }
        await snapshot.observePorts()
        return await PlanCommand(snapshot).answer()
    }
}

/// All that docker-discover has to do with etcd: it follows the registry, writes claims of ports, says that it runs, and
/// counts who else does.
struct RegistryClients: Sendable {
    /// etcd.
    let client: Etcd.Client
    /// Follows the registry.
    let source: RegistryWatcher
    /// Writes claims.
    let claimer: PortClaimWriter
    /// Says that this docker-discover runs.
    let presence: ConsumerRegistration
    /// Counts those that do.
    let census: ConsumerCount

    /// Prepares all of it; nothing is asked yet.
    init(
        _ http: HTTPClient, _ settings: DiscoverSettings, _ timing: RegistryWatcher.Timing, _ logger: Logger
    ) {
        client = Etcd.Client(http, settings.etcd, first: .random(in: 0..<1024))
        let keyspace = settings.keyspace
        source = RegistryWatcher(
            client: client, keyspace: keyspace, mode: settings.mode, timing: timing, logger: logger,
            health: EtcdHealth(logger))
        claimer = PortClaimWriter(client, keyspace, logger: logger)
        presence = ConsumerRegistration(client, keyspace, instance: settings.directory.instance(), logger: logger)
        census = ConsumerCount(client: client, keyspace: keyspace, logger: logger)
    }
}
