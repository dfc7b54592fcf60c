import Shared

/// An HAProxy that something else starts, supervises and stops, such as the system's haproxy.service: it is asked to
/// reload, and read, and never started or stopped.
struct ExternalHAProxy: HAProxyInstance {
    /// Which HAProxy it is.
    struct Settings: Equatable, Sendable {
        /// The file that it reads.
        let path: String
        /// How it is told to read it anew.
        let reload: Reload

        /// Where Debian's haproxy.service reads its file.
        static let standardPath = "/etc/haproxy/haproxy.cfg"
    }

    /// How it is told to read its file anew.
    enum Reload: Equatable, Sendable {
        /// By `reload` at the socket of its master.
        case master(socket: String)
        /// By a command for `/bin/sh -c`.
        case command(String)
    }

    /// Why it cannot be worked with, or did not reload.
    enum Failure: Error, Equatable {
        /// An HAProxy that docker-discover started itself still runs.
        case ownRuns(pid: Int32)
        /// The master does not answer.
        case noMaster(reason: String)
        /// It was told to stop, and only finishes its connections.
        case stopping
        /// The command failed, and no new worker serves.
        case commandFailed(reason: String)
    }

    /// How it is reached.
    let access: HAProxyAccess

    private let reload: Reload
    private let logger: Logger
    /// The worker that serves; nil where none answers.
    private var worker: HAProxyWorker?
    /// Whether it was logged that none does.
    private var isAbsenceLogged = false
    /// When it is asked again to load our file; nil for at once.
    private var due: ContinuousClock.Instant?
    /// The waits between that.
    private var backoff = Backoff(first: .milliseconds(500), limit: .seconds(15))

    /// Takes it as it is, if it is there; throws where something stands against it for good.
    init(_ access: HAProxyAccess, reload: Reload, logger: Logger) async throws {
        self.access = access
        self.reload = reload
        self.logger = logger
        try access.file.checkOwner()
        if let own = await SupervisedHAProxy.startedMaster(in: access.directory) {
            throw Failure.ownRuns(pid: own.pid)
        }
        _ = await look()
    }

    /// Where none serves, something else is to start it.
    var presence: KnownState { worker == nil ? .absent : .unknown(.unknownState) }

    /// Looks whether its worker is there and still the same.
    mutating func look() async -> Bool {
        switch await access.workerPresence() {
        case .silent: return false
        case .absent:
            guard let gone = worker else { return false }
            worker = nil
            logAbsence("it ended", pid: gone.pid)
            return true
        case .worker(let found):
            guard found != worker else { return false }
            record(found, isOurDoing: false)
            return true
        }
    }

    /// Waits until its worker is no longer there, or another one.
    func changed() async throws {
        while true {
            try await Task.sleep(for: access.timing.watch)
            let seen = await access.workerPresence()
            if seen != .silent, seen.worker != worker { return }
        }
    }

    /// Reloads it; where none serves, the file waits for its start.
    mutating func load(_ request: LoadRequest) async throws -> LoadOutcome {
        var file: HAProxyConfiguration?
        if worker == nil {
            if request.inPlace != request.next { try await prepare(request.next) }
            file = request.next
            let now = ContinuousClock.now
            if let due, due > now { return .waiting(now.duration(to: due), file: file) }
            // The next look finds it.
            if await arrives() { return .waiting(.zero, file: file) }
        }
        do {
            let loaded = try await reload(with: request.next)
            record(loaded, isOurDoing: true)
            return .loaded(loaded, request.next, rejection: nil)
        } catch {
            if (error as? Failure) == .stopping { worker = nil }
            guard worker == nil else { throw error }
            try Task.checkCancellation()
            logAbsence("\(error)", pid: nil)
            let wait = backoff.next()
            due = .now + wait
            return .waiting(wait, file: file)
        }
    }

    /// Leaves it to whoever runs it.
    func stop(grace: Duration) async {
        logger.info("leaving the external HAProxy running")
    }
}

// MARK: Who serves

extension ExternalHAProxy {
    private mutating func record(_ found: HAProxyWorker, isOurDoing: Bool) {
        if isAbsenceLogged {
            logger.info("external HAProxy is running", ["worker": found.pid])
        } else if worker == nil {
            logger.info("took over the running HAProxy", ["worker": found.pid])
        } else if !isOurDoing {
            logger.info("HAProxy was reloaded or restarted externally", ["worker": found.pid])
        }
        (worker, isAbsenceLogged, due) = (found, false, nil)
        backoff.reset()
    }

    private mutating func logAbsence(_ reason: String, pid: Int32?) {
        guard !isAbsenceLogged else { return }
        isAbsenceLogged = true
        logger.warning(
            "external HAProxy is not running; haproxy.cfg is ready",
            ["file": access.file.path, "pid": pid, "error": reason])
    }

