import Shared

/// Keeps HAProxy at what the registry says: each turn observes, decides and applies what is due.
///
/// One loop owns it, and with it all that is known. After a failure the next turn is the next try.
struct Reconciler {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// The first wait after HAProxy rejected something.
        var firstRetry: Duration = .milliseconds(250)
        /// The longest.
        var retryLimit: Duration = .seconds(15)
        /// Between two tries to write a file for which there was no room.
        var fileInterval: Duration = .seconds(1)
        /// How long a large file may be behind what was changed while HAProxy ran.
        var fileDelay: Duration = .seconds(1)
        /// Between two looks at a port that another process holds.
        var portInterval: Duration = .seconds(1)
        /// How long a dead HAProxy may take to let go of its ports.
        var portPatience: Duration = .seconds(1)
        /// Of steps from one interval of checks to another.
        var rate = CheckRateLimiter.Timing()
        /// How long the cache for the next start may be behind: it has all keys, and takes long with many.
        var cacheInterval: Duration = .seconds(1)
        /// Of what `/healthz` answers.
        var health = HealthPage.Timing()
        /// How long a worker may give no answer before another one takes its place.
        var workerPatience: Duration = .seconds(5)
    }

    private let agent = Snapshot.Agent.thisProcess
    private let timing: Timing
    private let log: Logger
    private let clock = WallClock()
    /// What is known for the next start.
    private let cache: RegistryCacheWriter

    // What decides.

    /// What the registry says; nil until it is known, which is not the same as empty.
    private var registry: RegistryState?
    /// Whether that is only the cache of an earlier run, as etcd has not answered yet.
    private var isCached = false
    /// What is the same for all services.
    private var settings: HAProxySettings
    /// The lost endpoints that stay in service.
    private var massLoss: MassLossGuard
    /// The services that HAProxy rejects.
    private var rejected = RejectedServices()
    /// Since when claims of ports are of no use.
    private var claimExpiry = ClaimExpiry()
    /// The shortest interval of checks.
    private var rate = CheckRateLimiter()
    /// What an operator adds to the file.
    private var snippets: SnippetStore
    /// The lost routes that are kept.
    private var heldRoutes: RouteHold
    /// The routes of labels whose services have no endpoint any more.
    private var formerRoutes = FormerRoutes()
    /// The routes that wait for their new target.
    private var switches: RouteSwitches
    /// The certificates for routes.
    private var certificates: CertificateStore
    /// What was seen of this host's ports and addresses.
    private var ports = PortObservation()
    /// What endpoints on this host have published.
    private var published = PublishedPorts()

    // What was decided.

    private var decisions = DesiredStateCache()
    private var sections = SectionCache()
    /// Where services should listen.
    private var wantedBinds: Set<BindAddress> = []
    /// Whether the registry is newer than what was decided last.
    private var isNews = false

    // What was applied.

    /// What brings HAProxy to a configuration.
    private(set) var haproxy: HAProxyController
    /// The name that the runtime API's socket had when HAProxy was last loaded, as far as is known.
    private var loadedSocket: String
    /// The newest file that HAProxy has accepted as a whole, also one of an earlier run.
    private var accepted: HAProxyConfiguration?
    /// What the registry said when HAProxy last did all of it; nil where nothing is known of that.
    private var applied: RegistryState?
    /// The newest revision whose application somebody waited for.
    private var confirmed: Int64 = 0
    /// Since when the registry says what HAProxy does not do yet, as time since the beginning of 1970; nil where it does.
    private var behindSince: Duration?
    private var events: EventLog
    private var history = ReloadHistory()
    private var health: HealthPage
    private var workerProbe: WorkerProbe

    // When something is to be done.

    private var backoff: Backoff
    /// When HAProxy is to be brought to what should be; nil where it is there.
    private var due: ContinuousClock.Instant? = .now
    /// When the cache is to follow.
    private var cacheDue: ContinuousClock.Instant?
    /// When the file is to follow what was changed while HAProxy ran.
    private var fileDue: ContinuousClock.Instant?

    /// Takes the parts, and what an earlier run left.
    init(
        _ haproxy: HAProxyController, settings: HAProxySettings, cache: RegistryCacheWriter, holdTime: Duration,
        logger: Logger, timing: Timing = Timing()
    ) {
        (self.settings, self.cache, self.timing, log) = (settings, cache, timing, logger)
        snippets = SnippetStore(logger)
        loadedSocket = settings.statsSocket
        self.haproxy = haproxy
        health = HealthPage(timing.health)
        workerProbe = WorkerProbe(patience: timing.workerPatience)
        backoff = Backoff(first: timing.firstRetry, limit: timing.retryLimit)
        events = EventLog(logger)
        massLoss = MassLossGuard(holdTime: holdTime)
        switches = RouteSwitches(limit: holdTime)
        heldRoutes = RouteHold(limit: holdTime)
        certificates = CertificateStore(settings.routeFiles)
        self.settings.certificates = certificates.accepted
        restore()
    }

    /// Takes the cached registry, and the file that an earlier run left.
    private mutating func restore() {
        if let saved = cache.saved {
            (registry, isCached) = (saved.registry, true)
            if haproxy.current != nil {
                var leading = saved.registry.routes
                leading.apply(saved.waitingRoutes.map { ($0.key, $0.value) })
                switches = RouteSwitches(limit: switches.limit, leading: leading)
            }
            if let kept = saved.heldRoutes { heldRoutes = RouteHold(limit: heldRoutes.limit, kept) }
            events.log(massLoss.restore(saved.holds, besides: saved.registry, at: clock.now))
            published = PublishedPorts(saved.published, at: clock.now)
        }
        rate = CheckRateLimiter(minInterval: cache.saved?.checkFloor, timing: timing.rate)
        countEndpoints()
        settings.host.minCheckInterval = rate.minInterval
        accepted = haproxy.access.file.read()
    }

    /// The failure that was logged last; nil where all went well.
    var failure: String? { events.failure }

    /// The revision of the registry that was accepted last; nil where none was.
    var revision: Int64? { registry?.revision }

    /// Whether nothing runs, and nobody knows what should.
    var knowsNothing: Bool { registry == nil && !haproxy.isServing }
}

