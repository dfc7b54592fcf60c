import Glibc
import Synchronization

/// Takes the exit statuses of processes that were left to this one, which the kernel does with orphans where it is
/// process 1, as in a container; nobody else would, and each stayed as a zombie.
///
/// Statuses of the programs that this process started are left to those who wait for them (``RunningProgram``).
package enum OrphanReaper {
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
