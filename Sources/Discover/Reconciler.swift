import Glibc
import Shared

/// Keeps HAProxy at what the registry says.
///
/// One loop owns it, and with it all that is known. ``converge()`` looks at what should be and what is, and does what is
/// missing and due; after a failure the same call is the next try.
struct Reconciler {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// The first wait after HAProxy refused something.
        var firstRetry: Duration = .milliseconds(250)
        /// The longest.
        var retryLimit: Duration = .seconds(15)
        /// Between two looks at a port that another process holds.
        var portInterval: Duration = .seconds(1)
        /// How long a dead HAProxy may take to let go of its ports.
        var portPatience: Duration = .seconds(1)
        /// Between two looks at what HAProxy says of endpoints that are held.
        var holdInterval: Duration = .seconds(1)
        /// Of steps from one interval of checks to another.
        var stretch = CheckRateLimiter.Timing()
        /// How long the copy for the next start may be behind: it has all keys, and takes long with many.
        var copyInterval: Duration = .seconds(1)
        /// Of what `/healthz` answers.
        var health = HealthPage.Timing()
        /// Of what is done with HAProxy.
        var driver = HAProxyController.Timing()
    }

    /// What is the same for all services.
    var settings: HAProxySettings
    /// What keeps what is known for the next start.
    let copy: RegistryCacheWriter
    /// Where everything is told.
    let logger: Logger
    /// The limits.
    let timing: Timing

    /// What the registry says; nil until it is known, which is not the same as empty.
    private(set) var registry: RegistryState?
    /// Whether that is only the copy on the disk, as etcd has not answered yet.
    private(set) var isRemembered = false
    /// The lost endpoints that stay in service.
    var holds: HoldKeeper
    /// How far checks are stretched, as there are so many consumers.
    var rate = CheckRateLimiter()
    /// What an operator adds to the file.
    var additions: SnippetStore
    /// What earlier decisions came to.
    var decisions = DesiredStateCache()
    /// What earlier configurations came to.
    var sections = SectionCache()
    /// What brings HAProxy to a configuration.
    var driver: HAProxyController
    /// The waits after HAProxy refused something.
    var backoff: Backoff
    /// What was told.
    var journal: EventLog
    /// What has to be written into the registry so that all services keep their ports.
    var claims: [PortClaimUpdate] = []
    /// The services that HAProxy refuses.
    var rejected = RejectedServices()
    /// The newest file that HAProxy has accepted as a whole, also one of an earlier run.
    var accepted: HAProxyConfiguration?
    /// Since when claims of ports are of no use.
    var claimExpiry = ClaimExpiry()
    /// What `/healthz` answers.
    var health: HealthPage
    /// When HAProxy is to be brought to what should be; nil where it is there.
    var due: ContinuousClock.Instant? = .now
    /// When the copy on the disk is to follow.
    var copyDue: ContinuousClock.Instant?
    /// What the registry said when HAProxy last did all of it; nil where nothing is known of that.
    var applied: RegistryState?

    /// From what the newest decision was made; nil before the first.
    var inputs: DesiredInputs?
    /// Where services should listen, as of the newest decision.
    var wantedBinds: Set<BindAddress> = []
    /// Since when the registry says what HAProxy does not do yet, as time since the beginning of 1970; nil where it does.
    var behindSince: Duration?
    /// What came of bringing HAProxy to configurations.
    var history = ReloadHistory()

    /// The failure that was told last; nil where all went well.
    var failure: String? { journal.failure }

    /// The master that runs; nil where none does.
    var master: HAProxyMaster? { driver.master }

    /// Whether an HAProxy serves, be it ours or another's.
    var isServing: Bool { driver.isServing }

    /// Takes the parts and knows nothing yet.
    init(
        _ process: SupervisedHAProxy, settings: HAProxySettings, copy: RegistryCacheWriter, holdTime: Duration,
        logger: Logger,
        timing: Timing = .init()
    ) {
        self.settings = settings
        self.copy = copy
        self.logger = logger
        self.timing = timing
        additions = SnippetStore(ConfigSnippets.Copy(file: process.directory.additions), logger: logger)
        self.settings.additions = additions.accepted
        driver = HAProxyController(process, logger: logger, timing: timing.driver)
        health = HealthPage(timing.health)
        backoff = Backoff(first: timing.firstRetry, limit: timing.retryLimit)
        journal = EventLog(logger)
        holds = HoldKeeper(holdTime: holdTime, interval: timing.holdInterval)
    }
}

