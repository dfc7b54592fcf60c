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

    /// The HAProxy.
    private(set) var instance: any HAProxyInstance
    /// What it runs.
    private(set) var known: KnownState
    /// The file that is in place.
    private(set) var file: HAProxyConfiguration?
    /// The newest file that a worker has loaded, though it may have ended since.
    private var accepted: HAProxyConfiguration?
    /// How many workers of earlier configurations there were after the last reload.
    private(set) var oldWorkers: Int?

    private let timing: Timing
    /// The files of maps that are in place.
    private var maps: RouteMapWriter
    /// Whether this HAProxy can add and remove servers while it runs, as far as is known.
    private var isDynamic = true
    /// Whether it can do so with servers that have a cookie, as far as is known.
    private var takesCookies = true
    private var throttle: ReloadThrottle
    private var drains: DrainMonitor

    /// Takes an HAProxy, and reads the file that it has and what it runs, as far as an earlier run left any.
    init(_ instance: any HAProxyInstance, logger: Logger, timing: Timing = Timing()) async {
        self.instance = instance
        self.timing = timing
        maps = RouteMapWriter(isFlushed: instance.access.isExternal)
        throttle = ReloadThrottle(timing.pace)
        drains = DrainMonitor(instance.access.runtime, logger: logger, timing: timing.drains)
        known = instance.presence
        // What docker-discover starts anew, it starts with what is wanted now.
        guard known != .notRunning else { return }
        readFile()
        await readRunning()
    }

    /// How HAProxy is reached.
    var access: HAProxyAccess { instance.access }

    /// Whether HAProxy runs, as far as is known.
    var isServing: Bool { known.isServing }

    /// What the newest worker runs, where that is known.
    var current: RunningConfig? {
        if case .confirmed(let current) = known { return current }
        return nil
    }
}

// MARK: What becomes known

extension HAProxyController {
    /// Looks who serves; returns whether that is somebody else than before, or nobody any more.
    mutating func look() async -> Bool {
        guard await instance.look() else { return false }
        begin()
        if isServing {
            if file == nil { readFile() }
            await readRunning()
        }
        return true
    }

    /// Begins anew with what serves now, or will.
    private mutating func begin() {
        (known, isDynamic, takesCookies) = (instance.presence, true, true)
    }

    /// Reads the file that is in place, if it is ours.
    private mutating func readFile() {
        if let file = access.file.read() { (self.file, accepted) = (file, file) }
    }

    /// Reads what runs from the worker itself.
    ///
    /// Where it tells the file's mark, only servers can differ from the file, and what these are it tells as well.
    private mutating func readRunning() async {
        guard isServing, let file, let report = try? await access.runtime.report(), report.worker.mark == file.mark
        else { return }
        let end = ContinuousClock.now + timing.drains.limit
        let maps = await access.runningMaps(of: file, access.routeFiles)
        confirm(RunningConfig(worker: report.worker.pid, file: file, states: report.states, maps: maps, until: end))
    }

    /// Takes what HAProxy has confirmed.
    private mutating func confirm(_ running: RunningConfig) {
        var running = running
        (running.isDynamic, running.takesCookies) = (isDynamic, takesCookies)
        if !running.leaving.isEmpty { drains.begin() }
        known = .confirmed(running)
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
        // A load takes them as they are, and it may come at any time.
        try access.directory.restore()
        try maps.write(change.next)
        if let failure = try await run(change) { change = change.reloading(because: failure) }
        guard change.load != nil else {
            throttle.reset()
            return Progress(done: change)
        }
        if isServing {
            let now = ContinuousClock.now
            let due = throttle.due(for: change.next.mark, at: now)
            if due > now { return Progress(done: change.withoutLoad, wait: now.duration(to: due)) }
        }
        // What an earlier run left in place is better than nothing.
        let before = accepted ?? (isServing ? nil : access.file.read())
        return try await load(change, fallbacks: [withoutSnippets, before, bare].compactMap(\.self))
    }

