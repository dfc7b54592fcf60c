import Glibc

/// A thread of its own for a call that blocks: the threads that tasks run on are as many as cores, and must not wait.
enum BackgroundThread {
    /// What little work these threads do needs no more; only pages that are touched count as memory.
    private static let stackSize = 512 * 1024

    /// Runs `body` on a new thread; false if the system has none left.
    static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        defer { unsafe pthread_attr_destroy(&attributes) }
        unsafe pthread_attr_setstacksize(&attributes, stackSize)
        unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let work = unsafe Unmanaged.passRetained(Work(body: body))
        var thread = pthread_t()
        let entry: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { context in
            if let context = unsafe context {
                unsafe Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body()
            }
            return nil
        }
        let isStarted = unsafe pthread_create(&thread, &attributes, entry, work.toOpaque()) == 0
        if !isStarted { unsafe work.release() }
        return isStarted
    }

    /// Lets the thread it is called on sleep, whatever signals come meanwhile.
    static func sleep(for duration: Duration) {
        let end = ContinuousClock.now + duration
        while ContinuousClock.now < end {
            let (seconds, attoseconds) = (end - ContinuousClock.now).components
            var time = timespec(tv_sec: Int(max(seconds, 0)), tv_nsec: Int(max(attoseconds, 0) / 1_000_000_000))
            unsafe nanosleep(&time, nil)
        }
    }
}

/// There is no thread left for a call that blocks.
package struct NoThreadLeft: Error, Equatable, CustomStringConvertible {
    package var description: String { "the system has no thread left" }
}

/// Runs a call that blocks on a thread of its own and gives what it returns.
///
/// After `limit`, and when the caller is cancelled, nobody waits for it any longer; the thread ends with the call.
package func onOwnThread<Value: Sendable>(
    limit: Duration, _ work: @escaping @Sendable () -> Value
) async throws -> Value {
    let promise = Future<Value>()
    guard BackgroundThread.start({ promise.complete(work()) }) else { throw NoThreadLeft() }
    return try await withDeadline(limit) { try await promise.get() }
}

private final class Work: Sendable {
    let body: @Sendable () -> Void

    init(body: @escaping @Sendable () -> Void) {
        self.body = body
    }
}
