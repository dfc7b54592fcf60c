import Glibc
package import Shared
import Synchronization

/// Stands between a client and a server on this machine, and loses answers when it is told to.
///
/// The server has done by then what it was asked to do.
package final class LossyProxy: Sendable {
    private let server: StubServer
    private let rule: Rule

    /// Which answers are lost.
    private final class Rule: Sendable {
        let isLost: Mutex<@Sendable (String) -> Bool> = Mutex { _ in false }
        let isHeld: Mutex<@Sendable (String) -> Bool> = Mutex { _ in false }
        let losses = Atomic(0)
        let requests = Mutex<[String]>([])
    }

    /// Stands before `port` on 127.0.0.1.
    package init(before port: Int) throws {
        let rule = Rule()
        self.rule = rule
        server = try StubServer { client in
            while let request = client.request() {
                rule.requests.withLock { $0.append(String(request.prefix { $0 != "\r\n" })) }
                guard let answer = Self.exchange(request, port) else { return }
                if rule.isLost.withLock({ $0(request) }) {
                    rule.losses.add(1, ordering: .relaxed)
                    return
                }
                if rule.isHeld.withLock({ $0(request) }) { return client.waitForEnd() }
                client.send(answer)
                return
            }
        }
    }

    /// How clients reach it.
    package var origin: HTTPOrigin { .tcp("http://127.0.0.1:\(server.port)") }

    /// How many answers were lost.
    package var losses: Int { rule.losses.load(ordering: .relaxed) }

    /// Loses the answers to the requests that `isLost` picks, from now on.
    package func lose(_ isLost: @escaping @Sendable (String) -> Bool) { rule.isLost.withLock { $0 = isLost } }

    /// Keeps the answers to the requests that `isHeld` picks until the client gives up, from now on.
    package func hold(_ isHeld: @escaping @Sendable (String) -> Bool) { rule.isHeld.withLock { $0 = isHeld } }

    /// The first lines of all requests so far.
    package var requests: [String] { rule.requests.withLock { $0 } }

    /// Sends a request over a connection of its own, and gives the whole answer.
    private static func exchange(_ request: String, _ port: Int) -> String? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let isConnected = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard isConnected, let end = request.firstRange(of: "\r\n\r\n") else { return nil }
        let closing = request[..<end.lowerBound] + "\r\nConnection: close" + request[end.lowerBound...]
        let upstream = StubServer.Connection(descriptor: descriptor, number: 0)
        guard upstream.send(String(closing)) else { return nil }
        var answer: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe read(descriptor, &piece, piece.count)
            guard count > 0 else { break }
            answer += piece[..<count]
        }
        return String(decoding: answer, as: UTF8.self)
    }
}
