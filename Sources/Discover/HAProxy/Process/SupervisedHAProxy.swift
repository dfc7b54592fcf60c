import Shared

/// An HAProxy of docker-discover's own, in master-worker mode: it is started, taken over, reloaded and stopped.
///
/// The master owns a socket in the state directory through which it is found again. Which configuration its worker
/// has loaded is read from the worker itself (``HAProxyWorker``), the same on every version of HAProxy, whose own
/// answers to a reload differ.
struct SupervisedHAProxy: HAProxyInstance {
    /// How it is reached.
    let access: HAProxyAccess
    /// The master that runs; nil where none does.
    private(set) var master: HAProxyMaster?

    private let output: HAProxyOutput
    private let logger: Logger
    private var restart = RestartBackoff()

    /// Something is in the way of the stats page.
    struct StatsPortTaken: Error, Equatable {
        /// Where it would be.
        let bind: BindAddress
        /// What is there.
        let obstacle: String
    }

    /// An HAProxy that an earlier run left does not answer.
    struct SilentMaster: Error, Equatable {
        /// Its process id.
        let pid: Int32
        /// Where it should.
        let socket: String
        /// How long it was waited for.
        let limit: Duration
    }

    /// Takes over the master that an earlier run left; where there is none, the stats page must be able to listen.
    ///
    /// - Parameter patience: how long an HAProxy that has just died may take to let go of that port.
    init(
        _ access: HAProxyAccess, _ output: HAProxyOutput, logger: Logger, statsBind: BindAddress,
        patience: Duration = .seconds(1)
    ) async throws {
        self.access = access
        self.output = output
        self.logger = logger
        master = try await Self.runningMaster(access)
        if let master {
            logger.info("took over the running HAProxy", ["pid": master.pid])
            if !master.followOutput(onLine: output.take) {
                logger.warning("cannot read what HAProxy prints, until it is restarted", ["pid": master.pid])
            }
        } else if let obstacle = await PortCheck.obstacles(to: [statsBind], patience: patience)[statsBind] {
            // HAProxy itself would only say that it cannot bind, and not who is there.
            throw StatsPortTaken(bind: statsBind, obstacle: obstacle)
        }
    }

    /// Where nothing runs, docker-discover is to start it.
    var presence: KnownState { master == nil ? .notRunning : .unknown(.unknownState) }

    /// Looks whether it has ended.
    mutating func look() async -> Bool {
        guard let master, !master.isAlive else { return false }
        self.master = nil
        restart.ended(at: .now)
        logger.error("HAProxy exited; restarting it", ["pid": master.pid, "how": master.ending])
        return true
    }

    /// Waits for its end.
    func changed() async throws {
        guard let master else {
            // Nothing happens to it that docker-discover does not do.
            return try await Task.sleep(for: .seconds(86_400))
        }
        try await master.end()
    }

    /// Reloads it where it runs, and starts it where it does not, unless it has just ended again and again.
    mutating func load(_ request: LoadRequest) async throws -> LoadOutcome {
        if let master {
            return .loaded(try await reload(master, with: request.next), request.next, rejection: nil)
        }
        let now = ContinuousClock.now
        if let due = restart.due, due > now { return .waiting(now.duration(to: due)) }
        return try await start(request)
    }

    /// Stops it within the grace period.
    func stop(grace: Duration) async {
        guard let master else { return }
        if await end(master, grace: grace) {
            logger.info("HAProxy stopped", ["pid": master.pid])
        } else {
            logger.warning("HAProxy was stopped with connections open", ["pid": master.pid, "grace": "\(grace)"])
        }
    }
}

// MARK: Taking over

extension SupervisedHAProxy {
    /// What it is started with.
    static func arguments(in directory: StateDirectory) -> [String] {
        ["-W", "-S", "\(directory.masterSocket),mode,600,level,admin", "-f", directory.configuration.path]
    }

    /// The master that was started for a state directory, whether it answers or not; nil where there is none.
    static func startedMaster(in directory: StateDirectory) async -> HAProxyMaster? {
        await HAProxyMaster(withArguments: arguments(in: directory), for: directory.path)
    }

    /// Whether a process is a master that was started for a state directory, or one of its workers.
    static func isProcess(_ pid: Int32, of directory: StateDirectory) -> Bool {
        let tail = Array((arguments(in: directory).joined(separator: "\0") + "\0").utf8)
        guard let line = (try? FileContents("/proc/\(pid)/cmdline").bytes) ?? nil else { return false }
        return line.contains(tail) && Folder.isSame(directory.path, for: pid) != false
    }

