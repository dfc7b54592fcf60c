// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import FoundationEssentials
import Shared
import Testing

@testable import Register

/// What real engines have answered, and what newer ones are documented to answer.
@Suite("Docker answers")
struct DockerAnswersTests {
    private func container(_ name: String, of engine: String) throws -> Docker.Container? {
        try container(json: Recorded.answer("containers/\(name)/json", of: engine))
    }

    private func container(json: String) throws -> Docker.Container? {
        try JSONDecoder().decode(WireContainer.self, from: Data(json.utf8)).container()
    }

    private static func binding(_ containerPort: Int, _ address: String?, _ hostPort: Int) -> Docker.Binding {
        Docker.Binding(
            containerPort: Port(containerPort)!, hostAddress: address.map { IPAddress($0)! }, hostPort: Port(hostPort)!)
    }

    private func bindings(_ ports: String) throws -> Set<Docker.Binding>? {
        try container(
            json: #"{"Id":"0123456789abcdef","State":{"Running":true},"NetworkSettings":{"Ports":\#(ports)}}"#)?
            .bindings
    }

    @Test(arguments: [("sha256:ab", "none", true), ("sha256:ab", "json-file", false), ("whoami", "none", false)])
    func `a step of the classic builder runs an image by its id, and keeps no log`(
        image: String, log: String, isStep: Bool
    ) throws {
        let json =
            #"{"Id":"0123456789abcdef","State":{"Running":true},"Config":{"Image":"\#(image)"},"#
            + #""HostConfig":{"LogConfig":{"Type":"\#(log)"}}}"#
        #expect(try container(json: json)?.isBuildStep == isStep)
    }

    @Test(arguments: Recorded.engines)
    func `published ports that are no TCP ports are known`(engine: String) throws {
        let container = try #require(try container("udp-only", of: engine))
        #expect(container.bindings == [])
        #expect(container.otherPorts == ["53/udp"])
        #expect(!container.udpBindings.isEmpty && container.udpBindings.allSatisfy { $0.containerPort == Port(53) })
    }

    // MARK: Recorded

    @Test(arguments: Recorded.engines)
    func `a container with several bindings has all of them that are TCP`(engine: String) throws {
        let container = try #require(try container("several-bindings", of: engine))
        #expect(container.name == "several-bindings")
        #expect(container.image == "lab/web:1.2")
        #expect(container.labels == ["SERVICE_TAGS": "a,b", "com.example.team": "blue"])
        #expect(container.environment == ["EMPTY": "", "SERVICE_8000_NAME": "web", "PORT": "8000"])
        #expect(container.started.hasPrefix("20"))
        #expect(
            container.bindings == [
                Self.binding(8000, "127.0.0.1", 8081), Self.binding(8000, "0.0.0.0", 8080),
                Self.binding(8000, "::", 8080),
                Self.binding(9000, "0.0.0.0", 9000), Self.binding(9000, "::", 9000),
            ])
    }

    @Test(
        arguments: Recorded.engines,
        [
            "exposed-only", "host-network", "host-network-silent", "no-network", "nothing-published", "shared-network",
            "udp-only",
        ])
    func `what publishes no TCP port runs, without bindings`(engine: String, name: String) throws {
        #expect(try #require(try container(name, of: engine)).bindings == [])
    }

    @Test(arguments: Recorded.engines, ["paused", "restarting", "stopped"])
    func `what is paused, restarts or has ended counts as not running`(engine: String, name: String) throws {
        #expect(try container(name, of: engine) == nil)
    }

    @Test(
        arguments: Recorded.engines,
        [
            ("ephemeral", "whoami", 32768), ("healthy", "whoami", 8004), ("unhealthy", "whoami", 8014),
            ("starting", "whoami", 8024), ("own-network", "whoami", 8007), ("ipv6-network", "whoami", 8008),
            ("stop-signal", "whoami", 8011), ("compose", "whoami", 8012),
            // The image's name went to another image later; the container keeps what was typed.
            ("moved-tag", "old:1", 8006),
        ])
    func `an ordinary container is reached on all addresses, whatever its network, health and image`(
        engine: String, expected: (name: String, image: String, port: Int)
    ) throws {
        let container = try #require(try container(expected.name, of: engine))
        #expect(container.name == expected.name)
        #expect(container.image == expected.image)
        let port = expected.port
        #expect(container.bindings == [Self.binding(8000, "0.0.0.0", port), Self.binding(8000, "::", port)])
    }

