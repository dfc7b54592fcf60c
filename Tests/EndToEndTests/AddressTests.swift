import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "Addresses on real engines",
    .enabled(
        if: RealParts.canRun(
            "etcd", "etcdctl", "dockerd", "docker", "haproxy", "ip", "nsenter", "curl", "ldd", asRoot: true),
        "needs root, Docker, etcd, HAProxy, curl and iproute2"),
    .serialized, .timeLimit(.minutes(5)))
struct AddressTests {
    /// A backend host with an engine that knows the image `whoami`, etcd on another host, and a client.
    private struct Fleet: Sendable {
        let laboratory: Laboratory
        let host: Laboratory.Host
        let engine: Engine

        func register(_ environment: [String: String] = [:]) throws -> Agent {
            try laboratory.register(on: host, engine: engine, environment)
        }

        /// Waits until the registry holds just these endpoints, each as `service id address`.
        func holds(_ expected: String...) async -> Bool {
            await eventually {
                let endpoints = try? await laboratory.endpoints()
                let lines = endpoints?.map {
                    "\($0.key.split(separator: "/").dropFirst().joined(separator: " ")) \($0.value)"
                }
                return lines?.sorted() == expected.sorted()
            }
        }

        /// The host port of a container's port.
        func port(_ container: String, _ port: Int = 8000, of address: String = "0.0.0.0") async throws -> String {
            let lines = try await engine.docker("port", container, "\(port)/tcp")
            return lines.first { $0.hasPrefix("\(address):") }?.split(separator: ":").last.map(String.init) ?? ""
        }

        func inspect(_ container: String, _ format: String) async throws -> String {
            try await engine.docker("inspect", "-f", format, container).first ?? ""
        }

        func ip(_ arguments: String) async throws {
            let words = arguments.split(separator: " ").map(String.init)
            try await laboratory.run("ip", words, on: host)
        }
    }

    private func withFleet(_ body: @Sendable (Fleet) async throws -> Void) async throws {
        try await Laboratory.with("etcd", "backend", "client") { laboratory in
            let host = try laboratory.host("backend")
            try await laboratory.startEtcd()
            let engine = try await Engine(in: laboratory, on: host)
            try await engine.importWhoami("whoami")
            try await body(Fleet(laboratory: laboratory, host: host, engine: engine))
        }
    }

    // MARK: What is registered

