import Shared

// An HAProxy that somebody else runs.

extension ProxyDriver {
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
    mutating func adopt(_ existing: ExistingHAProxy) async throws {
        try existing.checkFile()
        if let own = HAProxyMaster(withArguments: process.arguments) {
            throw ExistingHAProxy.Failure.ownRuns(pid: own.pid)
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
            (other.worker, running) = (nil, .nothing)
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
        (running, isDynamic, takesCookies) = (.unknown(.unknownState), true, true)
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
    mutating func enlist(_ next: HAProxyConfiguration, _ existing: ExistingHAProxy) async throws -> Progress {
        if file != next {
            try await process.prepare(next)
            file = next
        }
        if let due = other.due, due > .now {
            return .waiting(ContinuousClock.now.duration(to: due), done: .none)
        }
        if let worker = await process.arrival(of: existing) {
            await meet(worker)
            return .waiting(.zero, done: .none)
        }
        do {
            try await loadInto(existing, next)
            return .done(.reload(.unknownState))
        } catch {
            try Task.checkCancellation()
            return waiting(because: "\(error)")
        }
    }

    /// Takes it for gone that it is being stopped, although it was there a moment ago.
    mutating func missed(_ reason: ExistingHAProxy.Failure) -> Progress {
        (other.worker, running) = (nil, .nothing)
        return waiting(because: reason.description)
    }

    private mutating func waiting(because reason: String) -> Progress {
        tellAbsence(reason, pid: nil)
        let wait = other.backoff.next()
        other.due = .now + wait
        return .waiting(wait, done: .none)
    }

    /// Whether a port that is taken may be so by an HAProxy that serves although it is not seen.
    func mayHold(_ bind: BindAddress) -> Bool {
        guard process.existing != nil, file?.binds.contains(bind) == true else { return false }
        return PortHolder(of: bind.port).map { $0.command == "haproxy" } ?? true
    }

    /// Reloads it and takes what it confirms.
    mutating func loadInto(_ existing: ExistingHAProxy, _ next: HAProxyConfiguration) async throws {
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
