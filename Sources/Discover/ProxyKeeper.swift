import Shared

/// Keeps HAProxy at what the registry says.
///
/// One loop owns it, and with it all that is known. ``converge()`` looks at what should be and what is, and does what is
/// missing and due; after a failure the same call is the next try.
struct ProxyKeeper {
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
        var stretch = CheckStretch.Timing()
        /// How long the copy for the next start may be behind: it has all keys, and takes long with many.
        var copyInterval: Duration = .seconds(1)
        /// Of what is done with HAProxy.
        var driver = ProxyDriver.Timing()
    }

    private var settings: HAProxySettings
    private let copy: CatalogFile
    private let logger: Logger
    private let timing: Timing

    /// What the registry says; nil until it is known, which is not the same as empty.
    private(set) var registry: RegistryState?
    /// The copy that is on the disk.
    private var saved: CatalogFile.Copy?
    /// The lost endpoints that stay in service.
    private var holds: HoldKeeper
    /// How far checks are stretched, as there are so many consumers.
    private var stretch = CheckStretch()
    private var additions: AdditionKeeper
    private var driver: ProxyDriver
    private var backoff: Backoff
    private var journal: Journal
    /// What has to be written into the registry so that all services keep their ports.
    private(set) var claims: [ClaimChange] = []
    /// The services that HAProxy refuses.
    private var quarantine = Quarantine()
    /// The newest file that HAProxy has accepted as a whole, also one of an earlier run.
    private var accepted: HAProxyConfiguration?
    private var absentClaims = AbsentClaims()
    /// When HAProxy is to be brought to what should be; nil where it is there.
    private var due: ContinuousClock.Instant? = .now
    /// When the copy on the disk is to follow.
    private var copyDue: ContinuousClock.Instant?

    /// The failure that was told last; nil where all went well.
    var failure: String? { journal.failure }

    /// What the registry said when HAProxy last did all of it; nil where nothing is known of that.
    private(set) var applied: RegistryState?

    /// The master that runs; nil where none does.
    var master: HAProxyMaster? { driver.master }

    /// Takes the parts and knows nothing yet.
    init(
        _ process: HAProxyProcess, settings: HAProxySettings, copy: CatalogFile, holdTime: Duration, logger: Logger,
        timing: Timing = .init()
    ) {
        self.settings = settings
        self.copy = copy
        self.logger = logger
        self.timing = timing
        additions = AdditionKeeper(Additions.Copy(file: process.directory.additions), logger: logger)
        self.settings.host.additions = additions.accepted
        driver = ProxyDriver(process, logger: logger, timing: timing.driver)
        backoff = Backoff(first: timing.firstRetry, limit: timing.retryLimit)
        journal = Journal(logger)
        holds = HoldKeeper(holdTime: holdTime, interval: timing.holdInterval)
    }
}

// MARK: What becomes known

extension ProxyKeeper {
    /// Reads the last known catalogue and takes over an HAProxy that an earlier run left.
    mutating func recollect() async throws {
        do {
            saved = try copy.load()
            registry = saved?.registry
            if let saved { journal.tell(holds.recall(saved)) }
            stretch = CheckStretch(floor: saved?.checkFloor, timing: timing.stretch)
            settings.host.checkFloor = stretch.floor
        } catch {
            logger.warning("ignoring the last known catalogue", ["error": "\(error)"])
        }
        let text = try? WholeFile(driver.filePath).text
        accepted = text.flatMap(HAProxyConfiguration.init(text:))
        try await driver.adopt()
    }

    /// Takes a newer state of the registry; whatever was refused before is tried anew.
    mutating func take(_ registry: RegistryState) {
        self.registry = registry
        journal.tell(holds.take(registry))
        backoff.reset()
        due = .now
    }

    /// Learns how many consumers there are, this one included.
    mutating func learn(consumers: Int) {
        var random = SystemRandomNumberGenerator()
        stretch.learn(consumers, at: .now, using: &random)
    }

