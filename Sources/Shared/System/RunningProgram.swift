import Glibc
import Synchronization

/// A program that was started, until and beyond its end; it goes on also when this process ends.
package final class RunningProgram: Sendable {
    /// The process; also the number of its group and session.
    package let pid: Int32

    private let ended = Future<Program.Ending>()
    /// Held to reap and to signal: as long as the process is not reaped, its number cannot become another's.
    private let isReaped = Mutex(false)

    /// Starts a program; with `stopsReading` its output is read no longer than it lives itself.
    init(_ program: Program, stopsReading: Bool, onLine: @escaping @Sendable (String) -> Void) throws(ProgramError) {
        let child = try ZombieReaper.starting { () throws(ProgramError) in try Spawn.start(program) }
        pid = child.pid
        let output = OutputReader(descriptor: child.output, onLine: onLine)
        guard output.begin(), BackgroundThread.start({ self.watch(output, stopsReading: stopsReading) }) else {
            signalGroup(SIGKILL)
            output.drain(stop: true) {}
            _ = reap()
            throw .cannotStart(program.executable, reason: "no thread left to watch it")
        }
    }

    /// How it ended; nil while it runs.
    package var ending: Program.Ending? { ended.value }

    /// Waits for the end; throws `CancellationError` when the waiting task is cancelled first.
    ///
    /// Many may wait. By then ``Program/start(onLine:)``'s listener has had all lines that the program itself wrote.
    /// Processes that it left behind are not waited for, even if they hold its output.
    package func wait() async throws -> Program.Ending {
        try await ended.get()
    }

    /// Sends it a signal; nothing once it has ended.
    package func signal(_ number: Int32) {
        send(number, to: pid)
    }

    /// Sends it a signal; nothing once it has ended.
    package func send(_ signal: Signal) {
        send(signal.number, to: pid)
    }

    /// Sends a signal to it and to the processes that it started; nothing once it itself has ended.
    package func sendToGroup(_ signal: Signal) {
        send(signal.number, to: -pid)
    }

    /// Sends a signal to it and to the processes that it started; nothing once it itself has ended.
    package func signalGroup(_ number: Int32) {
        send(number, to: -pid)
    }

    private func send(_ number: Int32, to target: pid_t) {
        isReaped.withLock { isReaped in
            if !isReaped { _ = kill(target, number) }
        }
    }

    private func watch(_ output: OutputReader, stopsReading: Bool) {
        // The end is noticed here and reaped under the lock.
        while waitid(P_PID, id_t(pid), nil, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        let ending = reap()
        output.drain(stop: stopsReading) { self.ended.complete(ending) }
    }

    private func reap() -> Program.Ending {
        isReaped.withLock { isReaped in
            isReaped = true
            // Afterwards the number may be an orphan's.
            defer { ZombieReaper.forget(pid) }
            var status: Int32 = 0
            while unsafe waitpid(pid, &status, 0) < 0 {
                // Only where somebody else took the status away, as the system does if SIGCHLD is ignored.
                if errno != EINTR { return .exited(ExitStatus.failure) }
            }
            let signal = status & 0x7f
            return signal == 0 ? .exited(status >> 8 & 0xff) : .signalled(signal)
        }
    }
}

/// Takes the exit statuses of processes that were left to this one, which the kernel does with orphans where it is
/// process 1, as in a container; nobody else would, and each stayed as a zombie.
///
/// Statuses of the programs that this process started are left to those who wait for them (``RunningProgram``).
package enum ZombieReaper {
    /// The programs of ours that were not reaped yet.
    ///
    /// Held from before a program is started until it is known, so that
    /// one that ends at once is not taken for an orphan.
    private static let own = Mutex<Set<pid_t>>([])
    private static let isRunning = Atomic(false)
    /// Between two looks where there is nothing to wait for, or somebody else is about to take a status.
    private static let pause = Duration.milliseconds(5)
    private static let idle = Duration.seconds(1)

    /// Begins, if this is process 1.
    package static func beginIfFirst() {
        guard getpid() == 1 else { return }
        begin()
    }

    /// Begins, once, on a thread of its own that lives as long as the process.
    static func begin() {
        guard !isRunning.exchange(true, ordering: .relaxed) else { return }
        _ = BackgroundThread.start {
            while true { BackgroundThread.sleep(for: reapNext()) }
        }
    }

    /// Starts a program of ours.
    static func starting<Failure: Error>(_ start: () throws(Failure) -> Spawn.Child) throws(Failure) -> Spawn.Child {
        let result: Result<Spawn.Child, Failure> = own.withLock { own in
            do throws(Failure) {
                let child = try start()
                own.insert(child.pid)
                return .success(child)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// A program of ours is reaped.
    static func forget(_ pid: pid_t) {
        _ = own.withLock { $0.remove(pid) }
    }

    /// Waits for a child that has ended, and reaps it if it is none of ours; returns how long to rest.
    private static func reapNext() -> Duration {
        var ended = unsafe siginfo_t()
        guard unsafe waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT) == 0 else { return errno == EINTR ? .zero : idle }
        let pid = unsafe ended._sifields._sigchld.si_pid
        return own.withLock { own in
            if own.contains(pid) { return pause }
            waitpid(pid, nil, WNOHANG)
            return .zero
        }
    }
}
