import Shared

// An HAProxy that somebody else runs.

extension ProxyDriver {
    /// Looks whether it is there and still the same; returns whether that changed.
    mutating func lookAtExisting() async -> Bool {
        guard process.existing != nil else { return false }
        switch await process.sight() {
        case .silent: return false
        case .nobody:
            guard let gone = sight else { return false }
            (sight, running) = (nil, .nothing)
            tellAbsence("it ended", pid: gone.pid)
            return true
        case .worker(let worker):
            guard worker != sight else { return false }
            await meet(worker)
            return true
        }
    }

    /// Takes a worker for the one that serves: it was started or reloaded by somebody else.
    private mutating func meet(_ worker: HAProxyWorker) async {
        let isKnown = sight != nil
        sight = worker
        (running, isDynamic, takesCookies) = (.unknown(.unknownState), true, true)
        if file == nil { readFile() }
        await learn()
        if isAbsenceTold {
            logger.info("an HAProxy serves", ["pid": worker.pid])
        } else {
            logger.info(
                isKnown ? "somebody else reloaded or restarted HAProxy" : "took over the running HAProxy",
                ["pid": worker.pid])
        }
        isAbsenceTold = false
    }

    /// Has an HAProxy that does not run our file load it; where there is none, the file waits for its start.
    mutating func enlist(_ next: HAProxyConfiguration, _ existing: ExistingHAProxy) async throws -> Progress {
        if file != next {
            try await process.prepare(next)
            file = next
        }
        if let enlistment, enlistment > .now {
            return .waiting(ContinuousClock.now.duration(to: enlistment), done: .none)
        }
        do {
            try await loadInto(existing, next)
            return .done(.reload(.unknownState))
        } catch {
            try Task.checkCancellation()
            tellAbsence("\(error)", pid: nil)
            let wait = enlistmentBackoff.next()
            enlistment = .now + wait
            return .waiting(wait, done: .none)
        }
    }

    /// Whether a port that is taken may be so by an HAProxy that serves although it is not seen.
    func mayHold(_ bind: BindAddress) -> Bool {
        guard process.existing != nil, file?.binds.contains(bind) == true else { return false }
        return PortHolder(of: bind.port).map { $0.command == "haproxy" } ?? true
    }

    /// Reloads it and takes what it confirms.
    mutating func loadInto(_ existing: ExistingHAProxy, _ next: HAProxyConfiguration) async throws {
        let worker = try await process.reload(existing, with: next)
        if isAbsenceTold { logger.info("an HAProxy serves", ["pid": worker.pid]) }
        (isAbsenceTold, enlistment) = (false, nil)
        enlistmentBackoff.reset()
        take(worker, of: next)
    }

    private mutating func tellAbsence(_ reason: String, pid: Int32?) {
        guard !isAbsenceTold else { return }
        isAbsenceTold = true
        logger.warning(
            "no HAProxy serves; its file is ready for whoever starts it",
            ["file": filePath, "pid": pid, "error": reason])
    }
}

/// Rings when an HAProxy that somebody else runs is no longer the one that was there.
struct ExistingWatch: Sendable {
    /// How it is looked at.
    let process: HAProxyProcess
    /// Between two looks.
    var interval = Duration.milliseconds(250)

    /// Looks until the task is cancelled.
    func run(_ ring: @Sendable () -> Void) async throws {
        var last: HAProxyProcess.Sight?
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
