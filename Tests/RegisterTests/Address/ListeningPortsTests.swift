// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Glibc
import Shared
import Synchronization
import TestSupport
import Testing

@testable import Register

@Suite("Listeners", .timeLimit(.minutes(1)))
struct ListeningPortsTests {
    private static func socket(_ address: String?, _ port: Int) -> ListeningSocket {
        ListeningSocket(address: address.map { IPAddress($0)! }, port: Port(port)!)
    }

    private static let limit = Duration.seconds(10)

    // MARK: The kernel's table

    @Test(arguments: [
        ("00000000:1F90", "0.0.0.0", 8080), ("0100007F:1F90", "127.0.0.1", 8080), ("0B004D0A:0050", "10.77.0.11", 80),
        ("00000000000000000000000000000000:1F90", nil, 8080),
        ("00000000000000000000000001000000:1F90", "::1", 8080),
        ("0000000000000000FFFF00000B004D0A:1F90", "10.77.0.11", 8080),
        ("000077FD000000000000000011000000:FFFF", "fd77::11", 65_535),
    ])
    func `a line of the table tells address and port`(local: String, address: String?, port: Int) {
        let line = "   0: \(local) 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1150 1 0"
        #expect(ListeningSockets.isListener(line))
        #expect(ListeningSockets.socket(in: line) == Self.socket(address, port))
    }

    @Test(arguments: [
        "", "   0:", "   0: x", "   0: 00000000 00000000:0000 0A", "   0: 0000000:1F90 00000000:0000 0A",
        "   0: 00000000:0000 00000000:0000 0A", "   0: 00000000:1F900 00000000:0000 0A",
        "   0: XX000000:1F90 00000000:0000 0A",
    ])
    func `a line that makes no sense is no listener's`(line: String) {
        #expect(ListeningSockets.socket(in: line) == nil)
    }

    @Test func `connections are no listeners`() {
        #expect(!ListeningSockets.isListener("   4: 0100007F:95A4 0100007F:60D6 06 00000000:00000000 03:0000018B"))
        #expect(!ListeningSockets.isListener("  sl  local_address rem_address   st"))
    }

    @Test func `what listens on this machine stands in the table, among many connections`() throws {
        let server = try StubServer { $0.waitForEnd() }
        let clients = (0..<100).map { _ in connected(to: server.port) }
        defer { for client in clients { close(client) } }
        #expect(try ListeningSockets.read().contains(Self.socket("127.0.0.1", server.port)))
    }

    private func connected(to port: Int) -> Int32 {
        let descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let target = SocketAddress(IPAddress("127.0.0.1")!, port: UInt16(port))
        #expect(unsafe target.withKernelForm { unsafe connect(descriptor, $0, $1) } == 0)
        return descriptor
    }

    // MARK: Connecting

    @Test func `ports that accept connections are found, side by side`() async throws {
        let servers = try (0..<3).map { _ in try StubServer { $0.waitForEnd() } }
        let closed = try FreePort.take()
        let ports = Set((servers.map(\.port) + [closed]).map { Port($0)! })
        let found = try await ConnectProbe.openPorts(of: ports, at: IPAddress("127.0.0.1")!, limit: Self.limit)
        #expect(Set(found) == Set(servers.map { Port($0.port)! }))
    }

    // MARK: From look to look

    @Test func `a port is given up at the second look that finds nothing`() {
        let port = Port(80)!
        let one = Self.socket("0.0.0.0", 80)
        let unknown = ListeningPorts()
        #expect(unknown.known[port] == nil)
        let silent = unknown.after(asking: [port], found: [])
        #expect(silent.known == [port: []])
        let open = silent.after(asking: [port], found: [one, Self.socket("0.0.0.0", 81)])
        #expect(open.known == [port: [one]])
        let missedOnce = open.after(asking: [port], found: [])
        #expect(missedOnce.known == [port: [one]])
        #expect(missedOnce.after(asking: [port], found: []).known == [port: []])
        let back = missedOnce.after(asking: [port], found: [one]).after(asking: [port], found: [])
        #expect(back.known == [port: [one]])
        #expect(open.after(asking: [], found: [one]).known == [:])
    }

    @Test(arguments: [ListeningPortMonitor.Means.table, .connections])
    func `a watch tells when something begins to listen, and when it ends`(means: ListeningPortMonitor.Means)
        async throws
    {
        let number = try FreePort.take()
        let port = Port(number)!
        let watch = ListeningPortMonitor(means, calmPause: .milliseconds(400), logger: .discard)
        let newest = Newest()
        let task = Task { try await watch.run { listeners in newest.value.withLock { $0 = listeners } } }
        defer { task.cancel() }
        watch.watch([port], at: IPAddress("127.0.0.1")!)
        #expect(await eventually { newest.known == [port: []] })
        var server: StubServer? = try StubServer(port: number) { $0.waitForEnd() }
        let open = [port: Set([Self.socket("127.0.0.1", number)])]
        #expect(await eventually { newest.known == open })
        #expect(server?.port == number)
        server = nil
        #expect(await eventually { newest.known == [port: []] })
        watch.watch([], at: IPAddress("127.0.0.1")!)
        #expect(await eventually { newest.known == [:] })
    }

    private final class Newest: Sendable {
        let value = Mutex(ListeningPorts([:]))
        var known: [Port: Set<ListeningSocket>] { value.withLock { $0.known } }
    }
}
