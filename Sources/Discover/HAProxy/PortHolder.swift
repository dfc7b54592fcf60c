import FoundationEssentials
import Shared

/// The process that listens on a port, as far as /proc tells: only root sees the processes of others.
struct PortHolder: Equatable, Sendable, CustomStringConvertible {
    /// Its process id.
    let pid: Int32
    /// Its command's name.
    let command: String

    /// Name and number, for messages.
    var description: String { "process \(pid) (\(command))" }

    /// Looks for it; nil where nobody listens, or only another user's process, or one of another container.
    init?(of port: Port) {
        let sockets = Self.listeners(on: port)
        guard !sockets.isEmpty else { return nil }
        let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        for pid in processes.compactMap({ Int32($0) }).sorted() where Self.holds(pid, sockets) {
            self.pid = pid
            command = ProcessStatus(pid)?.command ?? "?"
            return
        }
        return nil
    }

    /// What to call the holder of a port.
    static func name(of port: Port) -> String {
        PortHolder(of: port)?.description ?? "another process"
    }

    private static func holds(_ pid: Int32, _ sockets: Set<String>) -> Bool {
        let folder = "/proc/\(pid)/fd"
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return files.contains { file in
            guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(file)")
            else { return false }
            return sockets.contains(target)
        }
    }

    /// The sockets that listen on the port, as /proc/<pid>/fd names them.
    private static func listeners(on port: Port) -> Set<String> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].compactMap { try? WholeFile($0).text }
        let lines = tables.flatMap { $0.split(separator: "\n") }
        return Set(
            lines.compactMap { line in
                // Slot, local address:port in hexadecimal, remote, state (0A: listening), ...; the tenth is the inode.
                let words = line.split(separator: " ")
                guard words.count > 9, words[3] == "0A", let local = words[1].split(separator: ":").last,
                    UInt16(local, radix: 16) == port.number
                else { return nil }
                return "socket:[\(words[9])]"
            })
    }
}
