import Glibc
import Synchronization

/// Standard error, where log lines and usage mistakes go.
///
/// A program must not stand still because nobody reads its log: a line that finds no room within a tenth of a second
/// is dropped, and while the reader is stuck each further line is only tried.
package enum StandardError {
    /// What a pipe takes at once when it is writable at all (PIPE_BUF): such a write neither blocks nor mixes lines.
    private static let atOnce = 4_096
    private static let patience: Int32 = 100
    private static let isStuck = Mutex(false)

    /// Puts `/dev/null` in the place of standard streams that are closed.
    ///
    /// Otherwise the next socket that is opened would get their number, and the log's lines.
    package static func keepPlaces() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
            // It gets the lowest number that is free.
            _ = unsafe open("/dev/null", O_RDWR)
        }
    }

    /// Whether a person looks at it.
    package static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Whether journald reads it: `JOURNAL_STREAM` is then this stream's device and inode.
    ///
    /// Programs inherit the variable from a desktop or a service that systemd started, whatever their stream is.
    package static func isJournal(_ environment: [String: String], descriptor: Int32 = STDERR_FILENO) -> Bool {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return false }
        return environment["JOURNAL_STREAM"] == "\(status.st_dev):\(status.st_ino)"
    }

    /// Whether Docker runs this program, and so gives every line of the log its time.
    package static var isInDocker: Bool { unsafe access("/.dockerenv", F_OK) == 0 }

    /// Writes a line and its newline, in one `write` unless it is longer than 4 KiB.
    package static func write(_ line: String) {
        write(line, to: STDERR_FILENO)
    }

    /// Writes a line to a descriptor; gives it up if that is closed, broken, or full for too long.
    static func write(_ line: String, to descriptor: Int32) {
        let bytes = Array((line + "\n").utf8)
        isStuck.withLock { isStuck in
            var rest = bytes[...]
            while !rest.isEmpty {
                guard hasRoom(descriptor, milliseconds: isStuck ? 0 : patience) else {
                    isStuck = true
                    return
                }
                isStuck = false
                let written = unsafe rest.prefix(atOnce).withUnsafeBytes { chunk in
                    unsafe Glibc.write(descriptor, chunk.baseAddress, chunk.count)
                }
                if written < 0, errno != EINTR { return }
                rest = rest.dropFirst(max(written, 0))
            }
        }
    }

    /// True also for a descriptor that is broken: the write then says so.
    private static func hasRoom(_ descriptor: Int32, milliseconds: Int32) -> Bool {
        var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        var ready = unsafe poll(&wanted, 1, milliseconds)
        while ready < 0, errno == EINTR { ready = unsafe poll(&wanted, 1, milliseconds) }
        return ready != 0
    }
}
