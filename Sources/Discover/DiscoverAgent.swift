import Shared

/// docker-discover: keeps an HAProxy at what the registry says, for ever.
///
/// One task follows the registry, one waits for HAProxy's end, and both only ring. The loop that answers owns all
/// state: it takes the newest whole state and brings HAProxy to it.
struct DiscoverAgent: Sendable {
    /// What it was told.
    let configuration: DiscoverSettings
    /// Where programs are looked for: PATH.
    let searchPath: String
    /// Where everything is told.
    let logger: Logger
    /// What wakes its loop.
    var bell = Doorbell<Reason>()
    /// The limits of its source.
    var sourceTiming = RegistryWatcher.Timing()
    /// The limits of its reconciler.
    var reconcilerTiming = Reconciler.Timing()

    /// Why the agent cannot start.
    enum Failure: Error, Equatable {
        /// HAProxy does not start, not even without any service.
        case noHAProxy(reason: String)
        /// libcurl does not work.
        case noHTTP
    }

    /// Why the loop looks again.
    enum Reason: Hashable {
        /// The registry is not what it was.
        case registry
        /// What an operator adds is to be read again.
        case hangup
        /// HAProxy is no more, or another one.
        case proxyEnded
        /// Somebody asks for something.
        case request
        /// The consumers were counted.
        case consumers
        /// A wait is over.
        case retry
    }

    /// Runs until the task is cancelled, then stops HAProxy.
    ///
    /// - Throws: only what makes a start impossible. An HAProxy of an earlier run goes on then.
    func run() async throws {
        FileDescriptorLimit.bound()
        let lock = try configuration.directory.open()
        defer { lock.release() }
        guard let http = HTTPClient() else { throw Failure.noHTTP }
        let link = RegistryClients(http, configuration, sourceTiming, logger)
        let newest = LatestValue<RegistryState>()
        let cache = RegistryCacheWriter(
            RegistryCache(file: configuration.directory.catalog, keyspace: configuration.keyspace), logger: logger)
        cache.load()
        try await withThrowingDiscardingTaskGroup { group in
            defer { group.cancelAll() }
            // It takes etcd's time, while HAProxy is asked what it can do.
            group.addTask {
                try? await link.source.run(from: cache.saved?.registry) { state in
                    newest.put(state)
                    link.source.health.reached(state.revision)
                    bell.ring(.registry)
                }
            }
            var reconciler = try await prepare(cache)
            try await serve(&reconciler, link, newest)
            let grace = configuration.stopGrace
            // The task is cancelled here, and stopping takes time.
            await Task { [reconciler] in
                var reconciler = reconciler
                await reconciler.stop(grace: grace)
            }.value
        }
    }

    /// Finds HAProxy, and what an earlier run left.
    private func prepare(_ cache: RegistryCacheWriter) async throws -> Reconciler {
        let directory = configuration.directory
        let program = try await HAProxyProgram.probe(
            configuration.haproxy, searchPath: searchPath, scratch: AtomicFile(path: directory.path + "/probe.cfg"))
        logger.info(
            "docker-discover started",
            [
                "version": Version.current, "mode": configuration.mode, "prefix": configuration.keyspace.prefix,
                "state_dir": directory.path, "stats": configuration.host.statsBind,
            ])
        var timing = HAProxyController.Timing()
        timing.drains.limit = configuration.drainTimeout
        let haproxy = await HAProxyController(
            try await configuration.attach(program, logger), logger: logger, timing: timing)
        var reconciler = Reconciler(
            haproxy, settings: configuration.settings(for: program.abilities), cache: cache,
            holdTime: configuration.holdTime, logger: logger, timing: reconcilerTiming)
        reconciler.accept(configuration.additionFiles.read())
        reconciler.restore()
        return reconciler
    }

