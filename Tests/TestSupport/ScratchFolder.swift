import FoundationEssentials
import Glibc
import Synchronization

/// A folder of one test, which goes with the value.
///
/// What is left of it at the end of the process goes then, with the programs that still use it: a test that fails may
/// leave tasks which hold both, and a program that is about to end may still write.
package final class ScratchFolder: Sendable {
    /// Its path, short enough for unix sockets below it.
    package let path: String

    private static let parent = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
    /// What the names of this process's folders begin with.
    private static let prefix = "sk-\(UUID().uuidString.prefix(8).lowercased())-"
    private static let count = Atomic(0)
    private static let isTidy = atexit { ScratchFolder.tidyUp() } == 0

    /// Makes an empty folder, where TMPDIR says.
    package init() throws {
        precondition(Self.isTidy)
        let number = String(Self.count.add(1, ordering: .relaxed).oldValue)
        path = "\(Self.parent)/\(Self.prefix)" + String(repeating: "0", count: max(4 - number.count, 0)) + number
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    private static func tidyUp() {
        for _ in 0..<500 {
            let users = usingPrograms()
            if users.isEmpty { break }
            for user in users { kill(user, SIGKILL) }
            usleep(10_000)
        }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
        for name in names where name.hasPrefix(prefix) {
            try? FileManager.default.removeItem(atPath: "\(parent)/\(name)")
        }
    }

    /// The processes whose command lines or variables name one of the folders.
    private static func usingPrograms() -> [Int32] {
        let place = "/\(prefix)"
        let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return processes.compactMap { Int32($0) }.filter { pid in
            ["cmdline", "environ"].contains { file in
                let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/\(file)") ?? Data()
                return String(decoding: bytes, as: UTF8.self).contains(place)
            }
        }
    }
}
