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
    enum Progress: Equatable {
        /// HAProxy runs what it should.
        case done(ConfigChange)
        /// A reload or a start waits for its time; what could be done without it is done.
        case waiting(Duration, done: ConfigChange)

        /// What was done last.
        var update: ConfigChange {
            switch self {
            case .done(let update), .waiting(_, let update): update
            }
        }
    }

    /// How HAProxy is started, reloaded and asked.
    let process: SupervisedHAProxy
    /// Where everything is told.
    let logger: Logger
    /// The limits.
    let timing: Timing

    /// What HAProxy runs.
    var running = ConfigChange.Running.nothing
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
        if case .confirmed(let current) = running { return current }
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
        running = .unknown(.unknownState)
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
        running = .nothing
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
        running = .confirmed(proxy)
    }
}

// MARK: What is done

extension HAProxyController {
    /// Brings HAProxy to a configuration; where a start is refused, to the one before, or to an empty one.
    mutating func advance(
        to next: HAProxyConfiguration, or empty: HAProxyConfiguration
    ) async throws -> Progress {
        if let due = restart.due, due > .now { return .waiting(ContinuousClock.now.duration(to: due), done: .none) }
        // What needs no reload does not wait for one either.
        let done = try await changeServers(to: next)
        let update = ConfigChange(from: running, to: next)
        switch update {
        case .none:
            pace.forget()
            return .done(done)
        case .start:
            if let existing = process.existing { return try await enlist(next, existing) }
            try await start([next, proven, empty].compactMap(\.self))
            return .done(.start)
        case .runtime, .reload:
            let due = pace.due(for: next.mark, at: .now)
            if due > .now { return .waiting(ContinuousClock.now.duration(to: due), done: done) }
            do {
                try await reload(next)
            } catch ExternalHAProxy.Failure.stopping {
                return missed(.stopping)
            }
            return .done(update)
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
            if case SupervisedHAProxy.Failure.unconfirmed = error { running = .unknown(.unknownState) }
            if current == nil { await learn() }
            throw error
        }
        oldWorkers = await process.oldWorkers()
    }
}

// What changes while HAProxy runs.

extension HAProxyController {
    /// Changes servers through the runtime API; where that fails, what runs is not known afterwards.
    mutating func changeServers(to next: HAProxyConfiguration) async throws -> ConfigChange {
        guard let current else { return .none }
        let changes = ServerChanges(from: current, to: next)
        guard !changes.commands.isEmpty else { return .none }
        let after = current.after(changes, until: .now + timing.drains.limit)
        running = .unknown(.unknownState)
        do {
            try await process.runtime.run(changes.commands)
            try await verify(after, changes)
            confirm(after)
            return .runtime(changes.commands)
        } catch let failure as RuntimeFailure {
            if failure.isForWantOfAbility { isDynamic = false }
            if failure.isForWantOfCookies { takesCookies = false }
            running = .unknown(.runtimeFailed(failure))
            return .none
        }
    }

    /// Reads back what runs, and throws where it is not what should.
    private func verify(_ expected: RunningConfig, _ changes: ServerChanges) async throws {
        let report = try await process.runtime.report(on: changes.sections.keys.sorted())
        guard report.worker.pid == expected.worker else { throw RuntimeFailure.differs("another worker serves") }
        if let difference = expected.difference(to: report.states, after: changes) {
            throw RuntimeFailure.differs(difference)
        }
    }

    /// Removes the servers that are leaving and have no connection any more.
    ///
    /// - Returns: when to look again; nil where none is left.
    mutating func finishDrains() async -> Duration? {
        guard var current, !current.leaving.isEmpty else { return nil }
        let pause = await drains.look(after: &current)
        running = .confirmed(current)
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
