import Shared

/// Keeps HAProxy at what the registry says.
///
/// One loop owns it, and with it all that is known of what runs. ``converge()`` looks at what should be and what is,
/// and does what is missing; after a failure the same call is the next try. Nothing of what it knows changes before
/// HAProxy has confirmed it.
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
    }

    private let process: HAProxyProcess
    private let settings: HAProxySettings
    private let copy: CatalogFile
    private let logger: Logger
    private let timing: Timing

    /// What the registry says; nil until it is known, which is not the same as empty.
    private var registry: RegistryState?
    /// The registry as it is on the disk.
    private var saved: RegistryState?
    private var running = Update.Running.nothing
    /// What HAProxy last confirmed, though it may have ended since.
    private var confirmed: RenderedPlan?
    private var restart = RestartPolicy()
    private var backoff: Backoff
    private var journal: Journal

    /// The failure that was told last; nil where all went well.
    var failure: String? { journal.failure }

    /// The master that runs; nil where none does.
    private(set) var master: HAProxyMaster?

    /// Takes the parts and knows nothing yet.
    init(
        _ process: HAProxyProcess, settings: HAProxySettings, copy: CatalogFile, logger: Logger,
        timing: Timing = .init()
    ) {
        self.process = process
        self.settings = settings
        self.copy = copy
        self.logger = logger
        self.timing = timing
        backoff = Backoff(first: timing.firstRetry, limit: timing.retryLimit)
        journal = Journal(logger)
    }
}

// MARK: What becomes known

extension ProxyKeeper {
    /// Reads the last known catalogue and takes over an HAProxy that an earlier run left.
    mutating func recollect() async throws {
        do {
            registry = try copy.load()
            saved = registry
        } catch {
            logger.warning("ignoring the last known catalogue", ["error": "\(error)"])
        }
        guard let found = try await process.adopt() else { return }
        master = found
        running = .unknown
        let text = try? WholeFile(process.directory.configuration.path).text
        if let file = text.flatMap(HAProxyConfiguration.init(text:)) {
            let rendered = RenderedPlan(configuration: file, plan: nil)
            confirmed = rendered
            if try await process.mark() == file.mark { running = .confirmed(rendered) }
        }
        logger.info("took over the running HAProxy", ["pid": found.pid])
    }

    /// Takes a newer state of the registry; whatever was refused before is tried anew.
    mutating func take(_ registry: RegistryState) {
        self.registry = registry
        backoff.reset()
    }

    /// Notes whether HAProxy has ended.
    mutating func look() {
        guard let master, !master.isAlive else { return }
        self.master = nil
        running = .nothing
        restart.ended(at: .now)
        logger.error("HAProxy ended; starting it again", ["pid": master.pid, "how": master.ending])
    }
}

// MARK: What should be

extension ProxyKeeper {
    /// What should run, and whether a service waits for its port; nil where nobody knows yet, and HAProxy serves.
    private mutating func desired() async -> (RenderedPlan, isWaiting: Bool)? {
        guard let registry else {
            return master == nil ? (confirmed ?? render(.empty), false) : nil
        }
        let catalog = Catalog(registry)
        let wish = ProxyPlan(catalog, on: settings.host)
        let obstacles = await obstacles(to: wish.binds)
        let plan = wish.without(obstacles)
        journal.tell(catalog.problems.union(plan.problems))
        return (render(plan), !obstacles.isEmpty)
    }

    private func obstacles(to binds: Set<BindAddress>) async -> [BindAddress: String] {
        let known = confirmed?.configuration.binds ?? []
        guard running == .nothing else {
            return await PortOccupancy.obstacles(to: binds.subtracting(known), patience: .zero)
        }
        let patience = binds.isDisjoint(with: known) ? .zero : timing.portPatience
        return await PortOccupancy.obstacles(to: binds, patience: patience)
    }

    private func render(_ plan: ProxyPlan) -> RenderedPlan {
        RenderedPlan(configuration: HAProxyConfiguration(plan, settings), plan: plan)
    }
}

// MARK: What is done

extension ProxyKeeper {
    /// Brings HAProxy to what the registry says.
    ///
    /// - Returns: when to look again although nothing changed; nil where all is as it should be.
    mutating func converge() async -> Duration? {
        let begin = ContinuousClock.now
        if let due = restart.due, due > begin { return begin.duration(to: due) }
        guard let (next, isWaiting) = await desired() else { return nil }
        let update = Update(from: running, to: next)
        do {
            try await perform(update, next)
        } catch {
            guard !Task.isCancelled else { return nil }
            journal.refused(error)
            return isWaiting ? min(backoff.next(), timing.portInterval) : backoff.next()
        }
        backoff.reset()
        journal.applied(update, next.plan, revision: registry?.revision, took: begin.duration(to: .now))
        save()
        return isWaiting ? timing.portInterval : nil
    }

    /// Stops HAProxy within the grace period.
    func stop(grace: Duration) async {
        guard let master else { return }
        if await process.stop(master, grace: grace) {
            logger.info("HAProxy stopped", ["pid": master.pid])
        } else {
            logger.warning("HAProxy was stopped with connections open", ["pid": master.pid, "grace": "\(grace)"])
        }
    }

    private mutating func perform(_ update: Update, _ next: RenderedPlan) async throws {
        switch (update, master) {
        case (.none, _): (running, confirmed) = (.confirmed(next), next)
        case (.reload, let master?): try await reload(master, next)
        case (.start, _), (.reload, nil): try await start(next)
        }
    }

    private mutating func reload(_ master: HAProxyMaster, _ next: RenderedPlan) async throws {
        do {
            try await process.reload(master, with: next.configuration)
            (running, confirmed) = (.confirmed(next), next)
        } catch let error as HAProxyProcess.Failure {
            if case .unconfirmed = error { running = .unknown }
            throw error
        }
    }

    /// Starts HAProxy; where it refuses, with what it ran before, or with the stats page alone.
    private mutating func start(_ next: RenderedPlan) async throws {
        var refusal: (any Error)?
        for candidate in [next, confirmed, render(.empty)].compactMap(\.self) {
            do {
                restart.starts(at: .now)
                let isProven = candidate.configuration == confirmed?.configuration
                let started = try await process.start(with: candidate.configuration, isProven: isProven)
                (master, running, confirmed) = (started, .confirmed(candidate), candidate)
                logger.info("HAProxy started", ["pid": started.pid, "version": process.program.version])
                break
            } catch {
                refusal = refusal ?? error
                try Task.checkCancellation()
            }
        }
        if let refusal { throw refusal }
    }

    private mutating func save() {
        guard let registry, registry.records != saved?.records else { return }
        do {
            try copy.save(registry)
            saved = registry
        } catch {
            logger.warning("cannot keep the catalogue for the next start", ["error": "\(error)"])
        }
    }
}