// MARK: What becomes known

extension Reconciler {
    /// Takes the last known catalogue, and an HAProxy that an earlier run left.
    mutating func recollect() async throws {
        if let saved = copy.saved {
            (registry, isRemembered) = (saved.registry, true)
            journal.tell(holds.recall(saved))
        }
        rate = CheckRateLimiter(minInterval: copy.saved?.checkFloor, timing: timing.stretch)
        settings.host.minCheckInterval = rate.minInterval
        let text = try? FileContents(driver.filePath).text
        accepted = text.flatMap(HAProxyConfiguration.init(text:))
        try await driver.adopt()
    }

    /// Takes a newer state of the registry; whatever was refused before is tried anew.
    mutating func take(_ registry: RegistryState) {
        (self.registry, isRemembered) = (registry, false)
        behindSince = behindSince ?? Timestamp.now()
        journal.tell(holds.take(registry))
        backoff.reset()
        due = .now
    }

    /// Learns how many consumers there are, this one included.
    mutating func learn(consumers: Int) {
        var random = SystemRandomNumberGenerator()
        rate.setConsumerCount(consumers, at: .now, using: &random)
    }

    /// Ends the holds of a service, or all of them; returns what was held.
    mutating func release(_ service: ServiceName?) -> [HeldEndpoint] {
        let changes = holds.release(service)
        journal.tell(changes)
        if !changes.isEmpty { due = .now }
        return changes.flatMap(\.holds)
    }

    /// Takes what the files say now that an operator adds to haproxy.cfg.
    mutating func take(_ offer: SnippetFiles.Candidate) {
        additions.take(offer)
        backoff.reset()
        due = .now
    }

    /// Takes who may see the stats page.
    mutating func take(_ users: [StatsUser]) {
        guard users != settings.statsUsers else { return }
        settings.statsUsers = users
        logger.info("took STATS_AUTH", ["users": users.count])
        backoff.reset()
        due = .now
    }

    /// Notes whether HAProxy has ended, or somebody else did something with it.
    mutating func look() async {
        if driver.look() { due = .now }
        if await driver.lookAtExisting() { due = .now }
    }
}

// What is done to bring HAProxy there.

extension Reconciler {
    /// Brings HAProxy to what the registry says, as far as that is due.
    ///
    /// - Returns: when to look again although nothing changed; nil where all is as it should be.
    mutating func converge() async -> Duration? {
        await judgeHolds()
        if rate.applyDue(at: .now) {
            settings.host.minCheckInterval = rate.minInterval
            journal.stretched(to: rate.minInterval)
            due = .now
        }
        if rejected.retryDue(at: .now) { due = .now }
        if let due, due <= .now {
            let pause = await advance()
            self.due = pause.map { .now + $0 }
        }
        await tellHealth()
        let drains = await driver.finishDrains()
        if let copyDue, copyDue <= .now { beginCopy() }
        let waits = [due, copyDue, holds.due, rate.due, rejected.due, healthDue].map { due in
            due.map { max(ContinuousClock.now.duration(to: $0), .zero) }
        }
        return (waits + [drains]).compactMap(\.self).min()
    }

    /// Keeps the copy for the next start, and stops HAProxy within the grace period.
    mutating func stop(grace: Duration) async {
        if copyDue != nil { await finishCopy() }
        await driver.stop(grace: grace)
    }

    /// Has `/healthz` answer whether HAProxy runs what it should.
    private mutating func tellHealth() async {
        let (now, worker) = (ContinuousClock.now, driver.current?.worker)
        guard isServing, let message = health.message(for: worker, at: now) else { return }
        health.noteTold(await driver.process.runtime.tellHealth(message), to: worker, at: now)
    }

    private var healthDue: ContinuousClock.Instant? { isServing ? health.due(at: .now) : nil }

