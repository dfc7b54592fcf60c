import Glibc
package import Shared

/// For values that end a program when they go, and then the folder that it writes in.
extension RunningProgram {
    /// Kills it and what it has started, and waits until it is gone.
    package func endAtOnce() {
        signalGroup(SIGKILL)
        awaitEnd()
    }

    /// Waits a moment for the end of a program that was killed.
    package func awaitEnd() {
        for _ in 0..<5_000 where ending == nil { usleep(1_000) }
    }
}
