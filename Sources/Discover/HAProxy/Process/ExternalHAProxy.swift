import Shared

/// An HAProxy that somebody else starts, supervises and stops, such as the system's haproxy.service.
struct ExternalHAProxy: Equatable, Sendable {
    /// How it is told to read its file anew.
    enum Reload: Equatable, Sendable {
        /// By `reload` at the socket of its master.
        case master(socket: String)
        /// By a command for `/bin/sh -c`.
        case command(String)
    }

    /// The file that it reads.
    let path: String
    /// How it is told to.
    let reload: Reload

    /// Where Debian's haproxy.service reads its file.
    static let standardPath = "/etc/haproxy/haproxy.cfg"

    /// Why a reload was not to be had.
    enum Failure: Error, Equatable {
        /// The file is somebody else's.
        case foreignFile(path: String)
        /// An HAProxy that docker-discover started itself still runs.
        case ownRuns(pid: Int32)
        /// The master does not answer.
        case noMaster(reason: String)
        /// It was told to stop, and only finishes its connections.
        case stopping
        /// The command failed, and no new worker serves.
        case commandFailed(reason: String)
    }

    /// Whether a file with these contents may be replaced: it has nothing in it, or docker-discover's mark at its begin.
    static func isOurs(_ contents: [UInt8]) -> Bool {
        let begin = String(decoding: contents.prefix(4096), as: UTF8.self)
        if contents.count <= 4096, begin.allSatisfy(\.isWhitespace) { return true }
        return begin.split(separator: "\n").contains(where: HAProxyConfiguration.isMark)
    }

    /// Throws where the file is there and somebody else's.
    func checkFile() throws {
        if let contents = try FileContents(path).bytes, !Self.isOurs(contents) { throw Failure.foreignFile(path: path) }
    }
}

extension ExternalHAProxy.Failure: CustomStringConvertible {
    /// One sentence for the person who runs that HAProxy.
    var description: String {
        switch self {
        case .foreignFile(let path):
            "HAPROXY_CONFIG: \(path) was not written by docker-discover, which would replace it; move it away "
                + "(mv \(path) \(path).before), what is needed of it into GLOBAL_FILE, DEFAULTS_FILE or EXTRA_FILE"
        case .ownRuns(let pid):
            "the HAProxy that docker-discover started itself before still serves; stop it first (kill \(pid))"
        case .noMaster(let reason): "HAPROXY_MASTER: no HAProxy answers: \(reason)"
        case .stopping: "it is being stopped"
        case .commandFailed(let reason): "RELOAD_COMMAND \(reason)"
        }
    }
}

/// Rings when an HAProxy that somebody else runs is no longer the one that was there.
struct ExternalHAProxyMonitor: Sendable {
    /// How it is looked at.
    let process: SupervisedHAProxy
    /// Between two looks.
    var interval = Duration.milliseconds(250)

    /// Looks until the task is cancelled.
    func run(_ ring: @Sendable () -> Void) async throws {
        var last: SupervisedHAProxy.Sight?
        while true {
            let sight = await process.sight()
            if sight != .silent, sight != last {
                last = sight
                ring()
            }
            try await Task.sleep(for: interval)
        }
    }
}

// An HAProxy that somebody else runs: it is asked to reload, and read, and never started or stopped.

extension SupervisedHAProxy {
    /// What is seen of an HAProxy at the socket of its runtime API.
    enum Sight: Equatable, Sendable {
        /// Nobody is there.
        case nobody
        /// Somebody is there who does not answer in time.
        case silent
        /// A worker answers.
        case worker(HAProxyWorker)

        /// The worker that answers.
        var worker: HAProxyWorker? {
            if case .worker(let worker) = self { return worker }
            return nil
        }
    }

    /// Looks who serves.
    func sight() async -> Sight {
        // While one worker takes the socket over from another, nobody may be there for a moment.
        for _ in 0..<3 {
            do {
                let answer = try await runtime.socket.send("show info", deadline: timing.answer)
                return HAProxyWorker(answer).map { .worker($0) } ?? .silent
            } catch LineSocket.Failure.timedOut {
                return .silent
            } catch {
                guard (try? await Task.sleep(for: timing.poll * 4)) != nil else { return .silent }
            }
        }
        return .nobody
    }

