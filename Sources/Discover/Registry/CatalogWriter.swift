import Shared
import Synchronization

/// Keeps the copy of the catalogue on disk, beside the loop: with many keys that takes long.
final class CatalogWriter: Sendable {
    private struct State {
        var saved: CatalogFile.Copy?
        /// How long the last one took.
        var took: Duration = .zero
        var task: Task<Void, Never>?
        var isBehind = false
    }

    private let file: CatalogFile
    private let logger: Logger
    private let state = Mutex(State())

    /// Makes one that has written nothing.
    init(_ file: CatalogFile, logger: Logger) {
        self.file = file
        self.logger = logger
    }

    /// The copy that is on the disk; nil where none is, as far as is known.
    var saved: CatalogFile.Copy? { state.withLock { $0.saved } }

    /// How long to wait between two copies, so that they take a twentieth of a processor's time at most.
    var pause: Duration { state.withLock { $0.took } * 20 }

    /// Reads the copy of an earlier run; one that cannot be used is told and left aside.
    func load() {
        do {
            let copy = try file.load()
            state.withLock { $0.saved = copy }
        } catch {
            logger.warning("ignoring the last known catalogue", ["error": "\(error)"])
        }
    }

    /// Begins to write a copy.
    ///
    /// - Returns: false where an earlier one is still being written: then nothing is begun.
    func begin(_ copy: CatalogFile.Copy) -> Bool {
        state.withLock { state in
            guard state.task == nil else { return false }
            state.task = Task.detached {
                self.write(copy)
                // After many changes, and not while the loop waits.
                Heap.trim()
            }
            return true
        }
    }

    /// Writes a copy, after the one that is being written, and waits for its end.
    func finish(_ copy: CatalogFile.Copy) async {
        while let task = state.withLock({ $0.task }) { await task.value }
        write(copy)
    }

    private func write(_ copy: CatalogFile.Copy) {
        let begin = ContinuousClock.now
        var failure: (any Error)?
        if copy != saved {
            do { try file.save(copy) } catch { failure = error }
        }
        let wasBehind = state.withLock { state in
            defer { state.isBehind = failure != nil }
            if failure == nil { state.saved = copy }
            (state.took, state.task) = (begin.duration(to: .now), nil)
            return state.isBehind
        }
        if let failure, !wasBehind {
            logger.warning("cannot keep the catalogue for the next start", ["error": "\(failure)"])
        }
    }
}
