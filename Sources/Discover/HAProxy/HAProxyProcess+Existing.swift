import Shared

// An HAProxy that somebody else runs: it is asked to reload, and read, and never started or stopped.

extension HAProxyProcess {
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
            } catch CommandSocket.Failure.timedOut {
                return .silent
            } catch {
                guard (try? await Task.sleep(for: timing.poll * 4)) != nil else { return .silent }
            }
        }
        return .nobody
    }

    /// Waits a moment for a worker of an HAProxy that may just be starting, and would need no reload.
    func arrival(of existing: ExistingHAProxy) async -> HAProxyWorker? {
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
    private func isStopping(_ existing: ExistingHAProxy) async -> Bool {
        guard case .master(let socket) = existing.reload else { return false }
        let answer = try? await CommandSocket(path: socket).send("@1 show info", deadline: timing.answer)
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
        _ existing: ExistingHAProxy, with configuration: HAProxyConfiguration
    ) async throws -> HAProxyWorker {
        try await installKeepingStates(configuration) {
            // Not before: checking a large file takes its time.
            if await isStopping(existing) { throw ExistingHAProxy.Failure.stopping }
            let before = await sight().worker
            try await ask(existing, for: configuration.mark, besides: before)
            return try await confirm(configuration.mark, of: existing, besides: before)
        }
    }

    private func ask(_ existing: ExistingHAProxy, for mark: String, besides before: HAProxyWorker?) async throws {
        switch existing.reload {
        case .master(let socket): try await askMaster(at: socket)
        case .command(let command):
            guard let reason = await failure(of: command) else { return }
            let worker = await sight().worker
            guard let worker, worker.mark == mark, worker != before else {
                throw ExistingHAProxy.Failure.commandFailed(reason: reason)
            }
            output.tellFailedReload(reason)
        }
    }

    private func askMaster(at socket: String) async throws {
        do {
            try Self.checkReload(try await sendReload(to: CommandSocket(path: socket)))
        } catch CommandSocket.Failure.unreachable(let error) {
            throw ExistingHAProxy.Failure.noMaster(reason: error.description)
        } catch is CommandSocket.Failure {
            throw Failure.unconfirmed(after: timing.load)
        }
    }

    /// Asks again where nobody listens: after a reload by somebody else the socket is away for a moment.
    private func sendReload(to master: CommandSocket) async throws -> String {
        for _ in 0..<3 {
            do {
                return try await master.send("reload", deadline: timing.load)
            } catch CommandSocket.Failure.unreachable {
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
        _ mark: String, of existing: ExistingHAProxy, besides before: HAProxyWorker?
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