    /// Puts a configuration in the place where an HAProxy that is started later reads it.
    private func prepare(_ configuration: HAProxyConfiguration) async throws {
        access.clearStates()
        try await access.file.install(configuration) {}
    }

    /// Waits a moment for a worker of an HAProxy that may just be starting, and would need no reload.
    private func arrives() async -> Bool {
        if case .master = reload {
            do { _ = try await access.processes() } catch { return false }
        }
        let end = ContinuousClock.now + access.timing.takeover
        while ContinuousClock.now < end {
            if await access.workerPresence().worker != nil { return true }
            guard (try? await Task.sleep(for: access.timing.poll)) != nil else { return false }
        }
        return false
    }

    /// Whether it was told to stop and finishes its connections; a reload would bring it back against somebody's will.
    private func isStopping() async -> Bool {
        guard case .master(let socket) = reload else { return false }
        let answer = try? await LineSocket(path: socket).send("@1 show info", deadline: access.timing.answer)
        return answer.map(HAProxyWorker.isStopping) ?? false
    }
}

// MARK: Reloading

extension ExternalHAProxy {
    /// Brings it to a configuration without losing a connection.
    ///
    /// Whatever asking for the reload came to: only a new worker that has loaded the configuration counts.
    private func reload(with configuration: HAProxyConfiguration) async throws -> HAProxyWorker {
        try await access.installKeepingStates(configuration) {
            // Not before: checking a large file takes its time.
            if await isStopping() { throw Failure.stopping }
            let before = await access.workerPresence().worker
            try await ask(for: configuration.mark, besides: before)
            return try await confirm(configuration.mark, besides: before)
        }
    }

    private func ask(for mark: String, besides before: HAProxyWorker?) async throws {
        switch reload {
        case .master(let socket): try await askMaster(at: socket)
        case .command(let command):
            guard let reason = await failure(of: command) else { return }
            let worker = await access.workerPresence().worker
            guard let worker, worker.mark == mark, worker != before else {
                throw Failure.commandFailed(reason: reason)
            }
            logger.warning("RELOAD_COMMAND failed, although HAProxy has reloaded", ["error": reason])
        }
    }

    private func askMaster(at socket: String) async throws {
        do {
            try LoadFailure.check(try await sendReload(to: LineSocket(path: socket)))
        } catch LineSocket.Failure.unreachable(let error) {
            throw Failure.noMaster(reason: error.description)
        } catch is LineSocket.Failure {
            throw LoadFailure.unconfirmed(after: access.timing.load)
        }
    }

    /// Asks again where nobody listens: after a reload by somebody else the socket is away for a moment.
    private func sendReload(to master: LineSocket) async throws -> String {
        for _ in 0..<3 {
            do {
                return try await master.send("reload", deadline: access.timing.load)
            } catch LineSocket.Failure.unreachable {
                try await Task.sleep(for: access.timing.poll * 10)
            }
        }
        return try await master.send("reload", deadline: access.timing.load)
    }

    /// Runs the command that reloads; nil where it succeeded.
    private func failure(of command: String) async -> String? {
        do {
            let outcome = try await Program("/bin/sh", ["-c", command]).run(deadline: access.timing.command)
            guard !outcome.isSuccess else { return nil }
            let printed = outcome.lines.suffix(3).joined(separator: "; ")
            return "ended with \(outcome.ending.explanation)" + (printed.isEmpty ? "" : ": \(printed)")
        } catch is ProgramError {
            return "did not end within \(DurationText.text(access.timing.command)) and was killed"
        } catch {
            return "was not run: \(error)"
        }
    }

    private func confirm(_ mark: String, besides before: HAProxyWorker?) async throws -> HAProxyWorker {
        let end = ContinuousClock.now + access.timing.load
        while ContinuousClock.now < end {
            if let worker = await access.workerPresence().worker, worker.mark == mark, worker != before {
                return worker
            }
            if case .master = reload, (try? await access.processes())?.lastReloadFailed == true {
                throw LoadFailure.refused(["the reload failed; HAProxy's own log says why"])
            }
            try await Task.sleep(for: access.timing.poll)
        }
        throw LoadFailure.unconfirmed(after: access.timing.load)
    }
}

extension ExternalHAProxy.Failure: CustomStringConvertible {
    /// One sentence for the person who runs that HAProxy.
    var description: String {
        switch self {
        case .ownRuns(let pid):
            "the HAProxy that docker-discover started itself before still serves; stop it first (kill \(pid))"
        case .noMaster(let reason): "HAPROXY_MASTER: no HAProxy answers: \(reason)"
        case .stopping: "it is being stopped"
        case .commandFailed(let reason): "RELOAD_COMMAND \(reason)"
        }
    }
}