    @Test(
        arguments: Recorded.engines,
        [
            ("host-network", .host, ["host": []], [8000]),
            ("host-network-silent", .host, ["host": []], [7072, 7073, 8000]),
            ("no-network", .none, ["none": []], [8000]), ("exposed-only", .own, ["bridge": ["172.17.0.3"]], [8000]),
            ("udp-only", .own, ["bridge": ["172.17.0.5"]], []),
            ("nothing-published", .own, ["bridge": ["172.17.0.4"]], []),
            ("own-network", .own, ["bridge": ["172.17.0.12"], "front": ["172.18.0.2"]], [8000]),
            ("ipv6-network", .own, ["six": ["172.19.0.2", "fd00:77::2"]], [8000]),
        ] as [(String, Docker.NetworkMode, [String: [String]], [Int])])
    func `whose network a container uses, its addresses there and what it exposes are told`(
        engine: String, expected: (name: String, mode: Docker.NetworkMode, networks: [String: [String]], exposed: [Int])
    ) throws {
        let container = try #require(try container(expected.name, of: engine))
        #expect(container.network == expected.mode)
        #expect(container.networks.mapValues { Set($0.addresses.map(\.text)) } == expected.networks.mapValues(Set.init))
        #expect(container.exposed == Set(expected.exposed.map { Port($0)! }))
    }

    @Test(arguments: Recorded.engines)
    func `a container in another one's network names it, and a network its gateways`(engine: String) throws {
        let rider = try #require(try container("shared-network", of: engine))
        let carrier = try #require(try container("ephemeral", of: engine))
        guard case .container(let id) = rider.network else {
            Issue.record("\(rider.network)")
            return
        }
        #expect(InstanceID(containerID: id) == carrier.id)
        #expect(rider.networks == [:] && rider.exposed == [Port(8000)!])
        let six = try #require(try container("ipv6-network", of: engine)).networks["six"]
        #expect(six?.gateways == [IPAddress("172.19.0.1")!, IPAddress("fd00:77::1")!])
        let list = try Recorded.answer("containers/json", of: engine)
        let listed = try JSONDecoder().decode([WireListed].self, from: Data(list.utf8)).map(Docker.Listed.init)
        #expect(listed.first { $0.name == "shared-network" }?.network == rider.network)
        #expect(listed.first { $0.name == "ipv6-network" }?.networks["six"] == six)
    }