    /// One try; returns when the next is due.
    private mutating func advance() async -> Duration? {
        let begin = ContinuousClock.now
        let isSettled = await settleAdditions()
        guard let (next, plan, isWaiting) = await desired() else { return nil }
        let pause = isWaiting || !isSettled ? timing.portInterval : nil
        let wasServing = isServing
        // A file of an earlier run, which stands in until the registry is known, has what was added then.
        let hasAdditions = plan != nil || driver.file == nil
        do {
            let change = ConfigChange(from: driver.known, to: next)
            let progress = try await driver.apply(change, or: bare)
            let took = begin.duration(to: .now)
            if let wait = progress.wait {
                health.waits(at: .now)
                journal.changed(progress.done, driver.current, revision: nil, took: took)
                return pause.map { min($0, wait) } ?? wait
            }
            applied = registry
            if hasAdditions { additions.noteLoaded() }
            health.reached()
            behindSince = nil
            history.note(progress.done)
            journal.applied()
            journal.changed(
                progress.done, driver.current, revision: registry?.revision, took: took, oldWorkers: driver.oldWorkers
            )
        } catch {
            guard !Task.isCancelled else { return nil }
            if error is HAProxyProgram.Rejection, let plan, await examine(plan) { return .zero }
            if let failure = error as? SupervisedHAProxy.Failure, hasAdditions,
                additions.takeBack(because: failure.description, isRunning: wasServing)
            {
                return .zero
            }
            history.note(error)
            journal.refused(error)
            health.failed()
            let wait = backoff.next()
            return pause.map { min($0, wait) } ?? wait
        }
        guard keep(next) else { return backoff.next() }
        backoff.reset()
        accepted = next
        let saved = copy.saved
        if copyOfNow?.isAsOld(as: saved) == false { copyDue = copyDue ?? .now + max(timing.copyInterval, copy.pause) }
        // What is held is nowhere else.
        if holds.kept != saved?.holds ?? [] { await finishCopy() }
        // What is no longer wrong is told at the next turn.
        if let plan, rejected.release(plan) { return .zero }
        return pause
    }

    /// Finds the services for whose sake HAProxy refuses a plan; returns whether there is something to do without them.
    private mutating func examine(_ plan: DesiredState) async -> Bool {
        let (driver, settings, accepted) = (driver, settings, accepted)
        var examination = RejectionAnalysis(plan) { trial in
            let configuration = HAProxyConfiguration(trial, settings)
            return try await driver.refusal(of: configuration).map { ConfigErrors($0.alerts, of: configuration) }
        }
        guard let patients = try? await examination.patients(lastAccepted: { accepted?.section(of: $0) })
        else { return false }
        rejected.add(patients, at: .now)
        return true
    }

    /// Asks HAProxy of lost endpoints, where that is due.
    private mutating func judgeHolds() async {
        guard let due = holds.due, due <= .now else { return }
        let changes = holds.judge(await driver.verdicts(on: holds.services))
        journal.tell(changes)
        if !changes.isEmpty { self.due = .now }
    }

    /// Brings the file to what HAProxy runs; returns whether it is there.
    private mutating func keep(_ next: HAProxyConfiguration) -> Bool {
        do {
            try driver.keep(next)
            journal.wrote()
            return true
        } catch {
            journal.cannotWrite(error)
            return false
        }
    }

    /// What the copy for the next start should have; nil before anything was applied.
    private var copyOfNow: RegistryCache.Copy? {
        applied.map { RegistryCache.Copy(registry: $0, holds: holds.kept, checkFloor: rate.minInterval) }
    }

    private mutating func beginCopy() {
        copyDue = nil
        if let next = copyOfNow, !copy.begin(next) { copyDue = .now + timing.copyInterval }
    }

    private mutating func finishCopy() async {
        copyDue = nil
        if let next = copyOfNow { await copy.finish(next) }
    }
}

// What HAProxy should run.

extension Reconciler {
    /// What should run, and whether a service waits for its port; nil where nobody knows yet, and HAProxy serves.
    mutating func desired() async -> (HAProxyConfiguration, DesiredState?, isWaiting: Bool)? {
        guard let registry else {
            // Whoever runs an HAProxy of his own must not find it without services, for want of knowing better.
            return master == nil && driver.process.existing == nil ? (driver.file ?? render(.empty), nil, false) : nil
        }
        // What runs is at least as new as the copy, which may be behind: endpoints that have gone would come back.
        if isRemembered, driver.current != nil { return nil }
        var inputs = inputs(registry)
        inputs.ports = PortObservation(ownAddresses: IPAddress.ofThisHost())
        inputs.ports.add(wantedBinds, obstacles: await obstacles(to: wantedBinds))
        var desired = DesiredState(inputs, &decisions)
        if !desired.untestedBinds.isEmpty {
            inputs.ports.add(desired.untestedBinds, obstacles: await obstacles(to: desired.untestedBinds))
            desired = DesiredState(inputs, &decisions)
        }
        self.inputs = inputs
        wantedBinds = desired.wantedBinds
        claims = desired.claims
        rejected.evict(except: desired.services)
        claimExpiry.update(desired.idleClaims, at: .now)
        journal.tell(desired.diagnostics)
        let isWaiting = !wantedBinds.isDisjoint(with: inputs.ports.obstacles.keys)
        return (render(desired), desired, isWaiting)
    }

