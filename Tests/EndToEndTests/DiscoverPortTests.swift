import FoundationEssentials
import Shared
import TestSupport
import Testing

extension DiscoverLab {
    /// The port that a service keeps, once the registry says so.
    func claim(of service: String) async -> Int? {
        var port: Int?
        _ = await eventually {
            let lines = try? await self.etcd.ctl("get", "--print-value-only", "/backends-ports/\(service)")
            let value = lines?.first.flatMap { try? JSONDecoder().decode(Claim.self, from: Data($0.utf8)) }
            port = value?.port
            return port != nil
        }
        return port
    }

    private struct Claim: Decodable {
        let port: Int
    }
}

@Suite(
    "docker-discover's ports", .timeLimit(.minutes(2)), .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct DiscoverPortTests {
    private let one: StubServer
    private let two: StubServer
    private let shared: Int

    init() throws {
        one = try DiscoverLab.backend("one")
        two = try DiscoverLab.backend("two")
        shared = try FreePort.take()
    }

    private func meta(_ port: Int) -> String { "{\"port\":\(port)}" }

    /// Puts two services that ask for the same port, and gives the port that the second one is given.
    private func conflict(in lab: DiscoverLab) async throws -> Int {
        try await lab.put(["one/1/meta": meta(shared), "one/1": "127.0.0.1:\(one.port)"])
        #expect(await lab.claim(of: "one") == shared)
        try await lab.put(["two/1/meta": meta(shared), "two/1": "127.0.0.1:\(two.port)"])
        return try #require(await lab.claim(of: "two"))
    }

    @Test func `two services that ask for one port are served at two, the same at all consumers and after restarts`()
        async throws
    {
        try await withDiscoverLab { lab in
            let first = try lab.start(["LISTEN_ADDRESS": "127.0.0.1"])
            let given = try await conflict(in: lab)
            try lab.start([
                "LISTEN_ADDRESS": "127.0.0.2", "STATE_DIR": lab.folder.path + "/other",
                "STATS_BIND": ":\(try FreePort.take())",
            ])
            for address in ["127.0.0.1", "127.0.0.2"] {
                #expect(await DiscoverLab.answers(shared, "one", at: address))
                #expect(await DiscoverLab.answers(given, "two", at: address))
            }
            #expect(
                first.log.contain("port conflict: service listens on another port", "service=two", "\(given) is used"))
            // A rolling deployment: all that asked first is gone in the end.
            try await lab.put(["one/2/meta": meta(shared), "one/2": "127.0.0.1:\(one.port)"])
            try await lab.etcd.ctl("del", "/backends/one/1")
            try await lab.etcd.ctl("del", "/backends/one/1/meta")
            #expect(await eventually { lab.configuration.contains("server 2 127.0.0.1:\(one.port)") })
            #expect(await DiscoverLab.get(shared) == "one")
            #expect(try await first.stop() == .exited(0))
            try await lab.etcd.kill()
            try lab.start(["LISTEN_ADDRESS": "127.0.0.1"])
            #expect(await DiscoverLab.answers(shared, "one"))
            #expect(await DiscoverLab.answers(given, "two"))
            #expect(lab.configuration.contains("bind 127.0.0.1:\(given)\n"))
        }
    }

    @Test func `a service without endpoints finds its port again, and an operator's word counts more`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            let given = try await conflict(in: lab)
            try await lab.etcd.ctl("del", "--prefix", "/backends/one/")
            #expect(await DiscoverLab.answers(shared, "two"))
            #expect(await DiscoverLab.answers(given, "two"))
            try await lab.put(["one/3/meta": meta(shared), "one/3": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(shared, "one"))
            #expect(await DiscoverLab.get(given) == "two")
            try await lab.put(["two/config": meta(shared)])
            #expect(await DiscoverLab.answers(shared, "two"))
            #expect(await agent.logs("service=one", "belongs to service two"))
            let moved = await eventually { await lab.claim(of: "one") != shared }
            #expect(moved)
            #expect(await DiscoverLab.answers(try #require(await lab.claim(of: "one")), "one"))
        }
    }

    @Test func `a renamed service gets its port once its predecessor is gone, and keeps the other one`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            let given = try await conflict(in: lab)
            #expect(await DiscoverLab.answers(given, "two"))
            let command = "etcdctl put /backends/two/port \(shared)"
            #expect(await agent.logs("level=error", "service=two", "\(given) is used", command))
            try await lab.etcd.ctl("del", "--prefix", "/backends/one/")
            #expect(await DiscoverLab.answers(shared, "two"))
            #expect(await DiscoverLab.answers(given, "two"))
            #expect(await agent.logs("problem resolved", "service=two"))
            // A newcomer does not get it; an older one that comes back does.
            try await lab.put(["three/1/meta": meta(shared), "three/1": "127.0.0.1:\(one.port)"])
            #expect(await agent.logs("service=three", "belongs to service two"))
            #expect(await DiscoverLab.get(shared) == "two")
            try await lab.put(["one/2/meta": meta(shared), "one/2": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(shared, "one"))
            #expect(await DiscoverLab.get(given) == "two")
        }
    }

    @Test(.enabled(if: RealParts.hasIPv6, "this machine has no IPv6"))
    func `localhost is both loopback addresses, for services and for the stats page`() async throws {
        try await withDiscoverLab { lab in
            try lab.start()
            try await lab.put(["one/1/meta": meta(shared), "one/1": "127.0.0.1:\(one.port)"])
            for address in ["127.0.0.1", "[::1]", "localhost"] {
                #expect(await DiscoverLab.answers(shared, "one", at: address))
                #expect(await DiscoverLab.get(lab.statsPort, "/healthz", at: address) != nil)
            }
            let status = try await lab.command("why", "localhost:\(shared)")
            #expect(status.ending == .exited(0))
            #expect(status.lines.joined().contains("one is served at :\(shared), [::1]:\(shared)"))
        }
    }

    @Test func `labels ask for no other ports and addresses than a client host allows`() async throws {
        try await withDiscoverLab { lab in
            let other = try FreePort.take()
            let agent = try lab.start(["ALLOWED_PORTS": "\(other)", "LISTEN_ADDRESS": "127.0.0.1"])
            try await lab.put([
                "one/1/meta": meta(shared), "one/1": "127.0.0.1:\(one.port)",
                "two/1/meta": "{\"port\":\(other),\"listen_address\":\"0.0.0.0\"}", "two/1": "127.0.0.1:\(two.port)",
            ])
            #expect(await DiscoverLab.answers(other, "two"))
            #expect(lab.configuration.contains("bind 127.0.0.1:\(other)\n"))
            #expect(await agent.logs("level=warning", "service=two", "a label asks for 0.0.0.0, and LISTEN_ADDRESS"))
            #expect(await agent.logs("level=error", "service=one", "port \(shared) is not in ALLOWED_PORTS (\(other))"))
            try await lab.put(["one/port": "\(shared)"])
            #expect(await DiscoverLab.answers(shared, "one"))
        }
    }

    @Test func `where etcd allows only reading, services that need no other port are served`() async throws {
        try await withDiscoverLab { lab in
            for command in [
                ["user", "add", "root:root"], ["user", "grant-role", "root", "root"], ["role", "add", "reader"],
                ["role", "grant-permission", "reader", "--prefix=true", "read", "/backends/"],
                ["user", "add", "reader:secret"], ["user", "grant-role", "reader", "reader"],
            ] { try await lab.etcd.ctl(command) }
            try await lab.put(["one/1/meta": meta(shared), "one/1": "127.0.0.1:\(one.port)"])
            try await lab.put(["two/1/meta": meta(shared), "two/1": "127.0.0.1:\(two.port)"])
            try await lab.etcd.ctl("auth", "enable")
            let agent = try lab.start(["ETCD_USER": "reader", "ETCD_PASSWORD": "secret"])
            #expect(await DiscoverLab.answers(shared, "one"))
            #expect(await agent.logs("level=error", "cannot write port claims", "permission denied"))
            #expect(!lab.configuration.contains("listen two\n"))
        }
    }

    @Test func `two hosts with one HOST_IP, and one on no interface of this host, are warned of`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            let name = ProcessInfo.processInfo.hostName
            func meta(_ host: String) -> String { #"{"host":"\#(host)","owner":"E@192.0.2.77"}"# }
            try await lab.put([
                "one/1/meta": meta("other"), "one/1": "192.0.2.77:\(one.port)",
                "two/1/meta": meta(name), "two/1": "192.0.2.77:\(two.port)",
            ])
            #expect(
                await agent.logs(
                    "level=warning", "several hosts register with the same HOST_IP", "host_ip=192.0.2.77", name, "other"
                ))
            #expect(
                await agent.logs(
                    "level=warning", "HOST_IP is on no interface of this host", "host_ip=192.0.2.77", "NAT"))
            try await lab.etcd.ctl("del", "--prefix", "/backends/two/")
            #expect(await agent.logs("level=info", "problem resolved", "host_ip=192.0.2.77", "NAT"))
        }
    }

    @Test func `an address that is not the host's makes only its service wait`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            let other = try FreePort.take()
            try await lab.put([
                "two/config": "{\"port\":\(other),\"listen_address\":\"192.0.2.1\"}", "two/1": "127.0.0.1:\(two.port)",
                "one/config": "{\"port\":\(shared),\"listen_address\":\"::\"}", "one/1": "127.0.0.1:\(one.port)",
            ])
            #expect(await DiscoverLab.answers(shared, "one"))
            #expect(await DiscoverLab.answers(shared, "one", at: "[::1]"))
            #expect(await agent.logs("service=two", "port \(other) is not to be had: Cannot assign requested address"))
            // From one address to all of them while it runs.
            try await lab.put(["one/config": "{\"port\":\(shared),\"listen_address\":\"127.0.0.1\"}"])
            #expect(await eventually { lab.configuration.contains("bind 127.0.0.1:\(shared)\n") })
            try await lab.put(["one/config": "{\"port\":\(shared)}", "two/config": "{\"port\":\(other)}"])
            #expect(await eventually { lab.configuration.contains("bind :\(shared)\n") })
            #expect(await DiscoverLab.answers(other, "two"))
            #expect(await DiscoverLab.get(shared) == "one")
        }
    }
}