    @Test func `a network has up to one address of each family, and gateways`() throws {
        let json = #"""
            {"Id":"0123456789ab","State":{"Running":true},"HostConfig":{"NetworkMode":"container:abc"},
             "Config":{"ExposedPorts":{"80/tcp":{},"53/udp":{},"x/tcp":{},"90/tcp":null}},
             "NetworkSettings":{"Ports":{"81/tcp":null},"Networks":{"a":null,"b":{},"c":{"IPAddress":"172.18.0.2",
              "Gateway":"172.18.0.1","GlobalIPv6Address":"fd00::2","IPv6Gateway":"fd00::1"},
              "d":{"IPAddress":"","Gateway":"x","GlobalIPv6Address":"::"}}}}
            """#
        let container = try #require(try container(json: json))
        #expect(container.network == .container("abc"))
        #expect(container.exposed == Set([80, 81, 90].map { Port($0)! }))
        let full = Docker.NetworkAddresses(
            addresses: [IPAddress("172.18.0.2")!, IPAddress("fd00::2")!],
            gateways: [IPAddress("172.18.0.1")!, IPAddress("fd00::1")!])
        let none = Docker.NetworkAddresses()
        #expect(container.networks == ["a": none, "b": none, "c": full, "d": none])
    }

    @Test(arguments: [
        ("", Docker.NetworkMode.own), ("default", .own), ("bridge", .own), ("front", .own), ("slirp4netns", .own),
        ("host", .host), ("none", .none), ("container:web", .container("web")),
    ])
    func `a network mode is a network, the host's, none or another container's`(text: String, mode: Docker.NetworkMode)
    {
        #expect(Docker.NetworkMode(text) == mode)
    }

    @Test(arguments: Recorded.engines)
    func `only a container with a HEALTHCHECK has a health`(engine: String) throws {
        let healths: [(String, Docker.Health?)] = [
            ("healthy", .healthy), ("starting", .starting), ("unhealthy", .unhealthy(failures: 7)), ("ephemeral", nil),
        ]
        for (name, health) in healths {
            #expect(try #require(try container(name, of: engine)).health == health, "\(name)")
        }
    }

    @Test(arguments: [
        (#"{"Status":"starting","FailingStreak":2}"#, Docker.Health?.some(.starting)),
        (#"{"Status":"healthy","FailingStreak":0}"#, .healthy),
        (#"{"Status":"unhealthy","FailingStreak":3}"#, .unhealthy(failures: 3)),
        // No HEALTHCHECK: Docker where an image's was switched off, and Podman. Words of the future count as none.
        (#"{"Status":"none","FailingStreak":0}"#, nil), (#"{"Status":""}"#, nil), ("null", nil), ("{}", nil),
        (#"{"Status":"dreaming"}"#, nil),
    ])
    func `the health is what the engine calls it`(json: String, health: Docker.Health?) throws {
        let state = #"{"Running":true,"Health":\#(json)}"#
        #expect(try container(json: #"{"Id":"0123456789abcdef","State":\#(state)}"#)?.health == health)
    }

    @Test(arguments: [
        ("Up 2 hours (healthy)", "Up 3 hours (healthy)", true),
        ("Up 2 hours (healthy)", "Up 2 hours (unhealthy)", false),
        ("Up 2 seconds (health: starting)", "Up 3 seconds (healthy)", false),
        ("Up 2 seconds", "Up 1 second", true), ("", "Up", true),
    ])
    func `a line of the list differs where the health does, and not with the time`(
        first: String, second: String, isEqual: Bool
    ) throws {
        func listed(_ status: String) throws -> Docker.Listed {
            let json = #"{"Id":"0123456789abcdef","State":"running","Status":"\#(status)"}"#
            return Docker.Listed(try JSONDecoder().decode(WireListed.self, from: Data(json.utf8)))
        }
        #expect(try (listed(first) == listed(second)) == isEqual)
    }

    @Test(arguments: Recorded.engines)
    func `a container that was started by an image's id names no image`(engine: String) throws {
        let container = try #require(try container("by-id", of: engine))
        #expect(container.image.hasPrefix("sha256:") && container.image.utf8.count == 71)
        #expect(container.bindings == [Self.binding(8000, "0.0.0.0", 8005), Self.binding(8000, "::", 8005)])
    }

    @Test(arguments: Recorded.engines)
    func `addresses of the loopback interface stay what they are`(engine: String) throws {
        let container = try #require(try container("ipv6-binding", of: engine))
        #expect(container.bindings == [Self.binding(8000, "::1", 8009), Self.binding(8000, "127.0.0.1", 8010)])
    }

    @Test(arguments: [("0", 0), ("-1", 86_400), ("9223372036854775807", 86_400), ("30", 30), ("null", 10)])
    func `a negative stop timeout is one without end`(timeout: String, seconds: Int) throws {
        let json =
            #"{"Id":"aaaaaaaaaaaabbbb","Config":{"StopTimeout":\#(timeout)},"State":{"Status":"running","Running":true}}"#
        let container = try JSONDecoder().decode(WireContainer.self, from: Data(json.utf8)).container()
        #expect(container?.stopTimeout == .seconds(seconds))
    }

    @Test(arguments: Recorded.engines)
    func `how a container wants to be stopped is known`(engine: String) throws {
        let container = try #require(try container("stop-signal", of: engine))
        #expect(container.stopSignal == Docker.StopSignal("INT"))
        #expect(container.stopTimeout == .seconds(3))
        let ordinary = try #require(try self.container("compose", of: engine))
        #expect(ordinary.stopSignal == .standard && ordinary.stopTimeout == .seconds(10))
        #expect(ordinary.labels["com.docker.compose.service"] == "cart")
    }

    @Test(arguments: Recorded.engines)
    func `the list says which containers run, and each changes when something about it does`(engine: String) throws {
        let json = try Recorded.answer("containers/json", of: engine)
        let listed = try JSONDecoder().decode([WireListed].self, from: Data(json.utf8)).map(Docker.Listed.init)
        #expect(listed.count == 21)
        #expect(listed.count(where: \.isRunning) == 19)
        #expect(Set(listed.map(\.fingerprint)).count == 21)
        #expect(listed.allSatisfy { InstanceID(containerID: $0.id) != nil })
    }

    @Test(arguments: [
        ("engine-20.10", "1.41", "1.41", "EM7D:BVH4:TCFE:FGAB:2CFW:AXO6:JJN7:U4GK:XGFF:7JPL:XC4F:VWD2"),
        ("engine-26.1", "1.45", "1.44", "7fa703da-d035-4631-9ad8-924eb104f049"),
    ])
    func `an engine says who it is, and which version to speak with it`(
        engine: String, offered: String, spoken: String, id: String
    ) throws {
        let head = try Recorded.answer("_ping", of: engine)
        #expect(head.contains("Api-Version: \(offered)\n"))
        let version = try #require(Docker.Version(offered))
        #expect(Docker.Version.negotiated(with: version) == Docker.Version(spoken))
        let info = try JSONDecoder().decode(WireInfo.self, from: Data(try Recorded.answer("info", of: engine).utf8))
        #expect(info.ID == id)
        #expect(info.Name == "vm")
    }

    @Test(arguments: Recorded.engines)
    func `every event names the container that it is about`(engine: String) throws {
        let lines = try Recorded.answer("events", of: engine).split(separator: "\n")
        let wires = try lines.map { try JSONDecoder().decode(WireEvent.self, from: Data($0.utf8)) }
        let events = wires.map(Docker.Event.init)
        #expect(events.allSatisfy { $0.container?.utf8.count == 64 })
        #expect(events.contains { !$0.isOfContainer })
        #expect(
            Set(wires.filter { $0.Type == "container" }.compactMap(\.Action)) == [
                "start", "die", "stop", "kill", "pause", "unpause", "restart", "rename", "update", "destroy",
                "health_status: healthy", "health_status: unhealthy",
            ])
        #expect(Set(events.compactMap(\.signal)) == [1, 9, 15])
        #expect(events.count(where: \.isStart) == wires.count { $0.Action == "start" })
    }

    // MARK: Other engines

    @Test func `API 1.52 leaves out the network's top-level fields and the old words of events`() throws {
        let json = #"""
            {"Id":"4b2965f7749d9e09f547335c5b2d81c55a39a118a92598b2bfcd652d7312acdc","Name":"/web",
             "State":{"Status":"running","Running":true,"Paused":false,"Restarting":false,"StartedAt":"2025-11-10T10:00:00Z"},
             "Config":{"Image":"lab/web:1.2","Env":null,"Labels":null},
             "NetworkSettings":{"SandboxID":"x","SandboxKey":"/x","Ports":{"8000/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]},
              "Networks":{"bridge":{"IPAddress":"172.17.0.2","GwPriority":0}}},
             "ImageManifestDescriptor":{"mediaType":"x","size":1}}
            """#
        let container = try #require(try container(json: json))
        #expect(container.bindings == [Self.binding(8000, "0.0.0.0", 8080)])
        #expect(container.labels.isEmpty && container.environment.isEmpty)
        let line =
            #"{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"c"}},"scope":"local","time":1}"#
        let event = Docker.Event(try JSONDecoder().decode(WireEvent.self, from: Data(line.utf8)))
        #expect(event.container == "c" && !event.isOfContainer)
    }

    @Test func `Podman writes no address, and a health without status`() throws {
        let json = #"""
            {"Id":"4b2965f7749d9e09f547335c5b2d81c55a39a118a92598b2bfcd652d7312acdc","Name":"web",
             "State":{"Status":"running","Running":true,"Paused":false,"StartedAt":"2024-05-01T12:00:00.1+02:00",
              "Health":{"Status":"","FailingStreak":0,"Log":null}},
             "Config":{"Image":"localhost/lab/web:1.2","Env":["container=podman"],"Labels":{"a":"b"}},
             "NetworkSettings":{"Ports":{"8000/tcp":[{"HostIp":"","HostPort":"8080"}],"9000/tcp":null}}}
            """#
        let container = try #require(try container(json: json))
        #expect(container.name == "web")
        #expect(container.bindings == [Self.binding(8000, nil, 8080)])
    }

    @Test(arguments: [
        "null", "{}", #"{"8000/tcp":null}"#, #"{"8000/tcp":[]}"#, #"{"8000/udp":[{"HostIp":"","HostPort":"1"}]}"#,
        #"{"8000/sctp":[{"HostIp":"","HostPort":"1"}]}"#, #"{"8000":[{"HostIp":"","HostPort":"1"}]}"#,
        #"{"/tcp":[{"HostIp":"","HostPort":"1"}]}"#, #"{"0/tcp":[{"HostIp":"","HostPort":"1"}]}"#,
        #"{"8000-8010/tcp":[{"HostIp":"","HostPort":"1"}]}"#, #"{"8000/tcp/x":[{"HostIp":"","HostPort":"1"}]}"#,
        #"{"8000/tcp":[{"HostIp":"","HostPort":""}]}"#, #"{"8000/tcp":[{"HostIp":"","HostPort":"0"}]}"#,
        #"{"8000/tcp":[{"HostIp":"","HostPort":"99999"}]}"#, #"{"8000/tcp":[{"HostIp":""}]}"#,
        #"{"8000/tcp":[{"HostIp":"host","HostPort":"1"}]}"#, #"{"8000/tcp":[{"HostIp":"1.2.3.4\n","HostPort":"1"}]}"#,
        #"{"8000/tcp":[{"HostIp":"fe80::1%eth0","HostPort":"1"}]}"#,
    ])
    func `bindings that make no sense are left out`(ports: String) throws {
        #expect(try bindings(ports) == [])
    }

    @Test func `one binding that makes no sense leaves the others`() throws {
        let ports =
            #"{"8000/tcp":[{"HostIp":"x","HostPort":"1"},{"HostIp":"10.0.0.1","HostPort":"2"}],"x":[],"9/tcp":[{"HostPort":"3"}]}"#
        #expect(try bindings(ports) == [Self.binding(8000, "10.0.0.1", 2), Self.binding(9, nil, 3)])
    }

    @Test func `an environment with lines of any kind is read as far as it has names`() throws {
        let json = #"{"Id":"0123456789ab","State":{"Running":true},"Config":{"Env":["A=1","B","=x","C=a=b","A=2",""]}}"#
        #expect(try container(json: json)?.environment == ["A": "2", "": "x", "C": "a=b"])
    }

    @Test(arguments: [
        "", "0123456789a", "0123456789AB", "../../etc/passwd", "sha256:0123456789ab", "0123456789a\\u0000",
    ])
    func `an id that is none is an error, not a container`(id: String) throws {
        let wire = try JSONDecoder().decode(
            WireContainer.self, from: Data(#"{"Id":"\#(id)","State":{"Running":true}}"#.utf8))
        #expect(throws: Docker.Error.self) { try wire.container() }
    }

    @Test(arguments: [
        ("whoami", "whoami"), ("abcdef012345", "sha256:abcdef0123456789"), ("abcd", "sha256:abcdef0123456789"),
        ("abc", "abc"), ("sha256:abcdef0123456789", "sha256:abcdef0123456789"), ("", ""),
    ])
    func `an image that was named by a part of its id is its whole id, which is no name`(
        typed: String, image: String
    ) throws {
        let id = String(repeating: "a", count: 64)
        let json =
            #"{"Id":"\#(id)","Image":"sha256:abcdef0123456789","Config":{"Image":"\#(typed)"},"State":{"Running":true}}"#
        let wire = try JSONDecoder().decode(WireContainer.self, from: Data(json.utf8))
        #expect(try wire.container()?.image == image)
    }
}
