import Glibc
import Synchronization

/// A signal that is sent to another process.
package enum Signal: Sendable {
    /// SIGTERM.
    case terminate
    /// SIGKILL.
    case kill
    /// SIGUSR1.
    case user1
    /// SIGUSR2.
    case user2

    /// Its number on this system.
    package var number: Int32 {
        switch self {
        case .terminate: SIGTERM
        case .kill: SIGKILL
        case .user1: SIGUSR1
        case .user2: SIGUSR2
        }
    }
}

/// The signals that this process gets, handed over one after another on a thread of their own.
///
/// A handler writes the signal's number into a pipe, and the thread reads it there. No signal is blocked, so threads
/// and programs that are started need no care, and a program whose tasks all hang still hears them.
enum Signals {
    private typealias Listener = @Sendable (Int32) -> Void

    private static let listener = Mutex<Listener?>(nil)
    /// Made once and kept: a handler may run at any time.
    private static let pipeIsReady = makePipe()

    /// Has `listener` called for each signal of `numbers` from now on, in place of what they did before.
    ///
    /// SIGPIPE is ignored from then on, since a connection or a log that closes is an error of a write and no reason
    /// to die, and SIGCHLD is not, since otherwise no ending of a program could be told.
    static func listen(to numbers: [Int32], _ listener: @escaping @Sendable (Int32) -> Void) {
        self.listener.withLock { $0 = listener }
        signal(SIGPIPE, SIG_IGN)
        signal(SIGCHLD, SIG_DFL)
        guard pipeIsReady else { return }
        for number in numbers {
            signal(number) { number in
                let before = errno
                var byte = UInt8(truncatingIfNeeded: number)
                _ = unsafe write(writingEnd.load(ordering: .relaxed), &byte, 1)
                errno = before
            }
        }
    }

    /// Gives signals back what the system does on them.
    static func stopListening(to numbers: [Int32]) {
        for number in numbers { signal(number, SIG_DFL) }
        listener.withLock { $0 = nil }
    }

    /// The usual name of a signal that stops programs.
    static func name(_ number: Int32) -> String {
        switch number {
        case SIGHUP: "SIGHUP"
        case SIGINT: "SIGINT"
        case SIGTERM: "SIGTERM"
        default: "signal \(number)"
        }
    }

    private static func makePipe() -> Bool {
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { return false }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        // A handler must not wait; a pipe that is full holds signals enough.
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        writingEnd.store(ends[1], ordering: .relaxed)
        let readingEnd = ends[0]
        return BackgroundThread.start { handOver(from: readingEnd) }
    }

    private static func handOver(from descriptor: Int32) {
        while true {
            var byte: UInt8 = 0
            guard unsafe read(descriptor, &byte, 1) == 1 else {
                if errno == EINTR { continue }
                return
            }
            listener.withLock { $0 }?(Int32(byte))
        }
    }
}

/// Where the handler writes: of all state, an atomic is what it may touch.
private let writingEnd = Atomic<Int32>(-1)