    /// Answers rings until the task is cancelled.
    private func serve(
        _ reconciler: inout Reconciler, _ link: RegistryClients, _ newest: LatestValue<RegistryState>
    ) async throws {
        let consumers = LatestValue<Int>()
        let requests = LoopQueue<Reconciler> { bell.ring(.request) }
        let agent = Snapshot.Agent.thisProcess
        let board = SharedSnapshot(reconciler.snapshot(agent: agent, store))
        let commands = answers(requests, board, link).server(at: configuration.directory.controlSocket, logger)
        try await withThrowingDiscardingTaskGroup { group in
            defer { group.cancelAll() }
            if let commands { group.addTask { await commands.run() } }
            // Whoever waits for confirmations has to know of it before it has traffic.
            group.addTask { await link.presence.run() }
            group.addTask { try? await link.claimer.run() }
            if reconciler.registry == nil, !reconciler.isServing { await awaitRegistry() }
            guard !Task.isCancelled else { return }
            let first = newest.take()
            if let first { reconciler.accept(first) }
            var retry = await reconciler.turn()
            guard reconciler.haproxy.known != .notRunning else {
                throw Failure.noHAProxy(reason: reconciler.failure ?? "it ended")
            }
            // What was read from the disk may long be settled.
            if first != nil { link.claimer.submit(reconciler.claims) }
            group.addTask {
                try? await link.census.run { count in
                    consumers.put(count)
                    bell.ring(.consumers)
                }
            }
            var confirmed: Int64 = 0
            var (alarm, watch): (Task<Void, Never>?, Task<Void, Never>?)
            while true {
                // Each turn is a try and knows the next wait; what an earlier one waited for is over.
                alarm?.cancel()
                alarm = retry.map { wait in
                    Task { if (try? await Task.sleep(for: wait)) != nil { bell.ring(.retry) } }
                }
                watch?.cancel()
                watch = Task { [instance = reconciler.haproxy.instance] in
                    if (try? await instance.changed()) != nil { bell.ring(.proxyEnded) }
                }
                board.put(reconciler.snapshot(agent: agent, store))
                guard let reasons = await bell.answer() else { break }
                if reasons.contains(.hangup) { readFiles(for: &reconciler) }
                let state = newest.take()
                if let state { reconciler.accept(state) }
                if let count = consumers.take() { reconciler.accept(consumers: count) }
                requests.change(&reconciler)
                retry = await reconciler.turn()
                requests.respond(reconciler)
                if state != nil { link.claimer.submit(reconciler.claims) }
                if let applied = reconciler.applied, applied.revisionToConfirm != confirmed {
                    link.presence.confirm(applied.revision, of: applied.clusterID)
                    confirmed = applied.revisionToConfirm
                }
            }
            alarm?.cancel()
            watch?.cancel()
        }
    }

    /// Reads again what an operator has written into files on this host.
    private func readFiles(for reconciler: inout Reconciler) {
        reconciler.accept(configuration.additionFiles.read())
        guard let path = configuration.statsAuthPath else { return }
        do {
            reconciler.accept(try StatsUser.read(path))
        } catch {
            logger.error("cannot read STATS_AUTH; keeping the previous users", ["error": "\(error)"])
        }
    }

    /// Waits a moment for the registry where nothing is known of it: a start with the services is sooner there than one
    /// without them and a reload.
    private func awaitRegistry() async {
        let alarm = Task { [bell] in if (try? await Task.sleep(for: .seconds(1))) != nil { bell.ring(.retry) } }
        defer { alarm.cancel() }
        while let reasons = await bell.answer(), reasons.isDisjoint(with: [.registry, .retry]) {}
    }
}

extension DiscoverAgent.Failure: CustomStringConvertible {
    /// One sentence for the person who starts the program.
    var description: String {
        switch self {
        case .noHAProxy(let reason): "HAProxy does not start: \(reason)"
        case .noHTTP: "cannot initialise libcurl"
        }
    }
}

// What the agent answers to commands.

extension DiscoverAgent {
    /// Where the registry is.
    var store: Snapshot.Store { Snapshot.Store(configuration) }

    /// What each command does; those that only ask do not wait for the loop.
    func answers(_ requests: LoopQueue<Reconciler>, _ board: SharedSnapshot<Snapshot>, _ link: RegistryClients)
        -> CommandRouter
    {
        let known = { @Sendable in
            var snapshot = board.read()
            snapshot.store.health = link.source.health.state
            return snapshot
        }
        var handlers: [String: CommandRouter.Handler] = [
            DiscoverCommands.release.name: { await ReleaseCommand.answer($0, requests) },
            PlanCommand.command.name: { _ in await forecast(known(), link) },
        ]
        for name in [StatusCommands.status.name, StatusCommands.why.name] {
            handlers[name] = { await StatusCommands.answer([name] + $0, known()) }
        }
        return CommandRouter(of: DiscoverSettings.options.program, handlers)
    }

    /// Answers `plan` from what etcd says now.
    private func forecast(_ known: Snapshot, _ link: RegistryClients) async -> CommandResponse {
        var snapshot = known
        do {
            snapshot.accept(try await link.source.once())
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
        _ http: HTTPClient, _ configuration: DiscoverSettings, _ timing: RegistryWatcher.Timing, _ logger: Logger
    ) {
        let client = Etcd.Client(http, configuration.etcd, first: .random(in: 0..<1024))
        let keyspace = configuration.keyspace
        source = RegistryWatcher(
            client: client, keyspace: keyspace, mode: configuration.mode, timing: timing, logger: logger,
            health: EtcdHealth(logger))
        claimer = PortClaimWriter(client, keyspace, logger: logger)
        presence = ConsumerRegistration(client, keyspace, instance: configuration.directory.instance(), logger: logger)
        census = ConsumerCount(client: client, keyspace: keyspace, logger: logger)
    }
}