    /// The master that an earlier run left; nil where there is none.
    ///
    /// A master that does not answer must not be joined by a second one that shares its ports. It may be starting, or
    /// somebody has deleted its socket, which it makes anew with a reload.
    private static func runningMaster(_ access: HAProxyAccess) async throws -> HAProxyMaster? {
        let (begin, timing) = (ContinuousClock.now, access.timing)
        var isAsked = false
        while true {
            if let master = try await answeringMaster(access) { return master }
            guard let silent = await startedMaster(in: access.directory) else { return nil }
            let waited = begin.duration(to: .now)
            guard waited < timing.load else {
                throw SilentMaster(pid: silent.pid, socket: access.directory.masterSocket, limit: timing.load)
            }
            if waited >= timing.socket, !isAsked {
                // A reload without a file ends it, from HAProxy 3.1 on: it gets one with the first that is known.
                guard !Folder.isMissing(access.directory.configuration.path) else { return silent }
                silent.send(.user2)
                isAsked = true
            }
            try await Task.sleep(for: timing.poll)
        }
    }

    /// The master that answers at the socket; nil where nobody listens.
    private static func answeringMaster(_ access: HAProxyAccess) async throws -> HAProxyMaster? {
        do {
            return try await access.processes().flatMap { HAProxyMaster(adopting: $0.master) }
        } catch let error as LineSocket.Failure {
            if case .timedOut = error { throw error }
            return nil
        }
    }
}

// MARK: Starting and stopping

extension SupervisedHAProxy {
    /// Starts it with what is wanted, or with the first of the fallbacks that it accepts.
    private mutating func start(_ request: LoadRequest) async throws -> LoadOutcome {
        var rejection: (any Error)?
        for candidate in [request.next] + request.fallbacks {
            do {
                restart.starts(at: .now)
                let (started, worker) = try await start(candidate, isAccepted: candidate == request.accepted)
                master = started
                logger.info("HAProxy started", ["pid": started.pid, "version": access.program.version])
                return .loaded(worker, candidate, rejection: rejection)
            } catch {
                rejection = rejection ?? error
                try Task.checkCancellation()
            }
        }
        throw rejection ?? LoadFailure.refused([])
    }

    /// Starts it with one configuration.
    ///
    /// - Parameter isAccepted: whether an HAProxy has run this very file, so that it needs no check.
    private func start(
        _ configuration: HAProxyConfiguration, isAccepted: Bool
    ) async throws -> (HAProxyMaster, HAProxyWorker) {
        access.clearStates()
        do {
            // A check would only say sooner what the start says, at the price of loading everything twice.
            return try await access.file.install(configuration, isChecked: true) {
                try await start(expecting: configuration.mark)
            }
        } catch  where !isAccepted && !Task.isCancelled {
            if let rejection = try await access.file.rejection(of: configuration) { throw rejection }
            throw error
        }
    }

    /// Starts it with the file that is in place, and waits until it serves.
    private func start(expecting mark: String) async throws -> (HAProxyMaster, HAProxyWorker) {
        output.forgetAlerts()
        let program = Program(access.program.path, Self.arguments(in: access.directory))
        let child = try program.start(onLine: output.take)
        do {
            guard let started = HAProxyMaster(child) else {
                // What it said is all there only when its end is.
                _ = try await child.wait()
                throw LoadFailure.refused(output.alerts)
            }
            return (started, try await confirm(mark, of: started, besides: []))
        } catch {
            child.sendToGroup(.kill)
            throw error
        }
    }

    /// Ends it: it finishes open connections for `grace`, then it is made to end.
    ///
    /// - Returns: whether all connections came to their own end.
    func end(_ master: HAProxyMaster, grace: Duration) async -> Bool {
        // A master that is in the middle of a reload forgets the signal, so it gets it again.
        let end = ContinuousClock.now + grace
        repeat {
            master.send(.user1)
            let left = ContinuousClock.now.duration(to: end)
            if await master.ends(within: min(access.timing.stopInterval, left)) { return true }
        } while ContinuousClock.now < end
        master.send(.terminate)
        if await master.ends(within: .seconds(1)) { return false }
        // Its workers end when they lose it.
        master.send(.kill)
        _ = await master.ends(within: .seconds(1))
        return false
    }
}

// MARK: Reloading