    /// Ends the holds of a service, or all of them; returns what was held.
    mutating func release(_ service: ServiceName?) -> [Hold] {
        let changes = holds.release(service)
        journal.tell(changes)
        if !changes.isEmpty { due = .now }
        return changes.flatMap(\.holds)
    }

    /// Takes what the files say now that an operator adds to haproxy.cfg.
    mutating func take(_ offer: AdditionFiles.Offer) {
        additions.take(offer)
        backoff.reset()
        due = .now
    }

    /// Notes whether HAProxy has ended.
    mutating func look() {
        if driver.look() { due = .now }
    }
}

// MARK: What should be

extension ProxyKeeper {
    /// What should run, and whether a service waits for its port; nil where nobody knows yet, and HAProxy serves.
    private mutating func desired() async -> (HAProxyConfiguration, ProxyPlan?, isWaiting: Bool)? {
        guard let registry else {
            return master == nil ? (driver.file ?? render(.empty), nil, false) : nil
        }
        let catalog = Catalog(registry.holding(holds.records))
        let plain = ProxyPlan(catalog, on: settings.host)
        quarantine.forget(besides: plain)
        let wish = quarantine.treating(plain)
        claims = wish.claims + absentClaims.expired(in: catalog, at: .now) + holds.lostClaims(from: registry)
        let obstacles = await obstacles(to: wish.binds)
        let plan = wish.without(obstacles)
        journal.tell(catalog.problems.union(plan.problems))
        return (render(plan), plan, !obstacles.isEmpty)
    }

    private func obstacles(to binds: Set<BindAddress>) async -> [BindAddress: String] {
        let known = driver.file?.binds ?? []
        guard master == nil else {
            return await PortOccupancy.obstacles(to: binds, beside: known, patience: .zero)
        }
        let patience = binds.isDisjoint(with: known) ? .zero : timing.portPatience
        return await PortOccupancy.obstacles(to: binds, patience: patience)
    }

    private func render(_ plan: ProxyPlan) -> HAProxyConfiguration {
        HAProxyConfiguration(plan, settings)
    }

    /// What is rendered where nothing else works: the stats page alone, and nothing that anybody added.
    private var bare: HAProxyConfiguration {
        var settings = settings
        settings.host.additions = Additions()
        return HAProxyConfiguration(.empty, settings)
    }
}

// MARK: What an operator adds

extension ProxyKeeper {
    /// Has HAProxy say which of the additions that are offered it takes; returns whether it could be asked.
    private mutating func settleAdditions() async -> Bool {
        var additions = additions
        let isSettled = await additions.settle { try await self.refusal(of: $0) }
        self.additions = additions
        settings.host.additions = additions.accepted
        return isSettled
    }

    /// Why a file with these additions is refused for their sake; nil where it is not.
    private func refusal(of additions: Additions) async throws -> String? {
        guard !additions.isEmpty else { return nil }
        var settings = settings
        settings.host.additions = additions
        if let obstacle = await obstacle(to: additions) { return obstacle }
        let plan =
            registry.map { registry in
                quarantine.treating(ProxyPlan(Catalog(registry.holding(holds.records)), on: settings.host))
            } ?? .empty
        guard let refusal = try await driver.refusal(of: HAProxyConfiguration(plan, settings)) else { return nil }
        settings.host.additions = Additions()
        let isTheServicesFault = try await driver.refusal(of: HAProxyConfiguration(plan, settings)) != nil
        settings.host.additions = additions
        let configuration = HAProxyConfiguration(isTheServicesFault ? .empty : plan, settings)
        let reason = isTheServicesFault ? try await driver.refusal(of: configuration) : refusal
        return reason.map { configuration.explain($0.description, additions) }
    }

    /// What is in the way of an addition that listens: a reload that cannot bind one port would stop all of them.
    private func obstacle(to additions: Additions) async -> String? {
        if let bind = additions.binds.first(where: settings.statsBind.overlaps) {
            return "it listens on \(bind), where the stats page is"
        }
        let known = driver.file?.binds ?? []
        let obstacles = await PortOccupancy.obstacles(
            to: additions.binds, beside: master == nil ? [] : known,
            patience: master == nil ? timing.portPatience : .zero)
        let first = obstacles.min { $0.key.description < $1.key.description }
        return first.map { "it listens on \($0.key), which is \($0.value)" }
    }
}

