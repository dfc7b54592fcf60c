// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import TestSupport
import Testing

@testable import Register

@Suite("Host address", .timeLimit(.minutes(1)))
struct HostAddressTests {
    private static let interfaces = NetworkInterfaces(
        entries: [
            entry("lo", "127.0.0.1"), entry("eth0", "169.254.1.1"), entry("eth0", "fd00::1"), entry("eth0", "10.0.0.1"),
            entry("eth0", "10.0.0.2"), entry("docker0", "172.17.0.1"), entry("br-0123456789ab", "172.18.0.1"),
            entry("br0", "10.1.0.1"), entry("eth1", "fe80::1"), entry("eth1", "fd01::1"), entry("eth2", "fe80::2"),
        ], names: ["lo", "eth0", "eth1", "eth2", "eth3", "docker0", "br-0123456789ab", "br0"])

    private static func entry(_ name: String, _ address: String) -> NetworkInterfaces.Entry {
        NetworkInterfaces.Entry(name: name, address: IPAddress(address)!)
    }

    // MARK: What is written

    @Test(arguments: [
        ("10.0.0.1", HostAddress.fixed(IPAddress("10.0.0.1")!)), ("fd00::1", .fixed(IPAddress("fd00::1")!)),
        ("auto", .automatic), ("AUTO", .automatic), ("eth0", .interface("eth0")),
        ("enp3s0f1.100", .interface("enp3s0f1.100")), ("eth0:1", .interface("eth0:1")), ("wg0", .interface("wg0")),
        ("br-0123456789ab", .interface("br-0123456789ab")),
    ])
    func `HOST_IP is an address, an interface or auto`(text: String, expected: HostAddress) {
        #expect(HostAddress(text) == expected)
        #expect(expected.mistake == nil)
    }

