import FoundationEssentials

/// A folder of one test, which goes with the value.
package final class ScratchFolder: Sendable {
    /// Its path, short enough for unix sockets below it.
    package let path: String

    /// Makes an empty folder, where TMPDIR says.
    package init() throws {
        let parent = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        path = "\(parent)/sk-\(UUID().uuidString.prefix(13).lowercased())"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