// MARK: What becomes known

extension Reconciler {
    /// Accepts a newer state of the registry; whatever was rejected before is tried anew.
    mutating func accept(_ registry: RegistryState) {
        (self.registry, isCached, isNews) = (registry, false, true)
        behindSince = behindSince ?? Timestamp.now()
        events.log(massLoss.accept(registry, at: clock.now))
        heldRoutes.accept(registry, at: clock.now)
        countEndpoints()
        tryNow()
    }

    /// Counts what HAProxy checks, on which the intervals depend.
    private mutating func countEndpoints() {
        guard let registry else { return }
        var random = SystemRandomNumberGenerator()
        rate.setEndpointCount(registry.entryCount, at: .now, using: &random)
    }

    /// Accepts how many client hosts there are, this one included.
    mutating func accept(consumers: Int) {
        var random = SystemRandomNumberGenerator()
        rate.setConsumerCount(consumers, at: .now, using: &random)
    }

    /// Accepts what the files say now that an operator adds to haproxy.cfg.
    mutating func accept(_ candidate: SnippetFiles.Candidate) {
        snippets.accept(candidate)
        tryNow()
    }

    /// Accepts the certificates that the folder has now.
    mutating func accept(_ folder: CertificateFolder) {
        certificates.accept(folder)
        tryNow()
    }

    /// Accepts who may see the stats page.
    mutating func accept(_ users: [StatsUser]) {
        guard users != settings.statsUsers else { return }
        settings.statsUsers = users
        log.info("loaded STATS_AUTH", ["users": users.count])
        tryNow()
    }

    /// Ends the holds of a service, or all of them; returns what was held.
    mutating func release(_ service: ServiceName?) -> [HeldEndpoint] {
        let changes = massLoss.release(service)
        events.log(changes)
        let hasRoutes = service == nil && !heldRoutes.records.isEmpty
        if service == nil { heldRoutes.release() }
        if !changes.isEmpty || hasRoutes { due = .now }
        return changes.flatMap(\.holds)
    }

    private mutating func tryNow() {
        backoff.reset()
        due = .now
    }
}

// MARK: A turn

extension Reconciler {
    /// What came of a turn.
    struct Outcome {
        /// Whether there is an HAProxy to work with: ours runs, or another's is awaited.
        var hasHAProxy: Bool
        /// What should run; nil where nothing was decided from what etcd says.
        var decided: DesiredState?
        /// What has to be written into the registry so that all services keep their ports; nil where that is not new.
        var claims: [PortClaimUpdate]?
        /// The state of the registry that HAProxy runs, where somebody waits for that.
        var confirmed: RegistryState?
        /// When to look again although nothing changed; nil where all is as it should be.
        var wait: Duration?
    }

