import FoundationEssentials
import Glibc
import Shared

/// Where programs listen on this host, of the ports that were asked about.
struct Listeners: Equatable, Sendable {
    /// On which addresses something listens, by port.
    ///
    /// Of a port that is not there nothing is known; one with an empty set was looked at, and nobody listens.
    private(set) var known: [Port: Set<Docker.Binding>] = [:]
    /// Ports that nothing listened on at the last look, although something did before.
    private var fading: Set<Port> = []

    /// Knows nothing yet.
    init() {}

    /// Knows this.
    init(_ bindings: [Port: Set<Docker.Binding>]) { known = bindings }

    /// What is known after a look that asked about these ports and has found these bindings.
    ///
    /// A port on which something listened is given up at the second look that finds nothing: a program that opens its
    /// listener anew is not away.
    func after(asking ports: Set<Port>, found: some Sequence<Docker.Binding>) -> Listeners {
        let byPort = Dictionary(grouping: found, by: \.containerPort)
        var next = Listeners()
        for port in ports {
            let bindings = Set(byPort[port] ?? [])
            if bindings.isEmpty, let before = known[port], !before.isEmpty, !fading.contains(port) {
                next.known[port] = before
                next.fading.insert(port)
            } else {
                next.known[port] = bindings
            }
        }
        return next
    }
}

/// The kernel's table of TCP sockets, of which those that listen come first.
enum ListenerTable {
    /// All TCP listeners of the network that this process is in.
    static func read() throws(SystemError) -> [Docker.Binding] {
        try listeners(in: "/proc/self/net/tcp") + listeners(in: "/proc/self/net/tcp6")
    }

    private static func listeners(in path: String) throws(SystemError) -> [Docker.Binding] {
        // Without IPv6 there is no table of it.
        guard var lines = try FileLines(path) else { return [] }
        var bindings: [Docker.Binding] = []
        _ = try lines.next()
        while let line = try lines.next(), isListener(line) {
            if let binding = binding(in: line) { bindings.append(binding) }
        }
        return bindings
    }

    /// Whether a line is that of a socket that listens: its fourth field, the state, is 0A.
    static func isListener(_ line: String) -> Bool {
        let fields = line.split(separator: " ", maxSplits: 4)
        return fields.count > 3 && fields[3] == "0A"
    }

    /// The local address in a line; nil where it makes no sense.
    ///
    /// It is written as 32-bit numbers of the machine's byte order: `0100007F:1F90` is 127.0.0.1:8080. What listens on
    /// `::` is reached over IPv4 too, as good as always.
    static func binding(in line: String) -> Docker.Binding? {
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
        return Docker.Binding(containerPort: port, hostAddress: isEverywhere ? nil : address, hostPort: port)
    }
}

/// The lines of a file, read piece by piece, so that nobody pays for what comes after the last line of interest.

struct FileLines: ~Copyable {
    private let descriptor: Int32
    private var pending: [UInt8] = []
    private var isAtEnd = false

    /// Opens a file; nil where there is none.
    init?(_ path: String) throws(SystemError) {
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            guard errno == ENOENT else { throw SystemError(errno) }
            return nil
        }
    }

    deinit { close(descriptor) }

    /// The next line without its end; nil after the last one.
    mutating func next() throws(SystemError) -> String? {
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                defer { pending.removeFirst(end + 1) }
                return String(decoding: pending[..<end], as: UTF8.self)
            }
            guard !isAtEnd else { return nil }
            var piece = [UInt8](repeating: 0, count: 8192)
            let count = unsafe Glibc.read(descriptor, &piece, piece.count)
            guard count >= 0 else { throw SystemError(errno) }
            isAtEnd = count == 0
            pending += piece[..<count]
        }
    }
}
