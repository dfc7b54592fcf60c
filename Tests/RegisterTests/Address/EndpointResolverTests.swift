// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Testing

@testable import Register

@Suite("EndpointResolver")
struct EndpointResolverTests {
    /// Settings of a test that are rarely others.
    private struct Host {
        var address = "10.0.0.1"
        var rules = RegistrationPolicy()
        var listeners = ListeningPorts()
    }

    private static func internalRules(_ network: String? = nil) -> RegistrationPolicy {
        var rules = RegistrationPolicy()
        rules.isInternal = true
        rules.network = network
        return rules
    }

    /// A binding, as `[host address:]host port:container port`.
    private static func binding(_ address: String, _ hostPort: Int, _ containerPort: Int) -> Docker.Binding {
        Docker.Binding(
            containerPort: Port(containerPort)!, hostAddress: IPAddress(address), hostPort: Port(hostPort)!)
    }

    private func container(
        letter: Character = "a", network: Docker.NetworkMode = .own, networks: [String: [String]] = [:],
        exposed: [Int] = [], labels: [String: String] = [:], started: String = "2026-01-01T00:00:00Z",
        _ bindings: Docker.Binding...
    ) -> Docker.Container {
        var container = Docker.Container(
            id: InstanceID(containerID: String(repeating: letter, count: 12))!, name: "c-\(letter)", image: "whoami",
            labels: labels, environment: [:], started: started, bindings: Set(bindings))
        container.network = network
        container.networks = networks.mapValues { Docker.NetworkAddresses(addresses: Set($0.map { IPAddress($0)! })) }
        container.exposed = Set(exposed.map { Port($0)! })
        return container
    }

    private func addressing(
        of container: Docker.Container, _ others: Docker.Container..., on host: Host = Host()
    ) -> EndpointResolver {
        let labels = Labels(labels: container.labels, environment: container.environment)
        let around = EndpointResolver.AddressContext(
            [container] + others, host: IPAddress(host.address)!, host.rules, host.listeners)
        return EndpointResolver(of: container, labels, in: around)
    }

    /// `container port=endpoint`, sorted.
    private func endpoints(_ addressing: EndpointResolver) -> [String] {
        addressing.endpoints.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    }

    private func reasons(_ addressing: EndpointResolver) -> [String] { addressing.reasons.map(\.text) }

    private func listening(_ bindings: [Int: [String]]) -> ListeningPorts {
        ListeningPorts(
            Dictionary(
                uniqueKeysWithValues: bindings.map { port, addresses in
                    (Port(port)!, Set(addresses.map { Self.binding($0, port, port).socket }))
                }))
    }

    // MARK: Published ports