    /// Waits a moment for a worker of an HAProxy that may just be starting, and would need no reload.
    func arrival(of existing: ExternalHAProxy) async -> HAProxyWorker? {
        if case .master = existing.reload {
            do { _ = try await table() } catch { return nil }
        }
        let end = ContinuousClock.now + timing.takeover
        while ContinuousClock.now < end {
            if let worker = await sight().worker { return worker }
            guard (try? await Task.sleep(for: timing.poll)) != nil else { return nil }
        }
        return nil
    }

    /// Whether it was told to stop and finishes its connections; a reload would bring it back against somebody's will.
    private func isStopping(_ existing: ExternalHAProxy) async -> Bool {
        guard case .master(let socket) = existing.reload else { return false }
        let answer = try? await LineSocket(path: socket).send("@1 show info", deadline: timing.answer)
        return answer.map(HAProxyWorker.isStopping) ?? false
    }

    /// Puts a configuration in the place where an HAProxy that is started later reads it.
    func prepare(_ configuration: HAProxyConfiguration) async throws {
        forgetStates()
        try await install(configuration, isProven: false) {}
    }

    /// Brings an HAProxy that somebody else runs to a configuration without losing a connection.
    ///
    /// Whatever asking for the reload came to: only a new worker that has loaded the configuration counts.
    func reload(
        _ existing: ExternalHAProxy, with configuration: HAProxyConfiguration
    ) async throws -> HAProxyWorker {
        try await installKeepingStates(configuration) {
            // Not before: checking a large file takes its time.
            if await isStopping(existing) { throw ExternalHAProxy.Failure.stopping }
            let before = await sight().worker
            try await ask(existing, for: configuration.mark, besides: before)
            return try await confirm(configuration.mark, of: existing, besides: before)
        }
    }

    private func ask(_ existing: ExternalHAProxy, for mark: String, besides before: HAProxyWorker?) async throws {
        switch existing.reload {
        case .master(let socket): try await askMaster(at: socket)
        case .command(let command):
            guard let reason = await failure(of: command) else { return }
            let worker = await sight().worker
            guard let worker, worker.mark == mark, worker != before else {
                throw ExternalHAProxy.Failure.commandFailed(reason: reason)
            }
            output.tellFailedReload(reason)
        }
    }

    private func askMaster(at socket: String) async throws {
        do {
            try Self.checkReload(try await sendReload(to: LineSocket(path: socket)))
        } catch LineSocket.Failure.unreachable(let error) {
            throw ExternalHAProxy.Failure.noMaster(reason: error.description)
        } catch is LineSocket.Failure {
            throw Failure.unconfirmed(after: timing.load)
        }
    }

    /// Asks again where nobody listens: after a reload by somebody else the socket is away for a moment.
    private func sendReload(to master: LineSocket) async throws -> String {
        for _ in 0..<3 {
            do {
                return try await master.send("reload", deadline: timing.load)
            } catch LineSocket.Failure.unreachable {
                try await Task.sleep(for: timing.poll * 10)
            }
        }
        return try await master.send("reload", deadline: timing.load)
    }

    /// Runs the command that reloads; nil where it succeeded.
    private func failure(of command: String) async -> String? {
        do {
            let outcome = try await Program("/bin/sh", ["-c", command]).run(deadline: timing.command)
            guard !outcome.isSuccess else { return nil }
            let printed = outcome.lines.suffix(3).joined(separator: "; ")
            return "ended with \(outcome.ending.explanation)" + (printed.isEmpty ? "" : ": \(printed)")
        } catch is ProgramError {
            return "did not end within \(DurationText.text(timing.command)) and was killed"
        } catch {
            return "was not run: \(error)"
        }
    }

    private func confirm(
        _ mark: String, of existing: ExternalHAProxy, besides before: HAProxyWorker?
    ) async throws -> HAProxyWorker {
        let end = ContinuousClock.now + timing.load
        while ContinuousClock.now < end {
            if let worker = await sight().worker, worker.mark == mark, worker != before { return worker }
            if case .master = existing.reload, (try? await table())?.lastReloadFailed == true {
                throw Failure.refused(["the reload failed; HAProxy's own log says why"])
            }
            try await Task.sleep(for: timing.poll)
        }
        throw Failure.unconfirmed(after: timing.load)
    }
}

// An HAProxy that somebody else runs.