    /// Observes, decides and applies what is due.
    mutating func turn() async -> Outcome {
        await observe()
        var (decided, claims): (DesiredState?, [PortClaimUpdate]?)
        if let due, due <= .now {
            restoreRuntimeSocket()
            await reviewCertificates()
            await reviewSnippets()
            await updateSwitches()
            ports = PortObservation(ownAddresses: IPAddress.ofThisHost())
            await tryPorts(wantedBinds)
            var desired = decide()
            // Addresses that nobody has tried yet: look, then decide.
            if let untested = desired?.untestedBinds, !untested.isEmpty {
                await tryPorts(untested)
                desired = decide()
            }
            if let desired { claims = record(desired) }
            if !isCached, registry != nil { decided = desired }
            self.due = await apply(desired).map { .now + $0 }
        }
        let wait = await maintain()
        return Outcome(
            hasHAProxy: haproxy.known != .notRunning, decided: decided, claims: claims, confirmed: newlyConfirmed(),
            wait: wait)
    }

    /// Stops HAProxy within the grace period, with the cache up to date.
    func stop(grace: Duration) async {
        var haproxy = haproxy
        if fileDue != nil, let accepted { try? haproxy.writeFile(accepted) }
        if cacheDue != nil, let next = nextCache { await cache.finish(next) }
        await haproxy.stop(grace: grace)
    }
}

// MARK: Observe

extension Reconciler {
    /// Looks at HAProxy, at its checks of lost endpoints, and at the clock.
    private mutating func observe() async {
        if await haproxy.look() { due = .now }
        if massLoss.wait(at: clock.now) == .zero {
            let changes = massLoss.evaluate(await haproxy.health(of: massLoss.services), at: clock.now)
            events.log(changes)
            if !changes.isEmpty { due = .now }
        }
        if rate.applyDue(at: .now) {
            settings.host.minCheckInterval = rate.minInterval
            events.log(minCheckInterval: rate.minInterval)
            due = .now
        }
        if heldRoutes.expire(at: clock.now) { due = .now }
        if formerRoutes.expire(at: .now) { due = .now }
        if rejected.retryDue(at: .now) { due = .now }
        if published.expire(at: clock.now) { due = .now }
    }

    /// Has HAProxy make the runtime API's socket anew where somebody has deleted its file.
    ///
    /// A new worker takes sockets over by name, also one that has no file any more: it gets another name for the same
    /// path, which is bound.
    private mutating func restoreRuntimeSocket() {
        let directory = haproxy.access.directory
        guard haproxy.isServing, Folder.isMissing(directory.statsSocket) else { return }
        settings.statsSocket =
            loadedSocket == directory.statsSocket ? directory.otherNameOfStatsSocket : directory.statsSocket
    }

    /// Tries addresses; those at which HAProxy listens already are free.
    private mutating func tryPorts(_ binds: Set<BindAddress>) async {
        guard !binds.isEmpty else { return }
        let patience = binds.isDisjoint(with: haproxy.file?.binds ?? []) ? .zero : timing.portPatience
        ports.add(binds, obstacles: await haproxy.obstacles(to: binds, patience: patience))
    }

    /// Has HAProxy say which of the snippets that were read it accepts.
    private mutating func reviewSnippets() async {
        guard snippets.isPending else { return }
        var snippets = snippets
        await snippets.review { try await rejection(of: $0) }
        self.snippets = snippets
        settings.snippets = snippets.accepted
    }

    /// Has HAProxy say which of the certificates that were read are right.
    private mutating func reviewCertificates() async {
        guard certificates.isPending else { return }
        var certificates = certificates
        let access = haproxy.access
        await certificates.review { text in
            try access.directory.restore()
            return try await access.program.rejection(ofCertificate: text, in: access.directory)
        }
        self.certificates = certificates
        settings.certificates = certificates.accepted
    }

    /// Looks whether the new targets of changed routes are up.
    private mutating func updateSwitches() async {
        guard settings.host.routes != nil, let registry else { return }
        let services = switches.services(of: registry.routes)
        guard !services.isEmpty || !switches.waiting.isEmpty else { return }
        let ready = services.isEmpty ? [] : await haproxy.ready(among: services) ?? []
        let held = massLoss.services
        switches.update(to: registry.routes, at: Timestamp.now()) { service in
            ready.contains(service) && (registry.groups[service]?.service != nil || held.contains(service))
        }
    }