// MARK: What is done

extension ProxyKeeper {
    /// Brings HAProxy to what the registry says, as far as that is due.
    ///
    /// - Returns: when to look again although nothing changed; nil where all is as it should be.
    mutating func converge() async -> Duration? {
        await judgeHolds()
        if stretch.advance(at: .now) {
            settings.host.checkFloor = stretch.floor
            journal.stretched(to: stretch.floor)
            due = .now
        }
        if quarantine.wake(at: .now) { due = .now }
        if let due, due <= .now {
            let pause = await advance()
            self.due = pause.map { .now + $0 }
        }
        let drains = await driver.finishDrains()
        if let copyDue, copyDue <= .now { save() }
        let waits = [due, copyDue, holds.due, stretch.due, quarantine.due].map { due in
            due.map { max(ContinuousClock.now.duration(to: $0), .zero) }
        }
        return (waits + [drains]).compactMap(\.self).min()
    }

    /// Keeps the copy for the next start, and stops HAProxy within the grace period.
    mutating func stop(grace: Duration) async {
        if copyDue != nil { save() }
        await driver.stop(grace: grace)
    }

    /// One try; returns when the next is due.
    private mutating func advance() async -> Duration? {
        let begin = ContinuousClock.now
        let isSettled = await settleAdditions()
        guard let (next, plan, isWaiting) = await desired() else { return nil }
        let pause = isWaiting || !isSettled ? timing.portInterval : nil
        do {
            let progress = try await driver.advance(to: next, or: bare)
            let took = begin.duration(to: .now)
            if case .waiting(let wait, let done) = progress {
                journal.changed(done, driver.current, revision: nil, took: took)
                return pause.map { min($0, wait) } ?? wait
            }
            applied = registry
            journal.applied()
            journal.changed(
                progress.update, driver.current, revision: registry?.revision, took: took, oldWorkers: driver.oldWorkers
            )
        } catch {
            guard !Task.isCancelled else { return nil }
            if error is HAProxyProgram.Refusal, let plan, await examine(plan) { return .zero }
            journal.refused(error)
            let wait = backoff.next()
            return pause.map { min($0, wait) } ?? wait
        }
        guard keep(next) else { return backoff.next() }
        backoff.reset()
        accepted = next
        if copyOfNow?.isAsOld(as: saved) == false { copyDue = copyDue ?? .now + timing.copyInterval }
        // What is held is nowhere else.
        if holds.kept != saved?.holds ?? [] { save() }
        // What is no longer wrong is told at the next turn.
        if let plan, quarantine.discharge(plan) { return .zero }
        return pause
    }

    /// Finds the services for whose sake HAProxy refuses a plan; returns whether there is something to do without them.
    private mutating func examine(_ plan: ProxyPlan) async -> Bool {
        let (driver, settings, accepted) = (driver, settings, accepted)
        var examination = ServiceExamination(plan) { trial in
            let configuration = HAProxyConfiguration(trial, settings)
            return try await driver.refusal(of: configuration).map { ServiceRefusal($0, of: configuration) }
        }
        guard let patients = try? await examination.patients(lastAccepted: { accepted?.section(of: $0) })
        else { return false }
        quarantine.admit(patients, at: .now)
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
    private var copyOfNow: CatalogFile.Copy? {
        applied.map { CatalogFile.Copy(registry: $0, holds: holds.kept, checkFloor: stretch.floor) }
    }

    private mutating func save() {
        copyDue = nil
        guard let next = copyOfNow, next != saved else { return }
        do {
            try copy.save(next)
            saved = next
        } catch {
            logger.warning("cannot keep the catalogue for the next start", ["error": "\(error)"])
        }
    }
}
