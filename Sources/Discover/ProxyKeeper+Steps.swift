import Shared

// What is done to bring HAProxy there.

extension ProxyKeeper {
    /// Brings HAProxy to what the registry says, as far as that is due.
    ///
    /// - Returns: when to look again although nothing changed; nil where all is as it should be.
    mutating func converge() async -> Duration? {
        await judgeHolds()
        if stretch.advance(at: .now) {
            settings.host.checkFloor = stretch.floor
            journal.stretched(to: stretch.floor)
            due = .now
        }
        if quarantine.wake(at: .now) { due = .now }
        if let due, due <= .now {
            let pause = await advance()
            self.due = pause.map { .now + $0 }
        }
        await tellHealth()
        let drains = await driver.finishDrains()
        if let copyDue, copyDue <= .now { beginCopy() }
        let waits = [due, copyDue, holds.due, stretch.due, quarantine.due, healthDue].map { due in
            due.map { max(ContinuousClock.now.duration(to: $0), .zero) }
        }
        return (waits + [drains]).compactMap(\.self).min()
    }

    /// Keeps the copy for the next start, and stops HAProxy within the grace period.
    mutating func stop(grace: Duration) async {
        if copyDue != nil { await finishCopy() }
        await driver.stop(grace: grace)
    }

    /// Has `/healthz` answer whether HAProxy runs what it should.
    private mutating func tellHealth() async {
        let (now, worker) = (ContinuousClock.now, driver.current?.worker)
        guard isServing, let message = health.message(for: worker, at: now) else { return }
        health.noteTold(await driver.process.runtime.tellHealth(message), to: worker, at: now)
    }

    private var healthDue: ContinuousClock.Instant? { isServing ? health.due(at: .now) : nil }

    /// One try; returns when the next is due.
    private mutating func advance() async -> Duration? {
        let begin = ContinuousClock.now
        let isSettled = await settleAdditions()
        guard let (next, plan, isWaiting) = await desired() else { return nil }
        let pause = isWaiting || !isSettled ? timing.portInterval : nil
        let wasServing = isServing
        // A file of an earlier run, which stands in until the registry is known, has what was added then.
        let hasAdditions = plan != nil || driver.file == nil
        do {
            let progress = try await driver.advance(to: next, or: bare)
            let took = begin.duration(to: .now)
            if case .waiting(let wait, let done) = progress {
                health.waits(at: .now)
                journal.changed(done, driver.current, revision: nil, took: took)
                return pause.map { min($0, wait) } ?? wait
            }
            applied = registry
            if hasAdditions { additions.noteLoaded() }
            health.reached()
            behindSince = nil
            history.note(progress.update)
            journal.applied()
            journal.changed(
                progress.update, driver.current, revision: registry?.revision, took: took, oldWorkers: driver.oldWorkers
            )
        } catch {
            guard !Task.isCancelled else { return nil }
            if error is HAProxyProgram.Refusal, let plan, await examine(plan) { return .zero }
            if let failure = error as? HAProxyProcess.Failure, hasAdditions,
                additions.takeBack(because: failure.description, isRunning: wasServing)
            {
                return .zero
            }
            history.note(error)
            journal.refused(error)
            health.failed()
            let wait = backoff.next()
            return pause.map { min($0, wait) } ?? wait
        }
        guard keep(next) else { return backoff.next() }
        backoff.reset()
        accepted = next
        let saved = copy.saved
        if copyOfNow?.isAsOld(as: saved) == false { copyDue = copyDue ?? .now + max(timing.copyInterval, copy.pause) }
        // What is held is nowhere else.
        if holds.kept != saved?.holds ?? [] { await finishCopy() }
        // What is no longer wrong is told at the next turn.
        if let plan, quarantine.discharge(plan) { return .zero }
        return pause
    }

    /// Finds the services for whose sake HAProxy refuses a plan; returns whether there is something to do without them.
    private mutating func examine(_ plan: ProxyPlan) async -> Bool {
        let (driver, settings, accepted) = (driver, settings, accepted)
        var examination = ServiceExamination(plan) { trial in
            let configuration = HAProxyConfiguration(trial, settings)
            return try await driver.refusal(of: configuration).map { ServiceRefusal($0, of: configuration) }
        }
        guard let patients = try? await examination.patients(lastAccepted: { accepted?.section(of: $0) })
        else { return false }
        quarantine.admit(patients, at: .now)
        return true
    }

    /// Asks HAProxy of lost endpoints, where that is due.
    private mutating func judgeHolds() async {
        guard let due = holds.due, due <= .now else { return }
        let changes = holds.judge(await driver.verdicts(on: holds.services))
        journal.tell(changes)
        if !changes.isEmpty { self.due = .now }
    }

    /// Brings the file to what HAProxy runs; returns whether it is there.
    private mutating func keep(_ next: HAProxyConfiguration) -> Bool {
        do {
            try driver.keep(next)
            journal.wrote()
            return true
        } catch {
            journal.cannotWrite(error)
            return false
        }
    }

    /// What the copy for the next start should have; nil before anything was applied.
    private var copyOfNow: CatalogFile.Copy? {
        applied.map { CatalogFile.Copy(registry: $0, holds: holds.kept, checkFloor: stretch.floor) }
    }

    private mutating func beginCopy() {
        copyDue = nil
        if let next = copyOfNow, !copy.begin(next) { copyDue = .now + timing.copyInterval }
    }

    private mutating func finishCopy() async {
        copyDue = nil
        if let next = copyOfNow { await copy.finish(next) }
    }
}
