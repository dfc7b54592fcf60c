import Glibc
import Synchronization

/// Stands between docker-register and a real engine as a strict proxy does: it lets pass GET requests to the few routes
/// that docker-register is documented to need, refuses all others with status 403, and remembers everything.
package final class EngineProxy: Sendable {
    /// What agents are told.
    package let url: String

    private let server: StubServer
    private let record: Record

    private final class Record: Sendable {
        let allowed = Mutex<[String]>([])
        let refused = Mutex<[String]>([])
        let stuck = Mutex<Set<String>>([])
    }

    /// Listens on a socket at `path`, before the engine's.
    package init(at path: String, before engine: String) throws {
        let record = Record()
        self.record = record
        url = "unix://\(path)"
        server = try StubServer(path: path) { client in
            guard let request = client.request(), let line = request.split(separator: "\r\n").first else { return }
            guard Self.isAllowed(String(line)) else {
                record.refused.withLock { $0.append(String(line)) }
                let body = #"{"message":"forbidden by the proxy"}"#
                client.send("HTTP/1.1 403 Forbidden\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
                return
            }
            record.allowed.withLock { $0.append(String(line)) }
            let isStuck = record.stuck.withLock { $0.contains { line.contains("/containers/\($0)") } }
            guard !isStuck else { return client.waitForEnd() }
            Self.pass(request, from: client, to: engine)
        }
    }

    /// The request lines that were let pass.
    package var allowed: [String] { record.allowed.withLock { $0 } }

    /// The request lines that were refused.
    package var refused: [String] { record.refused.withLock { $0 } }

    /// Answers no inspection of this container from now on, as an engine does whose lock of it is stuck.
    package func hang(_ container: String, _ hangs: Bool = true) {
        record.stuck.withLock { stuck in
            if hangs { stuck.insert(container) } else { stuck.remove(container) }
        }
    }

    /// Whether a request line is that of a GET to one of the routes, with or without a version in front.
    private static func isAllowed(_ line: String) -> Bool {
        let words = line.split(separator: " ")
        guard words.count == 3, words[0] == "GET" else { return false }
        var parts = words[1].prefix { $0 != "?" }.split(separator: "/")
        if let version = parts.first, version.first == "v", version.dropFirst().first?.isNumber == true {
            parts.removeFirst()
        }
        return ["_ping", "version", "info", "events", "containers"].contains(parts.first ?? "")
    }

    /// Sends the request on a connection of its own, and passes on whatever comes back, as it comes.
    private static func pass(_ request: String, from client: StubServer.Connection, to engine: String) {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: Array(engine.utf8)) }
        let isConnected = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        guard isConnected, let end = request.firstRange(of: "\r\n\r\n") else { return }
        let upstream = StubServer.Connection(descriptor: descriptor, number: 0)
        upstream.send(request[..<end.lowerBound] + "\r\nConnection: close" + request[end.lowerBound...])
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe read(descriptor, &piece, piece.count)
            guard count > 0, client.send(String(decoding: piece[..<count], as: UTF8.self)) else { return }
        }
    }
}