    /// Why a file with these snippets is rejected for their sake; nil where it is not.
    private mutating func rejection(of snippets: ConfigSnippets) async throws -> String? {
        guard !snippets.isEmpty else { return nil }
        if let obstacle = await obstacle(to: snippets) { return obstacle }
        var trial = settings
        trial.snippets = snippets
        var desired = DesiredState.empty(on: trial.host)
        if var inputs {
            inputs.host = trial.host
            desired = DesiredState(inputs, &decisions)
        }
        let whole = HAProxyConfiguration(desired, trial)
        guard let rejection = try await haproxy.rejection(of: whole) else { return nil }
        // A service that they lead to may have come in another mode than theirs, which is its own fault.
        let others = desired.with(desired.listeners.filter { trial.host.named[$0.service] == nil })
        if others.listeners.count < desired.listeners.count,
            try await haproxy.rejection(of: HAProxyConfiguration(others, trial)) == nil
        {
            return nil
        }
        var without = settings
        without.snippets = ConfigSnippets()
        guard try await haproxy.rejection(of: HAProxyConfiguration(desired, without)) != nil else {
            return whole.explain(rejection.description, snippets)
        }
        // It is the services' fault, and may be the snippets' too.
        let alone = HAProxyConfiguration(.empty(on: trial.host), trial)
        return try await haproxy.rejection(of: alone).map { alone.explain($0.description, snippets) }
    }

    /// What HAProxy's check does not find: a right that is missing, or something in the way of a snippet that listens.
    ///
    /// A reload that fails for it would stop all listeners.
    private func obstacle(to snippets: ConfigSnippets) async -> String? {
        if let missing = haproxy.access.capabilities.flatMap(snippets.missingCapability) { return missing }
        if let bind = snippets.binds.first(where: settings.statsBind.overlaps) {
            return "it listens on \(bind), where the stats page is"
        }
        let obstacles = await haproxy.obstacles(to: Set(snippets.binds), patience: timing.portPatience)
        let first = obstacles.min { $0.key.description < $1.key.description }
        return first.map { "it listens on \($0.key), which is \($0.value)" }
    }
}

// MARK: Decide

extension Reconciler {
    /// All that decides; nil while nobody knows what the registry says.
    private var inputs: DesiredInputs? {
        registry.map { registry in
            DesiredInputs(
                registry: registry, held: massLoss.records, rejected: rejected,
                expiredClaims: claimExpiry.expired(at: .now), switches: switches, formerRoutes: formerRoutes.routes,
                heldRoutes: heldRoutes,
                certificates: Set(settings.certificates.keys), ports: ports, published: published, host: settings.host)
        }
    }

    /// What should run; nil where nobody knows, and what runs or ran last stays.
    private mutating func decide() -> DesiredState? {
        guard let inputs else {
            // Whoever runs an HAProxy of his own must not find it without services, for want of knowing better.
            return haproxy.known == .notRunning && haproxy.file == nil ? .empty(on: settings.host) : nil
        }
        // What runs is at least as new as the cache, which may be behind: endpoints that have gone would come back.
        return isCached && haproxy.current != nil ? nil : DesiredState(inputs, &decisions)
    }

    /// Records what was decided; returns the claims that are to be written, once for each state of the registry.
    private mutating func record(_ desired: DesiredState) -> [PortClaimUpdate]? {
        wantedBinds = desired.wantedBinds
        rejected.evict(except: desired.services)
        claimExpiry.update(desired.idleClaims, at: .now)
        formerRoutes.update(desired.routeInputs?.labels ?? [:], of: desired.services, at: .now)
        published.update(desired.publishedHere, taken: ports.obstacles.keys, at: clock.now)
        events.log(desired.diagnostics.union(settings.host.routes?.https == nil ? [] : certificates.problems))
        defer { isNews = false }
        return isNews ? desired.claims : nil
    }

    /// The file that HAProxy should run; nil where it goes on with what it has.
    private mutating func configuration(of desired: DesiredState?) -> HAProxyConfiguration? {
        if let desired { return HAProxyConfiguration(desired, settings, &sections) }
        return registry == nil && haproxy.known == .notRunning ? haproxy.file : nil
    }
}

// MARK: Apply

