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
        /// Of what `/healthz` answers.
        var health = HealthSign.Timing()
        /// Of what is done with HAProxy.
        var driver = ProxyDriver.Timing()
    }

    /// What is the same for all services.
    var settings: HAProxySettings
    /// What keeps what is known for the next start.
    let copy: CatalogWriter
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
    var stretch = CheckStretch()
    /// What an operator adds to the file.
    var additions: AdditionKeeper
    /// What earlier plans came to.
    var plans = PlanMemory()
    /// What earlier configurations came to.
    var sections = SectionMemory()
    /// What brings HAProxy to a configuration.
    var driver: ProxyDriver
    /// The waits after HAProxy refused something.
    var backoff: Backoff
    /// What was told.
    var journal: Journal
    /// What has to be written into the registry so that all services keep their ports.
    var claims: [ClaimChange] = []
    /// The services that HAProxy refuses.
    var quarantine = Quarantine()
    /// The newest file that HAProxy has accepted as a whole, also one of an earlier run.
    var accepted: HAProxyConfiguration?
    /// The claims of services that are no longer there.
    var absentClaims = AbsentClaims()
    /// What `/healthz` answers.
    var health: HealthSign
    /// When HAProxy is to be brought to what should be; nil where it is there.
    var due: ContinuousClock.Instant? = .now
    /// When the copy on the disk is to follow.
    var copyDue: ContinuousClock.Instant?
    /// What the registry said when HAProxy last did all of it; nil where nothing is known of that.
    var applied: RegistryState?

    /// Which addresses services could not listen on at the last look, and why.
    var obstacles: [BindAddress: String] = [:]
    /// Since when the registry says what HAProxy does not do yet, as time since the beginning of 1970; nil where it does.
    var behindSince: Duration?
    /// What came of bringing HAProxy to configurations.
    var history = ProxyHistory()

    /// The failure that was told last; nil where all went well.
    var failure: String? { journal.failure }

    /// The master that runs; nil where none does.
    var master: HAProxyMaster? { driver.master }

    /// Whether an HAProxy serves, be it ours or another's.
    var isServing: Bool { driver.isServing }

    /// Takes the parts and knows nothing yet.
    init(
        _ process: HAProxyProcess, settings: HAProxySettings, copy: CatalogWriter, holdTime: Duration, logger: Logger,
        timing: Timing = .init()
    ) {
        self.settings = settings
        self.copy = copy
        self.logger = logger
        self.timing = timing
        additions = AdditionKeeper(Additions.Copy(file: process.directory.additions), logger: logger)
        self.settings.host.additions = additions.accepted
        driver = ProxyDriver(process, logger: logger, timing: timing.driver)
        health = HealthSign(timing.health)
        backoff = Backoff(first: timing.firstRetry, limit: timing.retryLimit)
        journal = Journal(logger)
        holds = HoldKeeper(holdTime: holdTime, interval: timing.holdInterval)
    }
}

// MARK: What becomes known

extension ProxyKeeper {
    /// Takes the last known catalogue, and an HAProxy that an earlier run left.
    mutating func recollect() async throws {
        if let saved = copy.saved {
            (registry, isRemembered) = (saved.registry, true)
            journal.tell(holds.recall(saved))
        }
        stretch = CheckStretch(floor: copy.saved?.checkFloor, timing: timing.stretch)
        settings.host.checkFloor = stretch.floor
        let text = try? WholeFile(driver.filePath).text
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

    /// Takes who may see the stats page.
    mutating func take(_ users: [StatsUser]) {
        guard users != settings.host.statsUsers else { return }
        settings.host.statsUsers = users
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