extension HAProxyController {
    /// What is known of it.
    struct Acquaintance {
        /// The worker that serves; nil where none answers.
        var worker: HAProxyWorker?
        /// Whether it was told that none does.
        var isAbsenceTold = false
        /// When it is asked again to load our file; nil for at once.
        var due: ContinuousClock.Instant?
        /// The waits between that.
        var backoff = Backoff(first: .milliseconds(500), limit: .seconds(15))
    }

    /// Takes it as it is, if it is there; throws where something stands against it for good.
    mutating func adopt(_ existing: ExternalHAProxy) async throws {
        try existing.checkFile()
        if let own = HAProxyMaster(withArguments: process.arguments) {
            throw ExternalHAProxy.Failure.ownRuns(pid: own.pid)
        }
        readFile()
        _ = await lookAtExisting()
    }

    /// Looks whether it is there and still the same; returns whether that changed.
    mutating func lookAtExisting() async -> Bool {
        guard process.existing != nil else { return false }
        switch await process.sight() {
        case .silent: return false
        case .nobody:
            guard let gone = other.worker else { return false }
            (other.worker, known) = (nil, .notRunning)
            tellAbsence("it ended", pid: gone.pid)
            return true
        case .worker(let worker):
            guard worker != other.worker else { return false }
            await meet(worker)
            return true
        }
    }

    /// Takes a worker for the one that serves: it was started or reloaded by somebody else.
    private mutating func meet(_ worker: HAProxyWorker) async {
        note(worker, isOurDoing: false)
        (known, isDynamic, takesCookies) = (.unknown(.unknownState), true, true)
        if file == nil { readFile() }
        await learn()
    }

    private mutating func note(_ worker: HAProxyWorker, isOurDoing: Bool) {
        if other.isAbsenceTold {
            logger.info("an HAProxy serves", ["worker": worker.pid])
        } else if other.worker == nil {
            logger.info("took over the running HAProxy", ["worker": worker.pid])
        } else if !isOurDoing {
            logger.info("somebody else reloaded or restarted HAProxy", ["worker": worker.pid])
        }
        (other.worker, other.isAbsenceTold, other.due) = (worker, false, nil)
        other.backoff.reset()
    }

    /// Has an HAProxy that does not run our file load it; where there is none, the file waits for its start.
    mutating func enlist(_ change: ConfigChange, _ existing: ExternalHAProxy) async throws -> Progress {
        let next = change.next
        if file != next {
            try await process.prepare(next)
            file = next
        }
        if let due = other.due, due > .now {
            return Progress(done: change.withoutLoad, wait: ContinuousClock.now.duration(to: due))
        }
        if let worker = await process.arrival(of: existing) {
            await meet(worker)
            return Progress(done: change.withoutLoad, wait: .zero)
        }
        do {
            try await loadInto(existing, next)
            return Progress(done: ConfigChange(from: .unknown(.unknownState), to: next))
        } catch {
            try Task.checkCancellation()
            return waiting(change, because: "\(error)")
        }
    }

    /// Takes it for gone that it is being stopped, although it was there a moment ago.
    mutating func missed(_ change: ConfigChange, _ reason: ExternalHAProxy.Failure) -> Progress {
        (other.worker, known) = (nil, .notRunning)
        return waiting(change, because: reason.description)
    }

    private mutating func waiting(_ change: ConfigChange, because reason: String) -> Progress {
        tellAbsence(reason, pid: nil)
        let wait = other.backoff.next()
        other.due = .now + wait
        return Progress(done: change.withoutLoad, wait: wait)
    }

    /// Whether a port that is taken may be so by an HAProxy that serves although it is not seen.
    func mayHold(_ bind: BindAddress) -> Bool {
        guard process.existing != nil, file?.binds.contains(bind) == true else { return false }
        return PortOwner(of: bind.port).map { $0.command == "haproxy" } ?? true
    }

    /// Reloads it and takes what it confirms.
    mutating func loadInto(_ existing: ExternalHAProxy, _ next: HAProxyConfiguration) async throws {
        let worker = try await process.reload(existing, with: next)
        note(worker, isOurDoing: true)
        take(worker, of: next)
    }

    private mutating func tellAbsence(_ reason: String, pid: Int32?) {
        guard !other.isAbsenceTold else { return }
        other.isAbsenceTold = true
        logger.warning(
            "no HAProxy serves; its file is ready for whoever starts it",
            ["file": filePath, "pid": pid, "error": reason])
    }
}
