import Shared

// docker-discover without an HAProxy, which only writes outputs.

extension DiscoverAgent {
    /// Keeps outputs at what the registry says until the task is cancelled.
    ///
    /// No check says what is down here, and no port is taken, so nothing is claimed.
    func writeOutputs(_ outputs: Outputs?, _ inbox: Inbox, _ clients: RegistryClients) async {
        logger.info(
            "docker-discover started",
            [
                "version": Version.current, "mode": settings.mode, "prefix": settings.keyspace.prefix,
                "etcd": settings.etcd.members, "etcd_from": settings.etcd.sources.joined(separator: ","),
                "state_dir": settings.directory.path, "haproxy": DiscoverSettings.noHAProxy,
            ])
        var state = OutputsState(settings, logger)
        let board = SharedSnapshot(state.snapshot(store))
        await withDiscardingTaskGroup { group in
            defer { group.cancelAll() }
            if let outputs { group.addTask { await outputs.run(nil) } }
            if let commands = answers(nil, board, clients, outputs).server(
                at: settings.directory.controlSocket, logger)
            {
                group.addTask { await commands.run() }
            }
            group.addTask { await clients.presence.run() }
            while let rung = await bell.answer() {
                if rung.contains(.hangup) { readFiles(for: outputs, clients) }
                if let registry = inbox.registry.take() { state.accept(registry) }
                if let (desired, registry) = state.decide() {
                    outputs?.accept(desired, revision: registry.revision)
                    if state.confirms(registry) {
                        clients.presence.confirm(registry.revision, of: registry.clusterID)
                    }
                }
                board.put(state.snapshot(store))
                state.alarm(bell)
            }
        }
    }
}

/// What a docker-discover without an HAProxy knows.
private struct OutputsState {
    private let agent = Snapshot.Agent.thisProcess
    private let settings: HAProxySettings
    private let clock = WallClock()
    private var registry: RegistryState?
    private var massLoss: MassLossGuard
    private var decisions = DesiredStateCache()
    private var events: EventLog
    private var wake: Task<Void, any Error>?
    private var confirmed: Int64 = 0

    init(_ settings: DiscoverSettings, _ logger: Logger) {
        self.settings = settings.settings(for: .all)
        massLoss = MassLossGuard(holdTime: settings.holdTime)
        events = EventLog(logger)
    }

    private var inputs: DesiredInputs? {
        registry.map { DesiredInputs(registry: $0, held: massLoss.records, host: settings.host) }
    }

    mutating func accept(_ registry: RegistryState) {
        self.registry = registry
        events.log(massLoss.accept(registry, at: clock.now))
    }

    /// What is in service; nil before etcd has answered.
    mutating func decide() -> (DesiredState, RegistryState)? {
        // Nobody says that a lost endpoint is down, so it is held for its time.
        if massLoss.wait(at: clock.now) == .zero { events.log(massLoss.evaluate(nil, at: clock.now)) }
        guard let inputs else { return nil }
        let desired = DesiredState(inputs, &decisions)
        events.log(desired.diagnostics)
        return (desired, inputs.registry)
    }

    /// Whether somebody waits to hear that a state is in the outputs; true once.
    mutating func confirms(_ registry: RegistryState) -> Bool {
        defer { confirmed = registry.revisionToConfirm }
        return confirmed != registry.revisionToConfirm
    }

    /// Has the bell ring when something that is held is due.
    mutating func alarm(_ bell: Doorbell<DiscoverAgent.Reason>) {
        wake?.cancel()
        wake = massLoss.wait(at: clock.now).map { bell.ring(.retry, in: $0) }
    }

    func snapshot(_ store: Snapshot.Store) -> Snapshot {
        Snapshot(
            agent: agent, store: store, settings: settings, inputs: inputs, appliedRevision: registry?.revision,
            massLoss: massLoss, process: nil)
    }
}
