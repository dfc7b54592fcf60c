import Glibc
import Synchronization

/// The life of a program between its start and its exit status.
package enum Lifecycle {
    /// Runs `body` until it returns, throws, or the process is asked to stop, and gives the exit status.
    ///
    /// - The first SIGTERM or SIGINT cancels `body` and gives it `grace` to return: status 0, also if it returns with
    ///   an error, which is logged. A grace period that runs out is logged, and the status is 1, at the latest
    ///   a second later and even if blocked threads keep every task from running.
    /// - A second one ends the process at once with 128 and the signal's number.
    /// - A `body` that returns by itself gives 0; one that throws by itself is logged and gives 1.
    /// - As process 1, as in a container, it takes the exit statuses of orphans (``OrphanReaper``).
    /// - SIGHUP calls `onHangup`, which must only ring or set something, or is ignored. SIGPIPE is ignored.
    ///
    /// Call it once, before anything that takes long.
    package static func run(
        logger: Logger,
        grace: Duration,
        onHangup: (@Sendable () -> Void)? = nil,
        _ body: @escaping @Sendable () async throws -> Void
    ) async -> Int32 {
        ZombieReaper.beginIfFirst()
        let life = Life(logger: logger, grace: grace, onHangup: onHangup)
        let signals = [SIGTERM, SIGINT, SIGHUP]
        Signals.listen(to: signals) { life.handle(.signal($0)) }
        defer { Signals.stopListening(to: signals) }
        life.begin(body)
        return await life.end()
    }
}

/// The effects that ``StopSequence`` asks for; called by the body's task, the grace period's and the signals' thread.
private final class Life: Sendable {
    private struct Work {
        var task: Task<Void, Never>?
        /// A signal may come before there is anything to cancel.
        var isCancelled = false
    }

    private let logger: Logger
    private let grace: Duration
    private let onHangup: (@Sendable () -> Void)?
    private let sequence = Mutex(ShutdownStateMachine())
    private let work = Mutex(Work())
    private let isOver = Atomic(false)
    private let verdict = Future<ShutdownStateMachine.Verdict>()

    init(logger: Logger, grace: Duration, onHangup: (@Sendable () -> Void)?) {
        self.logger = logger
        self.grace = grace
        self.onHangup = onHangup
    }

    /// Starts the work as a task of its own: a work that does not end must not keep the program from ending.
    func begin(_ body: @escaping @Sendable () async throws -> Void) {
        let task = Task { self.handle(.bodyEnded(await result(of: body))) }
        let isCancelled = work.withLock { work in
            work.task = task
            return work.isCancelled
        }
        if isCancelled { task.cancel() }
    }

    func end() async -> Int32 {
        // Nobody cancels the main task; if somebody does, that is no reason to leave.
        guard let verdict = try? await verdict.get() else { return ExitStatus.failure }
        isOver.store(true, ordering: .relaxed)
        switch verdict {
        case .done: break
        case .stopped: logger.info("stopped")
        case .stoppedWithError(let error): logger.warning("stopped with errors", ["error": error])
        case .failed(let error): logger.error("exiting", ["error": error])
        case .graceRanOut: logger.error("shutdown timed out", ["grace": DurationText.text(grace)])
        }
        return verdict.status
    }

    func handle(_ input: ShutdownStateMachine.Input) {
        switch sequence.withLock({ $0.handle(input) }) {
        case .nothing: break
        case .hangup: onHangup?()
        case .stop(let signal): stop(signal)
        case .exitNow(let status): _exit(status)
        case .finish(let verdict): self.verdict.complete(verdict)
        }
    }

    private func stop(_ signal: Int32) {
        logger.info("stopping", ["signal": Signals.name(signal), "grace": DurationText.text(grace)])
        let task = work.withLock { work in
            work.isCancelled = true
            return work.task
        }
        task?.cancel()
        _ = BackgroundThread.start { self.watchGrace() }
    }

    /// A thread of its own, which counts also where tasks that block have all the others.
    private func watchGrace() {
        BackgroundThread.sleep(for: grace)
        handle(.graceOver)
        BackgroundThread.sleep(for: .seconds(1))
        guard !isOver.load(ordering: .relaxed) else { return }
        logger.error("shutdown timed out", ["grace": DurationText.text(grace), "reason": "blocked"])
        _exit(ExitStatus.failure)
    }

    private func result(of body: @Sendable () async throws -> Void) async -> ShutdownStateMachine.BodyResult {
        do {
            try await body()
            return .returned
        } catch is CancellationError {
            return .cancelled
        } catch {
            return .failed("\(error)")
        }
    }
}
