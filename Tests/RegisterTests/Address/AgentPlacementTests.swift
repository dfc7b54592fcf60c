// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import FoundationEssentials
import Shared
import Testing

@testable import Register

@Suite("AgentPlacement")
struct AgentPlacementTests {
    private static func id(_ letter: Character) -> String { String(repeating: letter, count: 64) }

    private func listed(_ letter: Character, mode: String, gateway: String = "") throws -> Docker.Listed {
        let json = #"""
            {"Id":"\#(Self.id(letter))","Names":["/c-\#(letter)"],"State":"running","HostConfig":{"NetworkMode":"\#(mode)"},
             "NetworkSettings":{"Networks":{"net":{"IPAddress":"172.18.0.2","Gateway":"\#(gateway)"}}}}
            """#
        return Docker.Listed(try JSONDecoder().decode(WireListed.self, from: Data(json.utf8)))
    }

    private func signs(_ id: Character?, hostName: String = "host1") -> AgentPlacement.Evidence {
        AgentPlacement.Evidence(id: id.map(Self.id), hostName: hostName)
    }

    private static let noBridge = NetworkInterfaces(entries: [], names: ["lo", "eth0"])
    private static let bridge = NetworkInterfaces(entries: [], names: ["lo", "eth0", "docker0"])

    @Test func `outside of containers it is the host`() {
        #expect(!signs(nil).isInContainer && !signs(nil, hostName: "cafe").isInContainer)
        #expect(AgentPlacement(signs(nil), among: [], Self.noBridge) == .host)
        #expect(AgentPlacement(signs(nil, hostName: "0123456789ab"), among: [], Self.noBridge) == .host)
    }

    @Test func `in a container the engine's list tells whose network it is`() throws {
        let gateway: Set<IPAddress> = [IPAddress("172.18.0.1")!]
        let all = [
            try listed("a", mode: "bridge", gateway: "172.18.0.1"), try listed("b", mode: "host"),
            try listed("c", mode: "container:\(Self.id("a"))"), try listed("d", mode: "container:c-b"),
            try listed("e", mode: "container:\(Self.id("e"))"),
        ]
        #expect(AgentPlacement(signs("a"), among: all, Self.noBridge) == .container("c-a", gateways: ["net": gateway]))
        #expect(AgentPlacement(signs("b"), among: all, Self.noBridge) == .host)
        #expect(AgentPlacement(signs("c"), among: all, Self.noBridge) == .container("c-c", gateways: ["net": gateway]))
        #expect(AgentPlacement(signs("d"), among: all, Self.noBridge) == .host)
        #expect(AgentPlacement(signs("e"), among: all, Self.noBridge) == .container("c-e", gateways: [:]))
        let byName = signs(nil, hostName: String(Self.id("a").prefix(12)))
        #expect(AgentPlacement(byName, among: all, Self.noBridge) == .container("c-a", gateways: ["net": gateway]))
    }

    @Test func `in a container that the engine does not know, the engine's bridges show the host's network`() {
        #expect(AgentPlacement(signs("f"), among: [], Self.bridge) == .host)
        #expect(AgentPlacement(signs("f"), among: [], Self.noBridge) == .container(nil, gateways: [:]))
    }

    @Test func `a container's mounts show its id`() {
        let id = Self.id("1")
        let mounts = """
            600 500 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/\(Self.id("2"))/diff
            610 600 254:1 /var/lib/docker/containers/\(id)/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda rw
            611 600 254:1 /var/lib/docker/containers/\(id)/hostname /etc/hostname rw - ext4 /dev/vda rw
            """
        #expect(AgentPlacement.Evidence.id(in: mounts) == id)
        #expect(AgentPlacement.Evidence.id(in: mounts.split(separator: "\n").dropLast().joined(separator: "\n")) == id)
        let podman = "1 2 0:24 /containers/overlay-containers/\(id)/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw"
        #expect(AgentPlacement.Evidence.id(in: podman) == id)
        #expect(AgentPlacement.Evidence.id(in: "1 2 254:1 / / rw - ext4 /dev/vda rw\n1\n") == nil)
        #expect(AgentPlacement.Evidence.id(in: "1 2 254:1 /etc/hostname /etc/hostname rw - ext4 /dev/vda rw") == nil)
    }
}