    /// All that decides, with what was seen last of this host's ports and addresses.
    private func inputs(_ registry: RegistryState) -> DesiredInputs {
        DesiredInputs(
            registry: registry, held: holds.records, rejected: rejected, expiredClaims: claimExpiry.expired(at: .now),
            ports: inputs?.ports ?? PortObservation(), host: settings.host)
    }

    private func obstacles(to binds: Set<BindAddress>) async -> [BindAddress: String] {
        guard !binds.isEmpty else { return [:] }
        let known = driver.file?.binds ?? []
        guard !isServing else {
            return await PortCheck.obstacles(to: binds, beside: known, patience: .zero)
        }
        if driver.process.existing != nil {
            let found = await PortCheck.obstacles(to: binds, patience: .zero)
            return found.filter { !driver.mayHold($0.key) }
        }
        let patience = binds.isDisjoint(with: known) ? .zero : timing.portPatience
        return await PortCheck.obstacles(to: binds, patience: patience)
    }

    private mutating func render(_ plan: DesiredState) -> HAProxyConfiguration {
        HAProxyConfiguration(plan, settings, &sections)
    }

    /// What is rendered where nothing else works: the stats page alone, and nothing that anybody added.
    var bare: HAProxyConfiguration {
        var settings = settings
        settings.additions = ConfigSnippets()
        return HAProxyConfiguration(.empty, settings)
    }
}

// MARK: What an operator adds

extension Reconciler {
    /// Has HAProxy say which of the additions that are offered it takes; returns whether it could be asked.
    mutating func settleAdditions() async -> Bool {
        var additions = additions
        let isSettled = await additions.settle { try await refusal(of: $0) }
        self.additions = additions
        settings.additions = additions.accepted
        return isSettled
    }

    /// Why a file with these additions is refused for their sake; nil where it is not.
    private mutating func refusal(of additions: ConfigSnippets) async throws -> String? {
        guard !additions.isEmpty else { return nil }
        var settings = settings
        settings.additions = additions
        if let obstacle = await obstacle(to: additions) { return obstacle }
        var plan = DesiredState.empty
        if let registry {
            var inputs = inputs(registry)
            inputs.host = settings.host
            plan = DesiredState(inputs, &decisions)
        }
        guard let refusal = try await driver.refusal(of: HAProxyConfiguration(plan, settings)) else { return nil }
        settings.additions = ConfigSnippets()
        let isTheServicesFault = try await driver.refusal(of: HAProxyConfiguration(plan, settings)) != nil
        settings.additions = additions
        let configuration = HAProxyConfiguration(isTheServicesFault ? .empty : plan, settings)
        let reason = isTheServicesFault ? try await driver.refusal(of: configuration) : refusal
        return reason.map { configuration.explain($0.description, additions) }
    }

    /// What HAProxy's check does not find: a right that is missing, or something in the way of an addition that listens.
    ///
    /// A reload that fails for it would stop all listeners.
    private func obstacle(to additions: ConfigSnippets) async -> String? {
        if driver.process.existing == nil, let excess = ProcessCapabilities.own.flatMap(additions.excess) {
            return excess
        }
        if let bind = additions.binds.first(where: settings.statsBind.overlaps) {
            return "it listens on \(bind), where the stats page is"
        }
        let known = driver.file?.binds ?? []
        let obstacles = await PortCheck.obstacles(
            to: additions.binds, beside: isServing || driver.process.existing != nil ? known : [],
            patience: isServing ? .zero : timing.portPatience)
        let first = obstacles.min { $0.key.description < $1.key.description }
        return first.map { "it listens on \($0.key), which is \($0.value)" }
    }
}

extension Reconciler {
    /// What is known now.
    func snapshot(agent: Snapshot.Agent, _ store: Snapshot.Store) -> Snapshot {
        var snapshot = Snapshot(
            agent: agent, store: store, settings: settings, inputs: registry.map(inputs),
            appliedRevision: applied?.revision, behindSince: behindSince, holds: holds, history: history,
            running: driver.current, process: driver.process)
        for (place, reason) in additions.refusals { snapshot.refusedAdditions[place.variable] = reason }
        return snapshot
    }
}
