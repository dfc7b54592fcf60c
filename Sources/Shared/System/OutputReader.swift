import FoundationEssentials
import Glibc
import Synchronization

/// Reads what a program writes, from its pipe to one call a line; it owns the pipe's reading end.
///
/// Everything happens on one thread: lines come in order, and a slow listener only slows the program down. It is not a
/// DispatchSource: where a pipe's last writer goes, libdispatch's event loop may touch what the source's cancellation
/// has freed (`_dispatch_event_loop_drain` crashed in one of three runs of the tests with a dozen programs).
final class OutputReader: Sendable {
    /// What was asked for besides reading.
    private struct Drain {
        let stop: Bool
        let done: @Sendable () -> Void
    }

    private static let chunk = 16_384
    /// More than a pipe ever holds (64 KiB): a grandchild that writes without end cannot keep a drain going.
    private static let roundsOfDrain = 16

    private let descriptor: Int32
    private let onLine: @Sendable (String) -> Void
    private let drain = Mutex<Drain?>(nil)
    /// One byte in it wakes the thread.
    private let bell: (waiting: Int32, ringing: Int32)?

    /// Takes over a descriptor that does not block.
    init(descriptor: Int32, onLine: @escaping @Sendable (String) -> Void) {
        self.descriptor = descriptor
        self.onLine = onLine
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else {
            bell = nil
            return
        }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        bell = (ends[0], ends[1])
    }

    deinit {
        close(descriptor)
        if let bell {
            close(bell.waiting)
            close(bell.ringing)
        }
    }

    /// Reads until the last process that holds the pipe has closed it, or until a drain stops it; nobody need keep this.
    ///
    /// - Returns: false where the system has no thread or descriptor left for it.
    func begin() -> Bool {
        guard let bell else { return false }
        return BackgroundThread.start { self.read(until: bell.waiting) }
    }

    /// Hands over what is in the pipe now, also an unfinished line, and then calls `done`.
    ///
    /// To be called once. With `stop` it reads nothing after that, although grandchildren may hold the pipe.
    func drain(stop: Bool, _ done: @escaping @Sendable () -> Void) {
        drain.withLock { $0 = Drain(stop: stop, done: done) }
        guard let bell else { return done() }
        var byte: UInt8 = 0
        _ = unsafe write(bell.ringing, &byte, 1)
    }

    private func read(until bell: Int32) {
        var lines = OutputLines()
        var isOpen = true
        var isDrained = false
        while isOpen || !isDrained {
            // A negative descriptor is left out.
            var awaited = [
                pollfd(fd: isOpen ? descriptor : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: isDrained ? -1 : bell, events: Int16(POLLIN), revents: 0),
            ]
            guard unsafe poll(&awaited, nfds_t(awaited.count), -1) > 0 else { continue }
            if awaited[0].revents != 0 { isOpen = take(&lines, rounds: 1) }
            if awaited[1].revents != 0, let drain = drain.withLock({ $0 }) {
                isDrained = true
                if isOpen { isOpen = take(&lines, rounds: Self.roundsOfDrain) && !drain.stop }
                if let line = lines.end() { onLine(line) }
                drain.done()
            }
        }
    }

    /// Takes what there is; false at the end, after the unfinished line.
    private func take(_ lines: inout OutputLines, rounds: Int) -> Bool {
        var buffer = [UInt8](repeating: 0, count: Self.chunk)
        for _ in 0..<rounds {
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                for line in lines.take(buffer[..<count]) { onLine(line) }
            } else if count < 0 && errno == EAGAIN {
                return true
            } else if count == 0 || errno != EINTR {
                if let line = lines.end() { onLine(line) }
                return false
            }
        }
        return true
    }
}

extension ProcessStatus {
    /// Hands over each line that the process prints from now on, where it prints into a pipe that nobody reads any more.
    ///
    /// A pipe whose reader has ended can be opened again by way of /proc. What was printed meanwhile is lost.
    ///
    /// - Returns: whether its output can be read.
    package func followOutput(onLine: @escaping @Sendable (String) -> Void) -> Bool {
        let path = "/proc/\(pid)/fd/\(STDOUT_FILENO)"
        let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path)
        guard target?.hasPrefix("pipe:") == true else { return false }
        let descriptor = unsafe open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        let reader = OutputReader(descriptor: descriptor, onLine: onLine)
        guard reader.begin() else { return false }
        reader.drain(stop: false) {}
        return true
    }
}

/// Makes lines of the bytes that a program writes, however they are cut into pieces.
struct OutputLines {
    /// The longest line, in bytes; what goes beyond it is dropped up to the next newline.
    static let longestLine = 8_192

    private var partial: [UInt8] = []
    private var hasPartial = false

    /// Takes the next bytes and gives the lines that they complete, without their newlines and with invalid UTF-8
    /// repaired.
    mutating func take(_ bytes: ArraySlice<UInt8>) -> [String] {
        var lines: [String] = []
        var rest = bytes
        while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
            append(rest[..<newline])
            lines.append(close())
            rest = rest[(newline + 1)...]
        }
        if !rest.isEmpty { append(rest) }
        return lines
    }

    /// The line that has begun and not ended, if any: call it when nothing more comes.
    mutating func end() -> String? {
        hasPartial ? close() : nil
    }

    private mutating func append(_ bytes: ArraySlice<UInt8>) {
        hasPartial = true
        partial += bytes.prefix(Self.longestLine - partial.count)
    }

    private mutating func close() -> String {
        defer {
            partial.removeAll(keepingCapacity: false)
            hasPartial = false
        }
        return String(decoding: partial, as: UTF8.self)
    }
}
