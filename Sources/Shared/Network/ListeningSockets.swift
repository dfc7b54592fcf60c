import FoundationEssentials
import Glibc

/// Where a program of this host accepts TCP connections.
package struct ListeningSocket: Hashable, Sendable {
    /// The address; nil for all of them.
    package var address: IPAddress?
    /// The port.
    package var port: Port

    /// Puts both together.
    package init(address: IPAddress?, port: Port) {
        self.address = address
        self.port = port
    }
}

/// The kernel's table of TCP sockets, of which those that listen come first.
package enum ListeningSockets {
    /// All TCP listeners of the network that this process is in.
    package static func read() throws(SystemError) -> [ListeningSocket] {
        try listeners(in: "/proc/self/net/tcp") + listeners(in: "/proc/self/net/tcp6")
    }

    private static func listeners(in path: String) throws(SystemError) -> [ListeningSocket] {
        try lines(in: path).compactMap(socket)
    }

    /// The lines of those that listen, which come first: there may be tens of thousands of others.
    fileprivate static func lines(in path: String) throws(SystemError) -> [String] {
        // Without IPv6 there is no table of it.
        guard var lines = try FileLines(path) else { return [] }
        var listening: [String] = []
        _ = try lines.next()
        while let line = try lines.next(), isListener(line) { listening.append(line) }
        return listening
    }

    /// Whether a line is that of a socket that listens: its fourth field, the state, is 0A.
    package static func isListener(_ line: String) -> Bool {
        let fields = line.split(separator: " ", maxSplits: 4)
        return fields.count > 3 && fields[3] == "0A"
    }

    /// The local address in a line; nil where it makes no sense.
    ///
    /// It is written as 32-bit numbers of the machine's byte order: `0100007F:1F90` is 127.0.0.1:8080. What listens on
    /// `::` is reached over IPv4 too, as good as always.
    package static func socket(in line: String) -> ListeningSocket? {
        let fields = line.split(separator: " ", maxSplits: 2)
        guard fields.count > 1 else { return nil }
        let parts = fields[1].split(separator: ":")
        guard parts.count == 2, let port = UInt16(parts[1], radix: 16).flatMap({ Port($0) }) else { return nil }
        let digits = Array(parts[0])
        guard digits.count.isMultiple(of: 8) else { return nil }
        let words = stride(from: 0, to: digits.count, by: 8).compactMap { start in
            UInt32(String(digits[start..<min(start + 8, digits.count)]), radix: 16)
        }
        let bytes = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word.littleEndian >> (8 * $0)) } }
        guard let address = IPAddress(bytes: bytes)?.unmapped else { return nil }
        let isEverywhere = address.family == .v6 && address.isUnspecified
        return ListeningSocket(address: isEverywhere ? nil : address, port: port)
    }
}

/// The process that listens on a port, as far as /proc tells: only root sees the processes of others.
package struct PortOwner: Equatable, Sendable, CustomStringConvertible {
    /// Its process id.
    package let pid: Int32
    /// Its command's name.
    package let command: String

    /// Name and number, for messages.
    package var description: String { "process \(pid) (\(command))" }

    /// Looks for it; nil where nobody listens, or only another user's process, or one of another container.
    package init?(of port: Port) {
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
    package static func name(of port: Port) -> String {
        PortOwner(of: port)?.description ?? "another process"
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
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map { (try? ListeningSockets.lines(in: $0)) ?? [] }
        return Set(
            tables.joined().compactMap { line in
                // Slot, local address:port in hexadecimal, remote, state, ...; the tenth is the inode.
                let words = line.split(separator: " ")
                guard words.count > 9, let local = words[1].split(separator: ":").last,
                    UInt16(local, radix: 16) == port.number
                else { return nil }
                return "socket:[\(words[9])]"
            })
    }
}