extension SupervisedHAProxy {
    /// Brings it to a configuration without losing a connection.
    private func reload(_ master: HAProxyMaster, with next: HAProxyConfiguration) async throws -> HAProxyWorker {
        try await access.installKeepingStates(next) { try await reload(master, expecting: next.mark) }
    }

    /// Has the master load the file that is in place, and waits until a new worker serves.
    private func reload(_ master: HAProxyMaster, expecting mark: String) async throws -> HAProxyWorker {
        output.forgetAlerts()
        let (before, silent) = await workers()
        do {
            // Before 2.7 the connection is cut when the master executes itself anew; what answers after that is new.
            try LoadFailure.check(try await masterSocket.send("reload", deadline: access.timing.load))
        } catch let error as LineSocket.Failure {
            guard case .unreachable = error else { throw LoadFailure.unconfirmed(after: access.timing.load) }
            guard master.isAlive else { throw LoadFailure.refused(["\(error)"]) }
            // Somebody deleted the socket. The signal asks for the same, and makes the socket anew.
            master.send(.user2)
        }
        let worker = try await confirm(mark, of: master, besides: before)
        await listens(worker)
        for old in silent where old != worker.pid { await endIfHung(old) }
        return worker
    }

    /// Kills a worker of before the reload that gives no answer: it would keep its share of new connections for ever.
    private func endIfHung(_ pid: Int32) async {
        guard let worker = ProcessStatus(pid) else { return }
        do {
            _ = try await masterSocket.send("@!\(pid) show info", deadline: access.timing.answer)
        } catch LineSocket.Failure.timedOut {
            worker.send(.kill)
            logger.warning("killed an HAProxy worker that did not answer", ["worker": pid])
        } catch {}
    }

    private var masterSocket: LineSocket { LineSocket(path: access.directory.masterSocket) }

    /// What the newest worker says of itself; nil where nobody answers.
    func worker() async throws -> HAProxyWorker? {
        do {
            return HAProxyWorker(try await masterSocket.send("@1 show info", deadline: access.timing.answer))
        } catch is LineSocket.Failure {
            return nil
        }
    }

    /// The workers of now, old ones included, and those of them that should answer and do not.
    private func workers() async -> (all: Set<Int32>, silent: [Int32]) {
        let list = try? await access.processes()
        let newest = try? await worker()
        let all = Set((list?.workers ?? []) + (list?.oldWorkers ?? []) + [newest?.pid].compactMap(\.self))
        return (all, newest == nil ? list?.workers ?? [] : [])
    }

    /// Waits until a worker that is none of `others` says that it has loaded what was asked for.
    ///
    /// The mark alone would not do: files that differ only in their servers have the same one.
    private func confirm(
        _ mark: String, of master: HAProxyMaster, besides others: Set<Int32>
    ) async throws -> HAProxyWorker {
        let end = ContinuousClock.now + access.timing.load
        while ContinuousClock.now < end {
            if let worker = try await worker(), worker.mark == mark, !others.contains(worker.pid) { return worker }
            guard master.isAlive else { throw LoadFailure.refused(output.alerts) }
            if (try? await access.processes())?.lastReloadFailed == true {
                throw LoadFailure.refused(await spokenAlerts())
            }
            try await Task.sleep(for: access.timing.poll)
        }
        throw LoadFailure.unconfirmed(after: access.timing.load)
    }

    /// The alerts of a master that goes on, which may say them a moment before they are read.
    private func spokenAlerts() async -> [String] {
        let end = ContinuousClock.now + access.timing.words
        while output.alerts.isEmpty, ContinuousClock.now < end {
            guard (try? await Task.sleep(for: access.timing.poll)) != nil else { break }
        }
        return output.alerts
    }

    /// Waits for a moment until a worker has taken over the runtime API's socket.
    private func listens(_ worker: HAProxyWorker) async {
        let end = ContinuousClock.now + access.timing.takeover
        while ContinuousClock.now < end, (try? await access.runtime.report(on: []))?.worker.pid != worker.pid {
            guard (try? await Task.sleep(for: access.timing.poll)) != nil else { return }
        }
    }
}

extension SupervisedHAProxy.SilentMaster: CustomStringConvertible {
    /// One sentence for the person who starts the program.
    var description: String {
        "the HAProxy of an earlier run (process \(pid)) does not answer at \(socket) within \(DurationText.text(limit)); "
            + "end it: kill \(pid)"
    }
}

extension SupervisedHAProxy.StatsPortTaken: CustomStringConvertible {
    /// One sentence for the person who starts the program.
    var description: String { "STATS_BIND: \(bind) is \(obstacle)" }
}
