import Dispatch
import Glibc
import Synchronization

/// Reads what a program writes, from its pipe to one call a line; it owns the pipe's reading end.
///
/// Everything happens on a serial queue: lines come in order, and a slow listener only slows the program down.
final class OutputReader: Sendable {
    private struct State {
        var lines = OutputLines()
        var isOver = false
    }

    private static let chunk = 16_384
    /// More than a pipe ever holds (64 KiB): a grandchild that writes without end cannot keep a drain going.
    private static let roundsOfDrain = 16

    private let descriptor: Int32
    private let queue = DispatchQueue(label: "output of a program")
    /// Unmarked in Dispatch, though its calls are safe on any thread.
    nonisolated(unsafe) private let source: any DispatchSourceRead
    private let state = Mutex(State())
    private let onLine: @Sendable (String) -> Void

    /// Takes over a descriptor that does not block.
    init(descriptor: Int32, onLine: @escaping @Sendable (String) -> Void) {
        self.descriptor = descriptor
        self.onLine = onLine
        unsafe source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
    }

    /// Reads until the last process that holds the pipe has closed it, or until ``stop``; nobody need keep this.
    func begin() {
        unsafe source.setEventHandler { self.read(rounds: 1) }
        unsafe source.setCancelHandler { [descriptor] in close(descriptor) }
        unsafe source.activate()
    }

    /// Hands over what is in the pipe now, also an unfinished line, and then calls `done`.
    ///
    /// With `stop` it reads nothing after that, although grandchildren may hold the pipe.
    func drain(stop: Bool, _ done: @escaping @Sendable () -> Void) {
        queue.async {
            self.read(rounds: Self.roundsOfDrain)
            if stop { self.end() } else { self.handOverUnfinishedLine() }
            done()
        }
    }

    private func read(rounds: Int) {
        var buffer = [UInt8](repeating: 0, count: Self.chunk)
        for _ in 0..<rounds where !state.withLock({ $0.isOver }) {
            let count = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe Glibc.read(descriptor, bytes.baseAddress, bytes.count)
            }
            if count > 0 {
                for line in state.withLock({ $0.lines.take(buffer[..<count]) }) { onLine(line) }
            } else if count == 0 || errno != EINTR && errno != EAGAIN {
                end()
            } else if errno == EAGAIN {
                return
            }
        }
    }

    private func end() {
        handOverUnfinishedLine()
        state.withLock { $0.isOver = true }
        unsafe source.cancel()
    }

    private func handOverUnfinishedLine() {
        if let line = state.withLock({ $0.lines.end() }) { onLine(line) }
    }
}