    @Test
    func `in the host's network, ports that labels name are registered, and exposed ones while something listens`()
        async throws
    {
        try await withFleet { fleet in
            let address = fleet.host.address
            let named = try await fleet.engine.run(
                "--network", "host", "-e", "PORT=9000", "-l", "SERVICE_9000_NAME=admin", "whoami")
            let single = try await fleet.engine.run(
                "--network", "host", "-e", "PORT=9100", "-l", "SERVICE_PORT=9100", "-l", "SERVICE_NAME=api", "whoami")
            let waiting = "until [ -e /go ]; do /bin/busybox usleep 20000; done; exec /bin/whoami-server"
            let late = try await fleet.engine.run(
                "--network", "host", "--name", "late", "--entrypoint", "/bin/sh", "whoami", "-c", waiting)
            let agent = try fleet.register()
            #expect(await fleet.holds("admin \(named) \(address):9000", "api \(single) \(address):9100"))
            #expect(await agent.logs("container=late", "port 8000 not registered: nothing listens on it"))

            try await fleet.engine.docker("exec", "late", "/bin/busybox", "touch", "/go")
            #expect(
                await fleet.holds(
                    "admin \(named) \(address):9000", "api \(single) \(address):9100", "whoami \(late) \(address):8000")
            )
            let answers = try await fleet.laboratory.requests(
                2, to: "http://\(address):8000/", from: try fleet.laboratory.host("client"))
            #expect(answers.allSatisfy { $0 == "I'm \(late)" })
            // Whoever only asks looks at the ports too: nothing is to be done.
            let settings = [
                "HOST_IP": "eth0", "ETCD_HOST": try fleet.laboratory.etcdAddress(), "DOCKER_HOST": fleet.engine.url,
            ]
            let program = "\(Laboratory.programFolder)/docker-register"
            #expect(try await fleet.laboratory.run(program, "--dry-run", on: fleet.host, settings) == [])
            // A new agent does not withdraw what it has yet to look at.
            let watched = CapturedLines()
            let watch = try fleet.laboratory.start(
                "etcdctl", ["watch", "--prefix", "/backends/"], on: fleet.host,
                ["ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": try fleet.laboratory.etcdAddress()], onLine: watched.add)
            _ = try await agent.stop()
            let next = try fleet.register()
            #expect(await next.logs("registered", late))
            try await fleet.engine.docker("rm", "-f", named)
            #expect(await next.logs("withdrawn", named))
            watch.signal(SIGKILL)
            #expect(watched.all.count { $0 == "DELETE" } == 1)
            try await fleet.engine.docker("stop", "late")
            #expect(await fleet.holds("api \(single) \(address):9100"))
        }
    }

    @Test func `with --internal the containers' own addresses are registered, in the network that is chosen`()
        async throws
    {
        try await withFleet { fleet in
            try await fleet.engine.docker("network", "create", "front")
            try await fleet.engine.docker("network", "create", "back")
            let plain = try await fleet.engine.run("whoami")
            let labelled = try await fleet.engine.run("--network", "front", "-l", "SERVICE_NETWORK=front", "whoami")
            let chosen = try await fleet.engine.run("--network", "front", "-p", "127.0.0.1::8000", "whoami")
            let torn = try await fleet.engine.run("--name", "torn", "--network", "front", "whoami")
            for container in [labelled, chosen] {
                try await fleet.engine.docker("network", "connect", "back", container)
            }
            try await fleet.engine.docker("network", "connect", "bridge", torn)
            func entry(_ container: String, _ network: String) async throws -> String {
                let format = "{{(index .NetworkSettings.Networks \"\(network)\").IPAddress}}"
                return "whoami \(container) \(try await fleet.inspect(container, format)):8000"
            }
            let undecided = try fleet.register(["INTERNAL": "true"])
            #expect(await fleet.holds(try entry(plain, "bridge"), try entry(labelled, "front")))
            #expect(await undecided.logs("container=torn", "in several networks (bridge, front)", "SERVICE_NETWORK"))
            _ = try await undecided.stop()

            let agent = try fleet.register(["INTERNAL": "true", "INTERNAL_NETWORK": "back"])
            #expect(await fleet.holds(try entry(labelled, "front"), try entry(chosen, "back")))
            #expect(await agent.logs("container=torn", "not in the network back of INTERNAL_NETWORK"))
            try await fleet.engine.docker("network", "connect", "back", torn)
            #expect(await fleet.holds(try entry(labelled, "front"), try entry(chosen, "back"), try entry(torn, "back")))
            try await fleet.engine.docker("network", "disconnect", "back", chosen)
            #expect(await fleet.holds(try entry(labelled, "front"), try entry(torn, "back")))
            let url = "http://\(try await fleet.inspect(torn, "{{.NetworkSettings.Networks.back.IPAddress}}")):8000/"
            #expect(try await fleet.laboratory.requests(1, to: url, from: fleet.host) == ["I'm \(torn)"])
        }
    }

    @Test func `a container in another one's network has that one's ports, and goes with it`() async throws {
        try await withFleet { fleet in
            let address = fleet.host.address
            let carrier = try await fleet.engine.run(
                "--name", "carrier", "-p", "8000", "-p", "9000", "-l", "SERVICE_IGNORE=1", "whoami")
            let rider = try await fleet.engine.run(
                "--name", "rider", "--network", "container:carrier", "-e", "PORT=9000", "-l", "SERVICE_9000_NAME=side",
                "whoami")
            let agent = try fleet.register()
            #expect(await fleet.holds("side \(rider) \(address):\(try fleet.port("carrier", 9000))"))
            let url = "http://\(address):\(try await fleet.port("carrier", 9000))/"
            let client = try fleet.laboratory.host("client")
            // Nobody but the rider listens there; it has the host name of the carrier, and its hosts file.
            #expect(try await fleet.laboratory.requests(1, to: url, from: client) == ["I'm \(carrier)"])

            // The carrier's ports change without an event of either container.
            let before = try await fleet.port("carrier", 9000)
            try await fleet.engine.docker("network", "create", "more")
            try await fleet.engine.docker("network", "connect", "more", "carrier")
            try await fleet.engine.docker("network", "disconnect", "bridge", "carrier")
            #expect(await fleet.holds("side \(rider) \(address):\(try fleet.port("carrier", 9000))"))
            #expect(try await fleet.port("carrier", 9000) != before)

            // Restarted, the carrier has another network than the one that the rider is in.
            try await fleet.engine.docker("restart", "carrier")
            #expect(await agent.logs("container=rider", "before its restart"))
            #expect(await fleet.holds())
            try await fleet.engine.docker("restart", "rider")
            #expect(await fleet.holds("side \(rider) \(address):\(try fleet.port("carrier", 9000))"))
            try await fleet.engine.docker("stop", "carrier")
            #expect(await fleet.holds())
            #expect(await agent.logs("container=rider", "network of container \(carrier), which does not run"))
            #expect(try await fleet.inspect("rider", "{{.State.Running}}") == "true")
        }
    }

    @Test func `a port that is published on one address is registered with that one`() async throws {
        try await withFleet { fleet in
            try await fleet.ip("addr add 10.77.0.99/24 dev eth0")
            let one = try await fleet.engine.run("-p", "10.77.0.99::8000", "whoami")
            _ = try await fleet.engine.run("--name", "local", "-p", "127.0.0.1::8000", "whoami")
            _ = try await fleet.engine.run("--name", "inside", "-p", "172.17.0.1::8000", "whoami")
            let agent = try fleet.register()
            #expect(await fleet.holds("whoami \(one) 10.77.0.99:\(try fleet.port(one, of: "10.77.0.99"))"))
            #expect(await agent.logs("container=local", "published on 127.0.0.1, which other hosts cannot reach"))
            #expect(await agent.logs("container=inside", "published on 172.17.0.1", "a containers' network"))
        }
    }

    @Test func `a host with an IPv6 address is reached from another one through HAProxy`() async throws {
        try await withFleet { fleet in
            let client = try fleet.laboratory.host("client")
            let one = try await fleet.engine.run("-P", "whoami")
            let two = try await fleet.engine.run("-p", "[\(fleet.host.address6)]::8000", "whoami")
            let agent = try fleet.register(["HOST_IP": fleet.host.address6])
            let ports = (
                try await fleet.port(one, of: "[::]"), try await fleet.port(two, of: "[\(fleet.host.address6)]")
            )
            let address = "[\(fleet.host.address6)]"
            #expect(await fleet.holds("whoami \(one) \(address):\(ports.0)", "whoami \(two) \(address):\(ports.1)"))
            let discover = try fleet.laboratory.discover(on: client)
            let isServed = await eventually {
                let answers = try? await fleet.laboratory.requests(8, to: "http://localhost:8000/", from: client)
                return Set(answers ?? []) == ["I'm \(one)", "I'm \(two)"]
            }
            #expect(isServed)
            #expect(try await discover.stop() == .exited(0))
            #expect(try await agent.stop() == .exited(0))
        }
    }

    // MARK: HOST_IP

    @Test(arguments: ["eth0", "auto"])
    func `an address that is looked up moves with the host, and a lookup that fails changes nothing`(
        setting: String
    ) async throws {
        try await withFleet { fleet in
            let container = try await fleet.engine.run("-p", "8000:8000", "-p", "9000", "whoami")
            let agent = try fleet.register(["HOST_IP": setting, "TTL": "6"])
            let first = try await fleet.port(container, 9000)
            #expect(
                await fleet.holds(
                    "whoami \(container) \(fleet.host.address):8000",
                    "whoami-9000 \(container) \(fleet.host.address):\(first)"))
            try await fleet.ip("addr del \(fleet.host.address)/24 dev eth0")
            try await fleet.ip("addr add 10.77.0.99/24 dev eth0")
            #expect(await agent.logs("HOST_IP changed", "from=\(fleet.host.address)", "to=10.77.0.99"))
            #expect(
                await fleet.holds(
                    "whoami \(container) 10.77.0.99:8000", "whoami-9000 \(container) 10.77.0.99:\(first)"))
            // What goes after the move is withdrawn although it was put before.
            try await fleet.engine.docker("restart", container)
            let second = try await fleet.port(container, 9000)
            #expect(
                await fleet.holds(
                    "whoami \(container) 10.77.0.99:8000", "whoami-9000 \(container) 10.77.0.99:\(second)"))

            try await fleet.ip("link set eth0 down")
            if setting == "eth0" { try await fleet.ip("addr flush dev eth0") }
            #expect(await agent.logs("HOST_IP lookup failed; keeping the last address"))
            if setting == "eth0" { try await fleet.ip("addr add 10.77.0.99/24 dev eth0") }
            try await fleet.ip("link set eth0 up")
            #expect(await agent.logs("HOST_IP lookup works again"))
            #expect(
                await fleet.holds(
                    "whoami \(container) 10.77.0.99:8000", "whoami-9000 \(container) 10.77.0.99:\(second)"))
            #expect(agent.ending == nil)
        }
    }

    @Test func `an address that is not there yet is waited for, and one that others cannot reach is refused`()
        async throws
    {
        try await withFleet { fleet in
            let container = try await fleet.engine.run("-p", "8000:8000", "whoami")
            // No interface at all.
            let strange = try fleet.register(["HOST_IP": "late1"])
            #expect(try await strange.wait() == .exited(1))
            #expect(strange.log.contain("no network interface late1", "eth0"))
            // Without an address yet.
            try await fleet.ip("link add late0 type bridge")
            let patient = try fleet.register(["HOST_IP": "late0"])
            let puzzled = try fleet.register(["HOST_IP": "auto", "ETCD_HOST": "no-such-host.invalid"])
            #expect(await patient.logs("HOST_IP cannot be determined yet", "late0"))
            #expect(await puzzled.logs("HOST_IP cannot be determined yet", "no-such-host.invalid"))
            try await fleet.ip("addr add 10.88.0.1/24 dev late0")
            try await fleet.ip("link set late0 up")
            #expect(await fleet.holds("whoami \(container) 10.88.0.1:8000"))
            #expect(try await patient.stop() == .exited(0))
            #expect(try await puzzled.stop() == .exited(0))
            #expect(patient.log.count(of: "HOST_IP cannot be determined yet") == 1)

            // Never of use.
            let here = try fleet.register(["HOST_IP": "auto", "ETCD_HOST": "127.0.0.1:2379"])
            #expect(try await here.wait() == .exited(1))
            #expect(here.log.contain("etcd is on this host", "set HOST_IP"))
            for setting in ["172.17.0.1", "docker0"] {
                let bridge = try fleet.register(["HOST_IP": setting])
                #expect(try await bridge.wait() == .exited(1))
                #expect(bridge.log.contain("172.17.0.1", "docker0", "set HOST_IP"))
            }
        }
    }

    @Test func `in a container, the address is looked up only in the host's network`() async throws {
        try await withFleet { fleet in
            let container = try await fleet.engine.run("-p", "8000:8000", "whoami")
            let etcd = try fleet.laboratory.etcdAddress()
            let libraries = try await libraryFolders()
            func register(_ name: String, _ options: String...) async throws -> String {
                let mounts = (libraries + [Laboratory.programFolder]).flatMap { ["-v", "\($0):\($0):ro"] }
                let words =
                    ["run", "-d", "--name", name] + mounts + [
                        "-v", "\(fleet.engine.socket):/var/run/docker.sock", "-e", "ETCD_HOST=\(etcd)", "-e",
                        "SERVICE_IGNORE=1", "--entrypoint", "\(Laboratory.programFolder)/docker-register",
                    ] + options + ["whoami"]
                return try await fleet.engine.docker(words).last ?? ""
            }
            for (name, setting) in [("guess1", "auto"), ("guess2", "eth0")] {
                _ = try await register(name, "-e", "HOST_IP=\(setting)")
                #expect(try await fleet.engine.docker("wait", name) == ["1"])
                let log = try await fleet.engine.docker("logs", name).joined()
                #expect(log.contains("runs in a container (\(name))") && log.contains("--network host"), "\(log)")
            }
            _ = try await register("bridge", "-e", "HOST_IP=172.17.0.1")
            #expect(try await fleet.engine.docker("wait", "bridge") == ["1"])
            _ = try await register("host", "--network", "host", "-e", "HOST_IP=auto")
            #expect(await fleet.holds("whoami \(container) \(fleet.host.address):8000"))
            try await fleet.engine.docker("rm", "-f", "host")

            // In a network of its own, told the address, it finds out by connecting who listens in the host's network.
            let visible = try await fleet.engine.run(
                "--network", "host", "--expose", "8200", "-e", "PORT=8200", "-l", "SERVICE_NAME=visible", "whoami")
            _ = try await register("told", "-e", "HOST_IP=\(fleet.host.address)")
            #expect(
                await fleet.holds(
                    "whoami \(container) \(fleet.host.address):8000", "visible \(visible) \(fleet.host.address):8200"))
            let log = try await fleet.engine.docker("logs", "told").joined()
            #expect(log.contains("port 8000 not registered: it is the port that container"), "\(log)")
        }
    }

    /// The folders that the program's libraries are in: a container sees none of the host's files.
    private func libraryFolders() async throws -> [String] {
        let lines = try await Program("ldd", ["\(Laboratory.programFolder)/docker-register"]).run(
            deadline: .seconds(20)
        )
        .lines
        let files = lines.flatMap { $0.split(separator: " ") }.map { $0.drop { $0 == "\t" } }.filter {
            $0.hasPrefix("/")
        }
        let folders = Set(files.map { $0.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" } })
        // By both names of one folder: the loader of newer systems is a link from one to the other.
        let others = folders.filter { $0.hasPrefix("/usr/lib/") }.map { String($0.dropFirst("/usr".count)) }
        return folders.union(others.filter { FileManager.default.fileExists(atPath: $0) }).sorted()
    }

    // MARK: Read only

    @Test func `it works through a proxy that lets nothing pass but GET to the documented routes`() async throws {
        try await withFleet { fleet in
            let path = "\(fleet.host.folder)/proxy.sock"
            let proxy = try EngineProxy(at: path, before: fleet.engine.socket)
            let agent = try fleet.register(["DOCKER_HOST": proxy.url, "HOST_IP": "eth0", "RESYNC_INTERVAL": "1"])
            let first = try await fleet.engine.run("-p", "8000:8000", "whoami")
            #expect(await fleet.holds("whoami \(first) \(fleet.host.address):8000"))
            try await fleet.engine.docker("pause", first)
            #expect(await fleet.holds())
            try await fleet.engine.docker("unpause", first)
            #expect(await fleet.holds("whoami \(first) \(fleet.host.address):8000"))
            try await fleet.engine.docker("rename", first, "other")
            try await fleet.engine.docker("restart", first)
            #expect(await agent.logs("registered", first))
            try await fleet.engine.docker("rm", "-f", first)
            #expect(await fleet.holds())
            #expect(proxy.refused == [])
            for route in ["/_ping", "/info", "/events", "/containers/json"] {
                #expect(proxy.allowed.contains { $0.contains(route) }, "\(route) was not asked for")
            }
            #expect(agent.ending == nil)
        }
    }
}
