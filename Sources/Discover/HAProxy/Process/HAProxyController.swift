import Shared

/// Brings HAProxy to configurations, one after another, and knows what it runs.
///
/// Nothing of what it knows changes before HAProxy has confirmed it; after a failure the same call is the next try.
struct HAProxyController {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// Of servers that are no longer wanted.
        var drains = DrainMonitor.Timing()
        /// Of reloads.
        var pace = ReloadThrottle.Timing()
    }

    /// How far a call came.
    struct Progress: Equatable {
        /// What was done.
        var done: ConfigChange
        /// When what is left can be done, a reload or a start; nil where HAProxy runs what it should.
        var wait: Duration?
    }

    /// How HAProxy is started, reloaded and asked.
    let process: SupervisedHAProxy
    /// Where everything is told.
    let logger: Logger
    /// The limits.
    let timing: Timing

    /// What HAProxy runs.
    var known = KnownState.notRunning
    /// The file that is in place.
    var file: HAProxyConfiguration?
    /// The newest file that a worker has loaded, though it may have ended since.
    private var proven: HAProxyConfiguration?
    /// The master that runs; nil where none does.
    private(set) var master: HAProxyMaster?
    /// What is known of an HAProxy that somebody else runs.
    var other = Acquaintance()
    /// How many workers of earlier configurations there were after the last reload.
    private(set) var oldWorkers: Int?

    /// Whether this HAProxy can add and remove servers while it runs, as far as is known.
    var isDynamic = true
    /// Whether it can do so with servers that have a cookie, as far as is known.
    var takesCookies = true
    private var restart = RestartBackoff()
    private var pace: ReloadThrottle
    /// What watches servers that are leaving.
    var drains: DrainMonitor

    /// Takes the parts and knows nothing yet.
    init(_ process: SupervisedHAProxy, logger: Logger, timing: Timing = Timing()) {
        self.process = process
        self.logger = logger
        self.timing = timing
        pace = ReloadThrottle(timing.pace)
        drains = DrainMonitor(process.runtime, logger: logger, timing: timing.drains)
    }

    /// Whether HAProxy runs, as far as is known.
    var isServing: Bool { master != nil || other.worker != nil }

    /// What the newest worker runs, where that is known.
    var current: RunningConfig? {
        if case .confirmed(let current) = known { return current }
        return nil
    }
}

// MARK: What becomes known

extension HAProxyController {
    /// Takes over an HAProxy that an earlier run left.
    mutating func adopt() async throws {
        if let existing = process.existing { return try await adopt(existing) }
        guard let found = try await process.adopt() else { return }
        master = found
        known = .unknown(.unknownState)
        readFile()
        await learn()
        logger.info("took over the running HAProxy", ["pid": found.pid])
    }

    /// Takes the file that is in place, if it is ours.
    mutating func readFile() {
        let text = try? FileContents(filePath).text
        if let file = text.flatMap(HAProxyConfiguration.init(text:)) { (self.file, proven) = (file, file) }
    }

    /// Reads what runs from the worker itself.
    ///
    /// Where it tells the file's mark, only servers can differ from the file, and what these are it tells as well.
    mutating func learn() async {
        guard let file, let report = try? await process.runtime.report(), report.worker.mark == file.mark else {
            return
        }
        let end = ContinuousClock.now + timing.drains.limit
        confirm(RunningConfig(worker: report.worker.pid, file: file, states: report.states, until: end))
    }

    /// Notes whether HAProxy has ended; returns whether it has since the last look.
    mutating func look() -> Bool {
        guard let master, !master.isAlive else { return false }
        self.master = nil
        known = .notRunning
        restart.ended(at: .now)
        logger.error("HAProxy ended; starting it again", ["pid": master.pid, "how": master.ending])
        return true
    }

    /// Takes a worker that has loaded a file.
    mutating func take(_ worker: HAProxyWorker, of next: HAProxyConfiguration) {
        (file, proven) = (next, next)
        confirm(RunningConfig(worker: worker.pid, loaded: next))
    }

    /// Takes what HAProxy has confirmed.
    mutating func confirm(_ proxy: RunningConfig) {
        var proxy = proxy
        (proxy.isDynamic, proxy.takesCookies) = (isDynamic, takesCookies)
        if !proxy.leaving.isEmpty { drains.begin() }
        known = .confirmed(proxy)
    }
}

// MARK: What is done

extension HAProxyController {
    /// Applies a change from what is known: its commands at once, a load when its time has come.
    ///
    /// Where a start is refused, HAProxy is started without snippets, with the configuration before, or with a bare one.
    mutating func apply(
        _ change: ConfigChange, withoutSnippets: HAProxyConfiguration? = nil, bare: HAProxyConfiguration
    ) async throws -> Progress {
        var change = change
        if let failure = try await run(change) { change = change.reloading(because: failure) }
        switch change.load {
        case nil:
            pace.forget()
            return Progress(done: change)
        case .start:
            if let due = restart.due, due > .now { return change.waiting(until: due) }
            if let existing = process.existing { return try await enlist(change, existing) }
            try await start([change.next, withoutSnippets, proven, bare].compactMap(\.self))
            return Progress(done: change)
        case .reload:
            let due = pace.due(for: change.next.mark, at: .now)
            if due > .now { return change.waiting(until: due) }
            do {
                try await reload(change.next)
            } catch ExternalHAProxy.Failure.stopping {
                return missed(change, .stopping)
            }
            return Progress(done: change)
        }
    }