extension Reconciler {
    /// Brings HAProxy to what is desired; returns when the next try is due, nil where there is nothing left to do.
    private mutating func apply(_ desired: DesiredState?) async -> Duration? {
        guard let next = configuration(of: desired) else { return nil }
        let begin = ContinuousClock.now
        let change = ConfigChange(from: haproxy.known, to: next)
        let withoutSnippets = change.load == .start ? desired.flatMap(withoutSnippets(of:)) : nil
        do {
            let progress = try await haproxy.apply(change, withoutSnippets: withoutSnippets, bare: bare)
            let took = begin.duration(to: .now)
            guard let wait = progress.wait else {
                // A file of an earlier run stands in until the registry is known, with the snippets of then.
                if desired != nil { snippets.recordLoaded() }
                record(progress.done, took: took)
                return await finish(next, desired)
            }
            health.waits(at: .now)
            events.changed(progress.done, haproxy.current, revision: nil, took: took)
            return min(wait, retryOfPorts ?? wait)
        } catch {
            guard !Task.isCancelled else { return nil }
            let wait = await recover(from: error, desired, withoutSnippets: withoutSnippets)
            // It was started with the file that was there: what needs no file is done at once.
            return change.load == .start && haproxy.isServing && Self.isOfFiles(error) ? .zero : wait
        }
    }

    /// Records that HAProxy runs what it should.
    private mutating func record(_ change: ConfigChange, took: Duration) {
        applied = registry
        if change.load != nil { loadedSocket = settings.statsSocket }
        if let registry { switches.applied(registry.routes) }
        behindSince = nil
        health.reached()
        history.record(change)
        events.applied()
        events.changed(
            change, haproxy.current, revision: registry?.revision, took: took, oldWorkers: haproxy.oldWorkers)
    }

    /// What HAProxy runs all of, once for each time that somebody waits for it.
    private mutating func newlyConfirmed() -> RegistryState? {
        guard let applied, applied.revisionToConfirm != confirmed else { return nil }
        // Who asked for a confirmation of a route that waits has to wait, too.
        let isWaiting = switches.waiting.keys.contains { applied.routes[$0.text]?.revisionToConfirm ?? 0 > confirmed }
        if isWaiting { return nil }
        confirmed = applied.revisionToConfirm
        return applied
    }

    /// Brings the file to what HAProxy runs.
    private mutating func finish(_ next: HAProxyConfiguration, _ desired: DesiredState?) async -> Duration? {
        accepted = next
        if next.size < Self.smallFile {
            guard writeFile() else { return timing.fileInterval }
        } else if haproxy.file != next {
            // Many changes are one file.
            fileDue = fileDue ?? .now + timing.fileDelay
        }
        backoff.reset()
        if settings.host.routes?.https != nil, haproxy.current?.maps?.certificates == settings.certificates {
            certificates.prune()
        }
        await scheduleCache()
        // What is no longer wrong is logged at the next turn.
        if let desired, rejected.release(desired) { return .zero }
        return retryOfPorts
    }

    /// In bytes; a file of this size takes less time to write than HAProxy to change a server.
    private static let smallFile = 64 << 10

    /// Brings the file to what HAProxy runs; returns whether it is.
    private mutating func writeFile() -> Bool {
        fileDue = nil
        guard let accepted else { return true }
        do {
            try haproxy.writeFile(accepted)
            events.wrote()
            return true
        } catch {
            events.cannotWrite(error)
            return false
        }
    }

    /// Does what helps after a failure: without the services or the snippets at fault, or the same again later.
    private mutating func recover(
        from error: any Error, _ desired: DesiredState?, withoutSnippets: HAProxyConfiguration?
    ) async -> Duration {
        if let desired {
            if let withoutSnippets, haproxy.isServing, haproxy.file == withoutSnippets {
                _ = snippets.revert(because: "\(error)", toNone: true)
                settings.snippets = snippets.accepted
                return .zero
            }
            if error is HAProxyProgram.Rejection, await findRejected(in: desired) { return .zero }
            if error is LoadFailure, snippets.revert(because: "\(error)") {
                settings.snippets = snippets.accepted
                return .zero
            }
        }
        history.record(error)
        events.failed(error)
        health.failed()
        let wait = Self.isOfFiles(error) ? timing.fileInterval : backoff.next()
        return min(wait, retryOfPorts ?? wait)
    }

    /// Whether the system refused a file, such as for want of room: looking for that costs little.
    private static func isOfFiles(_ error: any Error) -> Bool { error is FileError || error is StateDirectory.Failure }