    @Test func `bindings on addresses that only this host reaches are left out with the reason`() {
        var inside = container(Self.binding("172.17.0.1", 1, 80), Self.binding("fe80::1", 2, 81))
        inside.networks = ["bridge": Docker.NetworkAddresses(gateways: [IPAddress("172.17.0.1")!])]
        let decided = addressing(of: inside)
        #expect(endpoints(decided) == [])
        #expect(
            reasons(decided) == [
                "port 80 not registered: it is published on 172.17.0.1, this host's address in a containers' network, "
                    + "which other hosts cannot reach",
                "port 81 not registered: it is published on the link-local address fe80::1, "
                    + "which other hosts cannot reach",
            ])
        #expect(decided.reasons.map(\.port) == [Port(80), Port(81)])
        // A bridge that the host itself is on.
        #expect(endpoints(addressing(of: inside, on: Host(address: "172.17.0.1"))) == ["80=172.17.0.1:1"])
    }

    @Test(arguments: [("10.0.0.1", "80=10.0.0.9:1"), ("fd00::1", "80=[fd00::9]:2")])
    func `of two bindings the one of HOST_IP's family is registered`(host: String, expected: String) {
        let both = container(Self.binding("10.0.0.9", 1, 80), Self.binding("fd00::9", 2, 80))
        #expect(endpoints(addressing(of: both, on: Host(address: host))) == [expected])
    }

    // MARK: Ports of the host

    @Test(arguments: [
        (["SERVICE_9000_NAME": "admin"], ["9000=10.0.0.1:9000"]),
        (["SERVICE_9000_NAME": "admin", "SERVICE_9001_CHECK": "none"], ["9000=10.0.0.1:9000", "9001=10.0.0.1:9001"]),
        (["SERVICE_9000_NAME": "admin", "SERVICE_PRIMARY_PORT": "80"], ["80=10.0.0.1:80", "9000=10.0.0.1:9000"]),
        (["SERVICE_9000_NAME": "admin", "SERVICE_PORT": "80"], ["9000=10.0.0.1:9000"]),
        (["SERVICE_PORT": "9000"], ["9000=10.0.0.1:9000"]),
        (["SERVICE_PRIMARY_PORT": "9000", "SERVICE_PORT": "80"], ["9000=10.0.0.1:9000"]),
        (["SERVICE_9000_IGNORE": "true", "SERVICE_PORT": "9001"], ["9001=10.0.0.1:9001"]),
        (["SERVICE_9000_IGNORE": "true"], ["8000=10.0.0.1:8000"]),
        (["SERVICE_NAME": "web"], ["8000=10.0.0.1:8000"]),
        ([:], ["8000=10.0.0.1:8000"]),
    ])
    func `in the host's network labels name the ports, and where they do not, those that the image exposes count`(
        labels: [String: String], expected: [String]
    ) {
        let host = Host(listeners: listening([8000: ["0.0.0.0"], 8001: []]))
        let container = container(network: .host, exposed: [8000, 8001], labels: labels)
        #expect(endpoints(addressing(of: container, on: host)) == expected)
        var everywhere = host
        everywhere.rules = Self.internalRules()
        #expect(endpoints(addressing(of: container, on: everywhere)) == expected)
    }

    @Test(arguments: [
        (["0.0.0.0"], "10.0.0.1", "8000=10.0.0.1:8000"), ([""], "10.0.0.1", "8000=10.0.0.1:8000"),
        ([""], "fd00::1", "8000=[fd00::1]:8000"), (["10.0.0.9"], "10.0.0.1", "8000=10.0.0.9:8000"),
        (["127.0.0.1", "10.0.0.1"], "10.0.0.1", "8000=10.0.0.1:8000"),
    ])
    func `an exposed port of the host is registered where something listens`(
        addresses: [String], host: String, expected: String
    ) {
        let host = Host(address: host, listeners: listening([8000: addresses]))
        let decided = addressing(of: container(network: .host, exposed: [8000]), on: host)
        #expect(endpoints(decided) == [expected])
        #expect(decided.listeningPorts == [Port(8000)!])
        #expect(!decided.isUndecided)
    }

    @Test(arguments: [
        ([], "10.0.0.1", "nothing listens on it in the host's network"),
        (["127.0.0.1"], "10.0.0.1", "it listens on 127.0.0.1, which other hosts cannot reach"),
        (["0.0.0.0"], "fd00::1", "it listens on 0.0.0.0 only, and HOST_IP is fd00::1"),
    ])
    func `an exposed port of the host that nobody reaches is left out with the reason`(
        addresses: [String], host: String, reason: String
    ) {
        let host = Host(address: host, listeners: listening([8000: addresses]))
        let decided = addressing(of: container(network: .host, exposed: [8000]), on: host)
        #expect(endpoints(decided) == [])
        #expect(reasons(decided) == ["port 8000 not registered: \(reason)"])
        #expect(decided.listeningPorts == [Port(8000)!])
    }

    @Test func `a port of the host that nobody has looked at yet is undecided, and nothing is said of it`() {
        let decided = addressing(of: container(network: .host, exposed: [8000]))
        #expect(decided.isUndecided)
        #expect(decided.listeningPorts == [Port(8000)!])
        #expect(decided.reasons == [] && decided.endpoints == [:])
    }

    @Test func `a port that the engine publishes for another container is not taken for the host's`() {
        let host = Host(listeners: listening([8000: ["0.0.0.0"]]))
        let decided = addressing(
            of: container(network: .host, exposed: [8000]), container(letter: "b", Self.binding("", 8000, 80)), on: host
        )
        #expect(
            reasons(decided) == ["port 8000 not registered: it is the port that container c-b is published at"])
        #expect(decided.listeningPorts == [])
    }

    @Test func `what has no port, or no network, is left out with the reason`() {
        #expect(
            reasons(addressing(of: container(network: .host))) == [
                "not registered: it is in the host's network and exposes no TCP port; "
                    + "a label such as SERVICE_8000_NAME names one"
            ])
        #expect(
            reasons(addressing(of: container(network: .none, exposed: [80]))) == [
                "not registered: it has no network (network mode none)"
            ])
        let host = Host(rules: Self.internalRules())
        #expect(
            reasons(addressing(of: container(networks: ["bridge": ["172.17.0.2"]]), on: host)) == [
                "not registered: it exposes no TCP port; a label such as SERVICE_8000_NAME names one"
            ])
    }

    // MARK: Ports inside

    @Test func `inside, all ports that are exposed, published or named are registered at the container's address`() {
        let host = Host(rules: Self.internalRules())
        let bridge = ["bridge": ["172.17.0.2", "fd00:17::2"]]
        let container = container(
            networks: bridge, exposed: [8000, 9000], labels: ["SERVICE_9100_NAME": "x", "SERVICE_9000_IGNORE": "1"],
            Self.binding("127.0.0.1", 1, 7000))
        let decided = addressing(of: container, on: host)
        #expect(endpoints(decided) == ["7000=172.17.0.2:7000", "8000=172.17.0.2:8000", "9100=172.17.0.2:9100"])
        #expect(reasons(decided) == ["port 9000 not registered: SERVICE_9000_IGNORE is set"])
        let v6 = Host(address: "fd00::1", rules: Self.internalRules())
        #expect(endpoints(addressing(of: container, on: v6)).first == "7000=[fd00:17::2]:7000")
        let single = self.container(networks: bridge, labels: ["SERVICE_PORT": "80"])
        #expect(endpoints(addressing(of: single, on: host)) == ["80=172.17.0.2:80"])
    }

    @Test(
        arguments: [
            (["front"], nil, nil, "front"), (["front", "back"], "back", nil, "back"),
            (["front", "back"], nil, "back", "back"), (["front", "back"], "front", "back", "front"),
            (["shop_front", "back"], "front", nil, "shop_front"), (["shop_front", "front"], "front", nil, "front"),
        ] as [([String], String?, String?, String)])
    func `the label chooses the network, or else the setting, or else there is but one`(
        networks: [String], label: String?, setting: String?, expected: String
    ) {
        var labels = ["com.docker.compose.project": "shop"]
        labels["SERVICE_NETWORK"] = label
        let addresses = Dictionary(uniqueKeysWithValues: networks.enumerated().map { ($1, ["10.1.\($0).2"]) })
        let container = container(networks: addresses, exposed: [80], labels: labels)
        let decided = addressing(of: container, on: Host(rules: Self.internalRules(setting)))
        #expect(endpoints(decided) == ["80=\(addresses[expected]![0]):80"])
        #expect(decided.reasons == [])
    }

    @Test(
        arguments: [
            (
                ["front", "back"], nil, nil,
                "it is in several networks (back, front); SERVICE_NETWORK or INTERNAL_NETWORK chooses one"
            ),
            (["front"], "back", nil, "it is not in the network back of SERVICE_NETWORK, but in front"),
            (["front", "x"], nil, "back", "it is not in the network back of INTERNAL_NETWORK, but in front, x"),
            ([], nil, nil, "it is in no network; SERVICE_NETWORK or INTERNAL_NETWORK chooses one"),
        ] as [([String], String?, String?, String)])
    func `where no network is chosen the container is left out with the reason`(
        networks: [String], label: String?, setting: String?, reason: String
    ) {
        let container = container(
            networks: Dictionary(uniqueKeysWithValues: networks.map { ($0, ["10.1.0.2"]) }), exposed: [80],
            labels: label.map { ["SERVICE_NETWORK": $0] } ?? [:])
        let decided = addressing(of: container, on: Host(rules: Self.internalRules(setting)))
        #expect(endpoints(decided) == [])
        #expect(reasons(decided) == ["not registered: \(reason)"])
        #expect(decided.reasons.first?.kind == .obstacle)
    }

    @Test func `a network without an address for the container is told`() {
        let decided = addressing(
            of: container(networks: ["front": []], exposed: [80]), on: Host(rules: Self.internalRules()))
        #expect(reasons(decided) == ["not registered: it has no address in the network front"])
    }

    // MARK: Another container's network

    private static let carried = Docker.NetworkMode.container(String(repeating: "b", count: 64))

    @Test(
        arguments: [
            ([], [:], ["8000=10.0.0.1:1", "9000=10.0.0.1:2"]), ([9000], [:], ["9000=10.0.0.1:2"]),
            ([7000], [:], ["8000=10.0.0.1:1", "9000=10.0.0.1:2"]),
            ([8000], ["SERVICE_9000_NAME": "side"], ["9000=10.0.0.1:2"]),
            ([8000, 9000], ["SERVICE_9000_IGNORE": "1"], ["8000=10.0.0.1:1"]),
        ] as [([Int], [String: String], [String])])
    func `a container in another one's network has that one's published ports, as far as they are its own`(
        exposed: [Int], labels: [String: String], expected: [String]
    ) {
        let carrier = container(
            letter: "b", labels: ["SERVICE_IGNORE": "1"], Self.binding("", 1, 8000), Self.binding("", 2, 9000))
        let rider = container(network: Self.carried, exposed: exposed, labels: labels)
        #expect(endpoints(addressing(of: rider, carrier)) == expected)
    }

    @Test func `inside, and in the host's network, it has that one's address and its own ports`() {
        let host = Host(rules: Self.internalRules(), listeners: listening([80: [""]]))
        let bridged = container(letter: "b", networks: ["bridge": ["172.17.0.2"]], exposed: [8000])
        let rider = container(network: Self.carried, exposed: [80])
        #expect(endpoints(addressing(of: rider, bridged, on: host)) == ["80=172.17.0.2:80"])
        let silent = container(network: Self.carried)
        #expect(endpoints(addressing(of: silent, bridged, on: host)) == ["8000=172.17.0.2:8000"])
        #expect(
            endpoints(addressing(of: rider, container(letter: "b", network: .host), on: host)) == ["80=10.0.0.1:80"])
    }

    @Test func `a carrier may be named, and may itself be carried`() {
        let first = container(network: .container("c-b"))
        let second = container(letter: "b", network: .container(String(repeating: "c", count: 64)))
        let third = container(letter: "c", Self.binding("", 1, 8000))
        #expect(endpoints(addressing(of: first, second, third)) == ["8000=10.0.0.1:1"])
    }

    @Test func `without its carrier, or after that one's restart, it is left out with the reason`() {
        let rider = container(network: Self.carried, started: "2026-01-01T00:00:01.5Z")
        #expect(
            reasons(addressing(of: rider)) == [
                "not registered: it uses the network of container bbbbbbbbbbbb, which does not run"
            ])
        let later = container(letter: "b", started: "2026-01-01T00:00:01.55Z", Self.binding("", 1, 8000))
        #expect(
            reasons(addressing(of: rider, later)) == [
                "not registered: it uses the network that container c-b had before its restart; restart it too"
            ])
        let lost = addressing(of: rider, container(letter: "b", Self.binding("", 1, 8000)))
        #expect(endpoints(lost) == ["8000=10.0.0.1:1"])
        let named = container(network: Self.carried, labels: ["SERVICE_9000_NAME": "x"])
        #expect(
            reasons(addressing(of: named, container(letter: "b", Self.binding("", 1, 8000)))) == [
                "port 9000 not registered: container c-b, whose network it uses, does not publish it"
            ])
        let circle = container(network: .container("c-b"))
        #expect(
            reasons(addressing(of: circle, container(letter: "b", network: .container("c-a")))) == [
                "not registered: its network mode leads in a circle"
            ])
    }

    @Test func `a carrier of which nothing is known takes nothing away`() {
        let rider = container(network: Self.carried)
        let around = EndpointResolver.AddressContext(
            [rider], host: IPAddress("10.0.0.1")!, RegistrationPolicy(), ListeningPorts(),
            unreadable: [InstanceID(containerID: "bbbbbbbbbbbb")!])
        let decided = EndpointResolver(of: rider, Labels(labels: [:], environment: [:]), in: around)
        #expect(decided.isUndecided && decided.reasons == [] && decided.endpoints == [:])
    }

    @Test(arguments: [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", false),
        ("2026-01-01T00:00:01Z", "2026-01-01T00:00:00.999999999Z", true),
        ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00Z", true),
        ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.12345679Z", false),
        ("2026-01-01T00:00:00.2+02:00", "2026-01-01T00:00:00.1+02:00", true), ("", "", false),
    ])
    func `starts are compared whatever the length of their fractions`(one: String, other: String, isLater: Bool) {
        #expect(container(started: one).started(after: container(letter: "b", started: other)) == isLater)
    }
}
