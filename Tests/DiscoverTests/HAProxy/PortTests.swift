import Glibc
import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("Ports of this host", .timeLimit(.minutes(1)))
struct PortTests {
    @Test func `a free port is free, one that somebody listens on is not, and its holder is named`() async throws {
        let free = port(try FreePort.take())
        #expect(BindAddress(port: free).socketAddress.bindFailure() == nil)
        let server = try StubServer { $0.waitForEnd() }
        let taken = port(server.port)
        // It listens on 127.0.0.1 only, which is in the way all the same.
        #expect(BindAddress(port: taken).socketAddress.bindFailure() == .addressInUse)
        #expect(PortOwner(of: taken)?.pid == ProcessStatus(PortOwner(of: taken)?.pid ?? 0)?.pid)
        #expect(PortOwner.name(of: taken).hasPrefix("process "))
        #expect(PortOwner(of: free) == nil)
        let elsewhere = BindAddress(address: IPAddress("192.0.2.1"), port: free)
        let obstacles = await PortCheck.obstacles(
            to: [BindAddress(port: free), BindAddress(port: taken), elsewhere], patience: .zero)
        #expect(Set(obstacles.keys) == [BindAddress(port: taken), elsewhere])
        #expect(obstacles[BindAddress(port: taken)]?.hasPrefix("in use by process ") == true)
        let beside = await PortCheck.obstacles(
            to: [BindAddress(port: taken), elsewhere], beside: [BindAddress(port: taken)], patience: .zero)
        #expect(Array(beside.keys) == [elsewhere])
        // Who listens there does not share the port.
        let other = BindAddress(address: IPAddress("127.0.0.1"), port: taken)
        #expect(
            await PortCheck.obstacles(to: [other], beside: [BindAddress(port: taken)], patience: .zero).count == 1)
        #expect(obstacles[elsewhere] == "not to be had: Cannot assign requested address")
        withExtendedLifetime(server) {}
    }

    @Test(
        arguments: [
            (":1936", ":1936"), ("1936", ":1936"), ("*:1936", ":1936"), ("127.0.0.1:1936", "127.0.0.1:1936"),
            ("[::1]:1936", "[::1]:1936"), ("", nil), (":", nil), ("*", nil), ("::1936", nil), (":0", nil),
            (":65536", nil), ("host:80", nil), ("*1936", nil), (":80 ssl", nil), ("::1:80", nil),
        ] as [(String, String?)])
    func `an address to listen on is parsed or refused`(text: String, expected: String?) {
        #expect(BindAddress(text)?.description == expected)
    }

    @Test(
        arguments: [
            (":80", ":80", true), (":80", ":81", false), (":80", "127.0.0.1:80", true), (":80", "[::1]:80", false),
            ("[::]:80", ":80", true), ("[::]:80", "[::1]:80", true), ("[::]:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false), ("[::1]:80", "127.0.0.1:80", false), ("0.0.0.0:80", ":80", true),
        ])
    func `addresses overlap where one connection could be meant for both`(one: String, other: String, overlap: Bool)
        throws
    {
        let (one, other) = (try #require(BindAddress(one)), try #require(BindAddress(other)))
        #expect(one.overlaps(other) == overlap && other.overlaps(one) == overlap)
    }
}
