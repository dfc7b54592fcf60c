import Glibc
import Shared

/// Starts, takes over, reloads and stops HAProxy in master-worker mode.
///
/// The master owns a socket in the state directory through which it is found again. Which configuration its worker
/// has loaded is read from the worker itself (``HAProxyWorker``), the same on every version of HAProxy, whose own
/// answers to a reload differ.
struct SupervisedHAProxy: Sendable {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// For one answer of a command socket.
        var answer: Duration = .seconds(2)
        /// For a start or a reload; HAProxy loads 10 000 servers in 0.2 s.
        var load: Duration = .seconds(10)
        /// Between two looks while something is awaited.
        var poll: Duration = .milliseconds(5)
        /// For an HAProxy of an earlier run to make the socket that it was started with.
        var socket: Duration = .seconds(2)
        /// For a new worker to take over the runtime API's socket, which it does before the old one is told to go.
        var takeover: Duration = .milliseconds(500)
        /// For the words of a master whose reload failed to be read.
        var words: Duration = .milliseconds(200)
        /// For the command that reloads an HAProxy that somebody else runs.
        var command: Duration = .seconds(10)
        /// Between two requests to stop.
        var stopInterval: Duration = .milliseconds(200)
    }

    /// Why a start or a reload did not come to its end.
    enum Failure: Error, Equatable {
        /// HAProxy said no and goes on as before, or ended.
        case refused([String])
        /// It neither confirmed nor refused in time: what it runs is not known.
        case unconfirmed(after: Duration)
    }

    /// What is started.
    let program: HAProxyProgram
    /// Where its files are.
    let directory: StateDirectory
    /// Where its output goes.
    let output: HAProxyOutput
    /// The HAProxy that somebody else runs; nil where it is this program that starts its own.
    var existing: ExternalHAProxy?
    /// The limits.
    var timing = Timing()

    /// The file that HAProxy reads.
    var configuration: AtomicFile { existing.map { AtomicFile(path: $0.path) } ?? directory.configuration }

    /// What HAProxy is started with.
    var arguments: [String] {
        ["-W", "-S", "\(directory.masterSocket),mode,600,level,admin", "-f", directory.configuration.path]
    }

    /// What changes its servers while it runs.
    var runtime: RuntimeAPI {
        RuntimeAPI(socket: LineSocket(path: directory.statsSocket), deadline: timing.answer)
    }

    private var master: LineSocket {
        if case .master(let socket) = existing?.reload { return LineSocket(path: socket) }
        return LineSocket(path: directory.masterSocket)
    }

    /// Takes over a master that an earlier run left; nil where there is none.
    ///
    /// A master that does not answer must not be joined by a second one that shares its ports. It may be starting, or
    /// somebody has deleted its socket, which it makes anew with a reload.
    func adopt() async throws -> HAProxyMaster? {
        let begin = ContinuousClock.now
        var isAsked = false
        while true {
            if let master = try await answering() { return master }
            guard let silent = HAProxyMaster(withArguments: arguments) else { return nil }
            let waited = begin.duration(to: .now)
            guard waited < timing.load else { throw Failure.unconfirmed(after: timing.load) }
            if waited >= timing.socket, !isAsked {
                silent.signal(SIGUSR2)
                isAsked = true
            }
            try await Task.sleep(for: timing.poll)
        }
    }

    /// The master that answers at the socket; nil where nobody listens.
    private func answering() async throws -> HAProxyMaster? {
        do {
            return try await table().flatMap { HAProxyMaster(adopting: $0.master) }
        } catch let error as LineSocket.Failure {
            if case .timedOut = error { throw error }
            return nil
        }
    }

    /// Starts HAProxy with the file that is in the state directory, and waits until it serves.
    func start(expecting mark: String) async throws -> (HAProxyMaster, HAProxyWorker) {
        output.forgetAlerts()
        let child = try Program(program.path, arguments).start(onLine: output.take)
        do {
            guard let started = HAProxyMaster(child) else {
                // What it said is all there only when its end is.
                _ = try await child.wait()
                throw Failure.refused(output.alerts)
            }
            return (started, try await confirm(mark, of: started, besides: []))
        } catch {
            child.signalGroup(SIGKILL)
            throw error
        }
    }

    /// Has the master load the file that is in the state directory, and waits until a new worker serves.
    func reload(_ master: HAProxyMaster, expecting mark: String) async throws -> HAProxyWorker {
        output.forgetAlerts()
        let before = await workers()
        do {
            // Before 2.7 the connection is cut when the master executes itself anew; what answers after that is new.
            try Self.checkReload(try await self.master.send("reload", deadline: timing.load))
        } catch let error as LineSocket.Failure {
            guard case .unreachable = error else { throw Failure.unconfirmed(after: timing.load) }
            guard master.isAlive else { throw Failure.refused(["\(error)"]) }
            // Somebody deleted the socket. The signal asks for the same, and makes the socket anew.
            master.signal(SIGUSR2)
        }
        let worker = try await confirm(mark, of: master, besides: before)
        await listens(worker)
        return worker
    }

    /// Throws where a master's answer to `reload` says that it failed; before 2.7 there is none.
    static func checkReload(_ answer: String) throws {
        guard answer.hasPrefix("Success=0") else { return }
        let lines = answer.split(separator: "\n").map(String.init)
        throw Failure.refused(HAProxyProgram.Rejection(lines: lines).alerts)
    }

    /// What the newest worker says of itself; nil where nobody answers.
    func worker() async throws -> HAProxyWorker? {
        do {
            return HAProxyWorker(try await master.send("@1 show info", deadline: timing.answer))
        } catch is LineSocket.Failure {
            return nil
        }
    }

    /// How many workers of earlier configurations finish their connections; nil where nobody says.
    func oldWorkers() async -> Int? {
        try? await table()?.oldWorkers.count
    }

    /// Stops HAProxy: it finishes open connections for `grace`, then it is made to end.
    ///
    /// - Returns: whether all connections came to their own end.
    func stop(_ master: HAProxyMaster, grace: Duration) async -> Bool {
        // A master that is in the middle of a reload forgets the signal, so it gets it again.
        let end = ContinuousClock.now + grace
        repeat {
            master.signal(SIGUSR1)
            let left = ContinuousClock.now.duration(to: end)
            if await master.ends(within: min(timing.stopInterval, left)) { return true }
        } while ContinuousClock.now < end
        master.signal(SIGTERM)
        if await master.ends(within: .seconds(1)) { return false }
        // Its workers end when they lose it.
        master.signal(SIGKILL)
        _ = await master.ends(within: .seconds(1))
        return false
    }

    /// What the master tells of its processes; nil where it tells something else.
    func table() async throws -> MasterProcessList? {
        MasterProcessList(try await master.send("show proc", deadline: timing.answer))
    }

    /// The workers of now, old ones included.
    private func workers() async -> Set<Int32> {
        let table = try? await table()
        let newest = try? await worker()
        return Set((table?.workers ?? []) + (table?.oldWorkers ?? []) + [newest?.pid].compactMap(\.self))
    }

    /// The alerts of a master that goes on, which may say them a moment before they are read.
    private func spokenAlerts() async -> [String] {
        let end = ContinuousClock.now + timing.words
        while output.alerts.isEmpty, ContinuousClock.now < end {
            guard (try? await Task.sleep(for: timing.poll)) != nil else { break }
        }
        return output.alerts
    }

    /// Waits for a moment until a worker has taken over the runtime API's socket.
    private func listens(_ worker: HAProxyWorker) async {
        let end = ContinuousClock.now + timing.takeover
        while ContinuousClock.now < end, (try? await runtime.report(on: []))?.worker.pid != worker.pid {
            guard (try? await Task.sleep(for: timing.poll)) != nil else { return }
        }
    }

    /// Waits until a worker that is none of `others` says that it has loaded what was asked for.
    ///
    /// The mark alone would not do: files that differ only in their servers have the same one.
    private func confirm(
        _ mark: String, of master: HAProxyMaster, besides others: Set<Int32>
    ) async throws -> HAProxyWorker {
        let end = ContinuousClock.now + timing.load
        while ContinuousClock.now < end {
            if let worker = try await worker(), worker.mark == mark, !others.contains(worker.pid) { return worker }
            guard master.isAlive else { throw Failure.refused(output.alerts) }
            if let table = try? await table(), table.lastReloadFailed { throw Failure.refused(await spokenAlerts()) }
            try await Task.sleep(for: timing.poll)
        }
        throw Failure.unconfirmed(after: timing.load)
    }
}

extension SupervisedHAProxy.Failure: CustomStringConvertible {
    /// One sentence for the log.
    var description: String {
        switch self {
        case .refused(let alerts): HAProxyProgram.Rejection(alerts: alerts).description
        case .unconfirmed(let limit): "HAProxy did not confirm within \(limit)"
        }
    }
}
