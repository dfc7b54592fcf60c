import Synchronization

/// The lines that a program or a logger has written, in order.
package final class CapturedLines: Sendable {
    private let lines = Mutex<[String]>([])

    /// Captures nothing yet.
    package init() {}

    /// Takes a line.
    @Sendable package func add(_ line: String) { lines.withLock { $0.append(line) } }

    /// All of them.
    package var all: [String] { lines.withLock { $0 } }

    /// Whether one of them has all of `parts` in it.
    package func contain(_ parts: String...) -> Bool {
        all.contains { line in parts.allSatisfy { line.contains($0) } }
    }

    /// How many of them have `part` in them.
    package func count(of part: String) -> Int { all.count { $0.contains(part) } }
}