    /// Finds the services for whose sake HAProxy rejects what is desired; returns whether something can be done without.
    private mutating func findRejected(in desired: DesiredState) async -> Bool {
        let (haproxy, settings, accepted) = (haproxy, settings, accepted)
        var analysis = RejectionAnalysis(desired) { trial in
            let configuration = HAProxyConfiguration(trial, settings)
            return try await haproxy.rejection(of: configuration).map { ConfigErrors($0.alerts, of: configuration) }
        }
        let found = try? await analysis.rejected(lastAccepted: { accepted?.section(of: $0) })
        guard let found else { return false }
        rejected.add(found, at: .now)
        return true
    }

    /// When to look again at what another process holds, at snippets that could not be checked, or at the targets of
    /// routes that wait; nil for never.
    private var retryOfPorts: Duration? {
        if !switches.waiting.isEmpty { return RouteSwitches.pause }
        let isWaiting = snippets.isPending || !wantedBinds.isDisjoint(with: ports.obstacles.keys)
        return isWaiting ? timing.portInterval : nil
    }

    /// What is started where a start with snippets fails; nil where there are none.
    private func withoutSnippets(of desired: DesiredState) -> HAProxyConfiguration? {
        guard !settings.snippets.isEmpty else { return nil }
        var settings = settings
        settings.snippets = ConfigSnippets()
        return HAProxyConfiguration(desired, settings)
    }

    /// What is started where nothing else works: the stats page alone.
    private var bare: HAProxyConfiguration {
        var settings = settings
        settings.snippets = ConfigSnippets()
        return HAProxyConfiguration(.empty, settings)
    }
}

// MARK: Maintain

extension Reconciler {
    /// Sees to `/healthz`, to servers that are leaving, and to the cache; returns when to look again.
    private mutating func maintain() async -> Duration? {
        await tellHealth()
        if let fileDue, fileDue <= .now, !writeFile() { self.fileDue = .now + timing.fileInterval }
        let drains = await haproxy.finishDrains()
        beginCache()
        let dues = [due, fileDue, cacheDue, rate.due, rejected.due, haproxy.isServing ? health.due(at: .now) : nil]
        let waits = dues.map { due in due.map { max(ContinuousClock.now.duration(to: $0), .zero) } }
        let others = [
            drains, massLoss.wait(at: clock.now), heldRoutes.wait(at: clock.now), published.wait(at: clock.now),
        ]
        return (waits + others).compactMap(\.self).min()
    }

    /// Has the worker answer at `/healthz` what is due, which also shows whether it answers at all.
    private mutating func tellHealth() async {
        let worker = haproxy.current?.worker
        let asked = ContinuousClock.now
        guard haproxy.isServing, let message = health.message(for: worker, at: asked) else { return }
        let answer = await haproxy.access.runtime.setHealth(message)
        health.noteTold(answer == .accepted, to: worker, at: .now)
        guard let worker, !Task.isCancelled else { return }
        let finding = workerProbe.note(isSilent: answer == .silent, worker, asked: asked, at: .now)
        if let finding { events.found(finding, worker) }
        guard finding == .hangs else { return }
        haproxy.giveUpWorker()
        due = .now
    }

    /// What the cache for the next start should have; nil before anything was applied.
    private var nextCache: RegistryCache.Copy? {
        applied.map {
            RegistryCache.Copy(
                registry: $0, holds: massLoss.persisted, checkFloor: rate.minInterval, published: published.persisted,
                waitingRoutes: switches.records, heldRoutes: heldRoutes.persisted)
        }
    }

    /// Has the cache follow what was applied; what is held is nowhere else, so with that it does at once.
    private mutating func scheduleCache() async {
        guard let next = nextCache, !next.isAsOld(as: cache.saved) else { return }
        if next.holds != cache.saved?.holds ?? [] {
            cacheDue = nil
            return await cache.finish(next)
        }
        cacheDue = cacheDue ?? .now + max(timing.cacheInterval, cache.pause)
    }

    private mutating func beginCache() {
        guard let cacheDue, cacheDue <= .now, let next = nextCache else { return }
        self.cacheDue = cache.begin(next) ? nil : .now + timing.cacheInterval
    }

}

extension Reconciler {
    /// What is known now.
    func snapshot(_ store: Snapshot.Store) -> Snapshot {
        var snapshot = Snapshot(
            agent: agent, store: store, settings: settings, inputs: inputs, appliedRevision: applied?.revision,
            behindSince: behindSince, massLoss: massLoss, history: history, running: haproxy.current,
            process: haproxy.access)
        if settings.host.routes?.https != nil { snapshot.certificateProblems = certificates.problems }
        for (location, error) in snippets.errors { snapshot.snippetErrors[location.variable] = error }
        return snapshot
    }
}
