// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import FoundationEssentials
import Shared
import Testing

@testable import Register

/// What real engines have answered, and what newer ones are documented to answer.
@Suite("Docker answers")
struct DockerAnswersTests {
    private func container(_ name: String) throws -> Docker.Container? {
        try container(json: Recorded.answer("containers/\(name)/json"))
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

    // MARK: Recorded

    @Test func `a container with several bindings has all of them that are TCP`() throws {
        let container = try #require(try container("several-bindings"))
        #expect(container.id.text == "4b2965f7749d")
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

    @Test(arguments: ["exposed-only", "host-network", "nothing-published", "udp-only"])
    func `what publishes no TCP port runs, without bindings`(name: String) throws {
        #expect(try #require(try container(name)).bindings == [])
    }

    @Test(arguments: ["paused", "restarting"])
    func `what is paused or restarts counts as not running`(name: String) throws {
        #expect(try container(name) == nil)
    }

    @Test(arguments: [
        ("ephemeral", "whoami", 32768), ("health", "whoami", 8004), ("own-network", "whoami", 8007),
        // The image's name went to another image later; the container keeps what was typed.
        ("moved-tag", "old:1", 8006),
        ("by-id", "sha256:01651c3381c4535f6ea71a532a8f184c6557a269a866d79bc0790c4d70b66b48", 8005),
    ])
    func `an ordinary container is reached on all addresses, whatever its network, health and image`(
        name: String, image: String, port: Int
    ) throws {
        let container = try #require(try container(name))
        #expect(container.name == name)
        #expect(container.image == image)
        #expect(container.bindings == [Self.binding(8000, "0.0.0.0", port), Self.binding(8000, "::", port)])
    }

    @Test func `only the container with a HEALTHCHECK has a health`() throws {
        #expect(try #require(try container("health")).health == .healthy)
        #expect(try #require(try container("ephemeral")).health == nil)
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

    @Test func `the list says which containers run, and who answers is told`() throws {
        let json = try Recorded.answer("containers/json")
        let listed = try JSONDecoder().decode([WireListed].self, from: Data(json.utf8)).map(Docker.Listed.init)
        #expect(listed.count == 12)
        #expect(listed.count(where: \.isRunning) == 10)
        #expect(Set(listed.map(\.fingerprint)).count == 12)
        let info = try JSONDecoder().decode(WireInfo.self, from: Data(try Recorded.answer("info").utf8))
        #expect(info.ID == "EM7D:BVH4:TCFE:FGAB:2CFW:AXO6:JJN7:U4GK:XGFF:7JPL:XC4F:VWD2")
        #expect(info.Name == "vm")
    }

    @Test func `every event names the container that it is about`() throws {
        let lines = try Recorded.answer("events").split(separator: "\n")
        let wires = try lines.map { try JSONDecoder().decode(WireEvent.self, from: Data($0.utf8)) }
        let events = wires.map(Docker.Event.init)
        #expect(events.allSatisfy { $0.container?.utf8.count == 64 })
        #expect(events.contains { !$0.isOfContainer } && events.contains(where: \.isOfContainer))
        #expect(wires.contains { $0.Action == "health_status: healthy" })
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