    /// Runs the commands of a change and reads back what they came to; where that fails, what runs is not known.
    private mutating func run(_ change: ConfigChange) async throws -> RuntimeFailure? {
        guard let current, !change.commands.isEmpty else { return nil }
        let after = current.after(change, until: .now + timing.drains.limit)
        known = .unknown(.unknownState)
        do {
            try await access.runtime.run(change.commands)
            try await access.runtime.verify(change.mapChanges)
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
        let report = try await access.runtime.report(on: change.sections.keys.sorted())
        guard report.worker.pid == expected.worker else { throw RuntimeFailure.differs("another worker serves") }
        if let difference = expected.difference(to: report.states, after: change) {
            throw RuntimeFailure.differs(difference)
        }
    }

    /// Starts or reloads HAProxy; throws where it does not run what it should afterwards.
    private mutating func load(_ change: ConfigChange, fallbacks: [HAProxyConfiguration]) async throws -> Progress {
        let wasServing = isServing
        defer { if wasServing { throttle.ended(at: .now, oldWorkers: oldWorkers ?? 0) } }
        do {
            let request = LoadRequest(next: change.next, inPlace: file, accepted: accepted, fallbacks: fallbacks)
            switch try await instance.load(request) {
            case .waiting(let wait, let file):
                begin()
                self.file = file ?? self.file
                return Progress(done: change.withoutLoad, wait: wait)
            case .loaded(let worker, let loaded, let rejection):
                (file, accepted) = (loaded, loaded)
                confirm(RunningConfig(worker: worker.pid, loaded: loaded))
                if let rejection { throw rejection }
            }
        } catch {
            if wasServing, case LoadFailure.unconfirmed = error { known = .unknown(.unknownState) }
            if current == nil { await readRunning() }
            throw error
        }
        if wasServing { oldWorkers = await access.oldWorkers() }
        return Progress(done: change)
    }

    /// Has the next change load the file, as the worker does not answer any more.
    mutating func giveUpWorker() {
        if isServing { known = .unknown(.workerHangs) }
    }

    /// Brings the file to the configuration that runs already.
    mutating func writeFile(_ next: HAProxyConfiguration) throws {
        guard file != next else { return }
        try access.file.write(next)
        file = next
        // What was changed while it ran, HAProxy has taken as well.
        if accepted?.mark == next.mark { accepted = next }
    }

    /// Removes the servers that are leaving and have no connection any more.
    ///
    /// - Returns: when to look again; nil where none is left.
    mutating func finishDrains() async -> Duration? {
        guard var current, !current.leaving.isEmpty else { return nil }
        let pause = await drains.step(&current)
        known = .confirmed(current)
        return pause
    }

    /// Leaves HAProxy: one of our own ends within the grace period.
    func stop(grace: Duration) async {
        await instance.stop(grace: grace)
    }
}

// MARK: What is asked

extension HAProxyController {
    /// Why HAProxy would not run a configuration; nil where it would.
    func rejection(of configuration: HAProxyConfiguration) async throws -> HAProxyProgram.Rejection? {
        // Its check reads the maps.
        var maps = maps
        try maps.write(configuration)
        return try await access.file.rejection(of: configuration)
    }

    /// Which addresses HAProxy could not listen on, and why.
    ///
    /// - Parameter patience: how long one of our own that has died may take to let go of its ports.
    func obstacles(to binds: Set<BindAddress>, patience: Duration) async -> [BindAddress: String] {
        if isServing {
            let obstacles = await PortCheck.obstacles(to: binds, beside: file?.binds ?? [], patience: .zero)
            return file == nil ? await withoutOwn(obstacles) : obstacles
        }
        guard access.isExternal else { return await PortCheck.obstacles(to: binds, patience: patience) }
        return await PortCheck.obstacles(to: binds, patience: .zero).filter { !mayHold($0.key) }
    }

    /// Those that are not the HAProxy that serves; where its file is gone, only who listens tells where it does.
    private func withoutOwn(_ obstacles: [BindAddress: String]) async -> [BindAddress: String] {
        guard !obstacles.isEmpty else { return obstacles }
        let list = try? await access.processes()
        let own = list.map { Set($0.workers + $0.oldWorkers + [$0.master]) }
        return obstacles.filter { bind, _ in
            guard let owner = PortOwner(of: bind.port) else { return true }
            // A master whose socket is gone, too, is known by its arguments, which its workers have as well.
            return !(own?.contains(owner.pid) ?? SupervisedHAProxy.isProcess(owner.pid, of: access.directory))
        }
    }

    /// Whether a port that is taken may be so by an HAProxy that serves although it is not seen.
    private func mayHold(_ bind: BindAddress) -> Bool {
        guard file?.binds.contains(bind) == true else { return false }
        return PortOwner(of: bind.port).map { $0.command == "haproxy" } ?? true
    }

    /// Which of these services have an endpoint that takes requests; nil where HAProxy says nothing.
    func ready(among services: [ServiceName]) async -> Set<ServiceName>? {
        let known = current.map { current in services.filter { current.sections[$0] != nil } }
        guard isServing, let report = try? await access.runtime.report(on: known) else { return nil }
        let ready = report.states.filter { !$0.isDown && !$0.isOut && $0.weight > 0 }
        return Set(ready.compactMap { ServiceName($0.section) })
    }

    /// What HAProxy's checks say of the servers of these services; nil where it says nothing.
    func health(of services: [ServiceName]) async -> ServerHealth? {
        // A section that is not there would spoil the answer.
        let known = current.map { current in services.filter { current.sections[$0] != nil } }
        guard isServing, let report = try? await access.runtime.report(on: known) else { return nil }
        let states = report.states.compactMap { state -> (EntryID, Bool)? in
            guard let service = ServiceName(state.section), let id = InstanceID(state.server) else { return nil }
            return (EntryID(service: service, id: id), !state.isDown)
        }
        return ServerHealth(isUp: Dictionary(states) { first, _ in first })
    }
}