    @Test(arguments: [
        "", " ", "10.0.0", "10.0.0.1:80", "1eth", "eth/0", "eth 0", "a-name-of-16-chr", "[fd00::1]", "étè0",
    ])
    func `what is none of them is refused`(text: String) { #expect(HostAddress(text) == nil) }

    @Test(arguments: [
        "127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1", "::ffff:127.0.0.1",
        "255.255.255.255", "240.0.0.1", "::ffff:10.0.0.1",
    ])
    func `an address that other hosts cannot reach is a mistake`(text: String) {
        #expect(HostAddress(text)?.mistake?.contains(IPAddress(text)!.text) == true)
    }

    // MARK: Interfaces

    @Test func `an interface's first global address counts, IPv4 before IPv6`() throws {
        #expect(try Self.interfaces.address(of: "eth0") == IPAddress("10.0.0.1"))
        #expect(try Self.interfaces.address(of: "eth1") == IPAddress("fd01::1"))
        for name in ["eth2", "eth3"] {
            #expect(throws: HostAddressError.noAddress(interface: name)) { try Self.interfaces.address(of: name) }
        }
    }

    @Test func `what is no interface, or the loopback one, is refused with those that are there`() {
        let present = ["br0 (10.1.0.1)", "eth0 (fd00::1, 10.0.0.1, 10.0.0.2)", "eth1 (fd01::1)"]
        for name in ["eth9", "localhost"] {
            let error = #expect(throws: HostAddressError.noInterface(name, present: present)) {
                try Self.interfaces.address(of: name)
            }
            #expect(error?.isPassing == false)
            #expect(
                error?.description
                    == "HOST_IP: this host has no network interface \(name); set the address under which the other hosts "
                    + "reach this one, or the name of an interface: \(present.joined(separator: ", "))")
        }
        let error = #expect(throws: HostAddressError.loopbackInterface("lo", present: present)) {
            try Self.interfaces.address(of: "lo")
        }
        #expect(error?.isPassing == false)
    }

    @Test func `an address on no interface of the host is told, where the host's interfaces are seen`() {
        let interfaces = Self.interfaces
        let (own, other) = (IPAddress("10.0.0.2")!, IPAddress("203.0.113.5")!)
        #expect(lookup(.fixed(own)).warning(of: own, interfaces) == nil)
        let warning = lookup(.fixed(other)).warning(of: other, interfaces)
        #expect(warning?.contains("203.0.113.5, which is right behind NAT alone") == true)
        #expect(warning?.contains("eth0 (fd00::1, 10.0.0.1, 10.0.0.2)") == true)
        let inside = AgentPlacement.container("x", gateways: [:])
        #expect(lookup(.fixed(other), inside).warning(of: other, interfaces) == nil)
        let remote = lookup(.fixed(other), engine: .tcp("http://203.0.113.5:2375"))
        #expect(remote.warning(of: other, interfaces) == nil)
    }

    @Test func `the engine's own bridges are known by their names, and others are not taken for them`() {
        #expect(Self.interfaces.bridge(with: IPAddress("172.17.0.1")!) == "docker0")
        #expect(Self.interfaces.bridge(with: IPAddress("172.18.0.1")!) == "br-0123456789ab")
        #expect(Self.interfaces.bridge(with: IPAddress("10.1.0.1")!) == nil)
        #expect(Self.interfaces.bridge(with: IPAddress("10.0.0.1")!) == nil)
        for name in ["podman0", "cni-podman3", "docker_gwbridge"] { #expect(NetworkInterfaces.isBridge(name)) }
        for name in ["br-lan", "br-0123456789xy", "docker", "podman", "podmanx", "virbr0"] {
            #expect(!NetworkInterfaces.isBridge(name))
        }
    }

    @Test func `this machine's loopback interface is seen`() throws {
        let interfaces = try NetworkInterfaces.read()
        #expect(interfaces.names.contains("lo"))
        #expect(interfaces.entries.contains(Self.entry("lo", "127.0.0.1")))
    }

    @Test func `IPv6 addresses that are temporary or not valid are left out`() {
        let table = """
            fd000000000000000000000000000001 02 40 00 80     eth0
            fd000000000000000000000000000002 02 40 00 01     eth0
            fd000000000000000000000000000003 02 40 00 a0     eth0
            fd000000000000000000000000000004 02 40 00 48     eth0
            fd00000000000000000000000000000x 02 40 00 01     eth0
            fd00
            """
        #expect(NetworkInterfaces.unfit(in: table) == Set(["fd00::2", "fd00::3", "fd00::4"].map { IPAddress($0)! }))
        #expect(NetworkInterfaces.unfit(in: "") == [])
    }

    // MARK: Looking up

    private func lookup(
        _ setting: HostAddress, _ placement: AgentPlacement = .host, members: [String] = ["http://192.0.2.1:2379"],
        engine: HTTPOrigin = .unix("/var/run/docker.sock")
    ) -> HostAddressLookup {
        HostAddressLookup(
            setting: setting, placement: placement, members: Etcd.Members(members.map { .tcp($0) }), engine: engine,
            deadline: .seconds(10))
    }

    @Test(arguments: ["http://127.0.0.1:2379", "http://localhost:2379"])
    func `etcd on this host does not tell the host's address`(member: String) async throws {
        await #expect(throws: HostAddressError.loopback(to: member)) {
            try await lookup(.automatic, members: [member]).lookUp()
        }
    }

    @Test(.enabled(if: RealParts.hasIPv6, "this machine has no IPv6"))
    func `etcd on this host does not tell the host's address over IPv6 either`() async throws {
        let member = "http://[::1]:2379"
        await #expect(throws: HostAddressError.loopback(to: member)) {
            try await lookup(.automatic, members: [member]).lookUp()
        }
    }

    @Test func `a name that is none is told, and may become one`() async throws {
        let error = await #expect(throws: HostAddressError.self) {
            try await lookup(.automatic, members: ["http://no-such-host.invalid:2379", "http://127.0.0.1:1"]).lookUp()
        }
        #expect(error?.isPassing == true)
        #expect(error?.description.contains("no-such-host.invalid") == true)
    }

    @Test func `in a container's own network nothing is looked up, and its gateway is not the host's address`()
        async throws
    {
        let gateway = IPAddress("172.18.0.1")!
        let inside = AgentPlacement.container(
            "agent", gateways: ["bridge": [IPAddress("172.17.0.1")!], "x": [gateway]])
        for setting in [HostAddress.automatic, .interface("eth0")] {
            await #expect(throws: HostAddressError.contained(in: "agent")) {
                try await lookup(setting, inside).lookUp()
            }
        }
        await #expect(throws: HostAddressError.bridge(gateway, name: "x")) {
            try await lookup(.fixed(gateway), inside).lookUp()
        }
        let told = IPAddress("10.9.9.9")!
        #expect(try await lookup(.fixed(told), inside).lookUp() == told)
    }

    @Test func `the address of another host's engine is not looked up here`() async throws {
        let engine = HTTPOrigin.tcp("http://192.0.2.7:2375")
        await #expect(throws: HostAddressError.remoteEngine(engine.name)) {
            try await lookup(.interface("lo"), engine: engine).lookUp()
        }
        let interfaces = try NetworkInterfaces.read()
        #expect(!lookup(.automatic, engine: engine).isOnHost(interfaces))
        for local in ["http://127.0.0.1:2375", "http://localhost:2375", "http://proxy:2375"] {
            #expect(lookup(.automatic, engine: .tcp(local)).isOnHost(interfaces))
        }
        #expect(!lookup(.automatic, .container(nil, gateways: [:])).isOnHost(interfaces))
    }

    private func beginsThere(_ address: String) throws -> Bool {
        try SocketAddress(IPAddress(address)!, port: 2379).localAddress().get() == IPAddress(address)
    }

    @Test func `the way to a local address begins at it`() throws { #expect(try beginsThere("127.0.0.1")) }

    @Test(.enabled(if: RealParts.hasIPv6, "this machine has no IPv6"))
    func `the way to a local IPv6 address begins at it`() throws { #expect(try beginsThere("::1")) }
}