    /// The path of the file that HAProxy runs.
    var filePath: String { process.configuration.path }

    /// Why HAProxy would not run a configuration; nil where it would.
    func refusal(of configuration: HAProxyConfiguration) async throws -> HAProxyProgram.Rejection? {
        try await process.refusal(of: configuration)
    }

    /// Brings the file to the configuration that runs already.
    mutating func keep(_ next: HAProxyConfiguration) throws {
        guard file != next else { return }
        try process.keep(next)
        file = next
        // What was changed while it ran, HAProxy has taken as well.
        if proven?.mark == next.mark { proven = next }
    }

    /// Stops HAProxy within the grace period.
    func stop(grace: Duration) async {
        if process.existing != nil { return logger.info("HAProxy goes on without docker-discover") }
        guard let master else { return }
        if await process.stop(master, grace: grace) {
            logger.info("HAProxy stopped", ["pid": master.pid])
        } else {
            logger.warning("HAProxy was stopped with connections open", ["pid": master.pid, "grace": "\(grace)"])
        }
    }

    /// Starts HAProxy with the first of several configurations that it takes; throws where that is not the first.
    private mutating func start(_ candidates: [HAProxyConfiguration]) async throws {
        var refusal: (any Error)?
        for candidate in candidates {
            do {
                restart.starts(at: .now)
                let (started, worker) = try await process.start(with: candidate, isProven: candidate == proven)
                (master, isDynamic, takesCookies) = (started, true, true)
                take(worker, of: candidate)
                logger.info("HAProxy started", ["pid": started.pid, "version": process.program.version])
                break
            } catch {
                refusal = refusal ?? error
                try Task.checkCancellation()
            }
        }
        if let refusal { throw refusal }
    }

    private mutating func reload(_ next: HAProxyConfiguration) async throws {
        guard isServing else { return }
        var random = SystemRandomNumberGenerator()
        defer { pace.ended(at: .now, oldWorkers: oldWorkers ?? 0, using: &random) }
        do {
            if let existing = process.existing {
                try await loadInto(existing, next)
            } else if let master {
                take(try await process.reload(master, with: next), of: next)
            }
        } catch {
            if case SupervisedHAProxy.Failure.unconfirmed = error { known = .unknown(.unknownState) }
            if current == nil { await learn() }
            throw error
        }
        oldWorkers = await process.oldWorkers()
    }
}

// What changes while HAProxy runs.

extension HAProxyController {
    /// Runs the commands of a change and reads back what they came to; where that fails, what runs is not known.
    private mutating func run(_ change: ConfigChange) async throws -> RuntimeFailure? {
        guard let current, !change.commands.isEmpty else { return nil }
        let after = current.after(change, until: .now + timing.drains.limit)
        known = .unknown(.unknownState)
        do {
            try await process.runtime.run(change.commands)
            try await readBack(after, change)
            confirm(after)
            return nil
        } catch let failure as RuntimeFailure {
            if failure.isForWantOfAbility { isDynamic = false }
            if failure.isForWantOfCookies { takesCookies = false }
            known = .unknown(.runtimeFailed(failure))
            return failure
        }
    }

    /// Throws where what runs is not what should.
    private func readBack(_ expected: RunningConfig, _ change: ConfigChange) async throws {
        let report = try await process.runtime.report(on: change.sections.keys.sorted())
        guard report.worker.pid == expected.worker else { throw RuntimeFailure.differs("another worker serves") }
        if let difference = expected.difference(to: report.states, after: change) {
            throw RuntimeFailure.differs(difference)
        }
    }

    /// Removes the servers that are leaving and have no connection any more.
    ///
    /// - Returns: when to look again; nil where none is left.
    mutating func finishDrains() async -> Duration? {
        guard var current, !current.leaving.isEmpty else { return nil }
        let pause = await drains.look(after: &current)
        known = .confirmed(current)
        return pause
    }
}

// MARK: What HAProxy's checks say

extension HAProxyController {
    /// What HAProxy says of the servers of these services; nil where it says nothing.
    func verdicts(on services: [ServiceName]) async -> ServerHealth? {
        // A section that is not there would spoil the answer.
        let known = current.map { current in services.filter { current.sections[$0] != nil } }
        guard isServing, let report = try? await process.runtime.report(on: known) else { return nil }
        let sights = report.states.compactMap { state -> (EntryID, Bool)? in
            guard let service = ServiceName(state.section), let id = InstanceID(state.server) else { return nil }
            return (EntryID(service: service, id: id), !state.isDown)
        }
        return ServerHealth(isUp: Dictionary(sights) { first, _ in first })
    }
}

extension ConfigChange {
    /// Its load waits, so only what needs none is done.
    fileprivate func waiting(until due: ContinuousClock.Instant) -> HAProxyController.Progress {
        HAProxyController.Progress(done: withoutLoad, wait: max(ContinuousClock.now.duration(to: due), .zero))
    }
}
