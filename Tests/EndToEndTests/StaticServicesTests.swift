import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "docker-register with a services file",
    .enabled(if: RealParts.canRun("etcd", "etcdctl"), "needs etcd"), .timeLimit(.minutes(2)))
struct StaticServicesTests {
    /// A host without Docker, with a services file and an etcd.
    private struct Host: Sendable {
        let etcd: EtcdServer
        let folder: ScratchFolder
        var path: String { "\(folder.path)/services.json" }

        init(_ services: String) async throws {
            etcd = try await EtcdServer()
            folder = try ScratchFolder()
            try write(services)
        }

        func write(_ services: String) throws {
            try Data(services.utf8).write(to: URL(filePath: path), options: .atomic)
        }

        func register(_ environment: [String: String] = [:], command: String...) throws -> Agent {
            let standard = [
                "HOST_IP": "10.0.0.1", "ETCD_HOST": "127.0.0.1:\(etcd.port)", "DOCKER_HOST": "none",
                "SERVICES_FILE": path, "CONTROL_SOCKET": "\(folder.path)/control.sock",
            ]
            return try Agent("docker-register", command, standard.merging(environment) { $1 })
        }

        /// All keys but the metas, and their values.
        func keys() async throws -> [String: String] {
            let lines = try await etcd.ctl("get", "--prefix", "/")
            let pairs = stride(from: 0, to: lines.count - 1, by: 2).map { (lines[$0], lines[$0 + 1]) }
            // What the agent keeps of itself beside the registry is not the matter here.
            return Dictionary(pairs) { first, _ in first }
                .filter { !$0.key.hasSuffix("/meta") && !$0.key.hasPrefix("/backends-") }
        }

        func holds(_ expected: [String: String]) async -> Bool { await eventually { (try? await keys()) == expected } }

        /// A field of a key as `etcdctl -w json` writes it.
        func field(_ name: String, of key: String) async throws -> String {
            let json = try await etcd.ctl("get", "-w", "json", key).joined()
            return String(json.split(separator: "\"\(name)\":").last?.prefix { $0.isNumber } ?? "")
        }
    }

    /// Runs docker-register with mounts of its own, which `script` makes before.
    private func register(
        _ host: Host, mounting script: String, _ environment: [String: String]
    ) throws -> Agent {
        let settings = [
            "HOST_IP": "10.0.0.1", "ETCD_HOST": "127.0.0.1:\(host.etcd.port)", "DOCKER_HOST": "none",
            "SERVICES_FILE": host.path, "CONTROL_SOCKET": "\(host.folder.path)/control.sock",
        ]
        let arguments = [
            "-m", "sh", "-ec", "\(script)\nexec \"$0\"", "\(Laboratory.programFolder)/docker-register",
        ]
        return try Agent(
            program: "/usr/bin/unshare", arguments, settings.merging(environment) { $1 })
    }

    @Test(.enabled(if: getuid() == 0, "needs root"))
    func `etcd's name is looked up again when it has moved`() async throws {
        let host = try await Host(Self.file(Self.db))
        let hosts = "\(host.folder.path)/hosts"
        // Written in place, as the mount is of this very file.
        func point(to address: String) throws {
            try Data("\(address) etcd.test\n".utf8).write(to: URL(filePath: hosts))
        }
        try point(to: "127.0.0.3")
        let agent = try register(
            host, mounting: "mount --bind \(hosts) /etc/hosts", ["ETCD_HOST": "etcd.test:\(host.etcd.port)"])
        #expect(await agent.logs("etcd unreachable"))
        try point(to: "127.0.0.1")
        #expect(await host.holds(["/backends/db/main": "10.0.0.1:5432"]))
    }

    @Test(.enabled(if: getuid() == 0, "needs root"))
    func `of several addresses of etcd's name one that answers is found`() async throws {
        let host = try await Host(Self.file(Self.db))
        let hosts = "\(host.folder.path)/hosts"
        try Data("127.0.0.3 etcd.test\n127.0.0.1 etcd.test\n127.0.0.4 etcd.test\n".utf8)
            .write(to: URL(filePath: hosts))
        let agent = try register(
            host, mounting: "mount --bind \(hosts) /etc/hosts", ["ETCD_HOST": "etcd.test:\(host.etcd.port)"])
        #expect(await host.holds(["/backends/db/main": "10.0.0.1:5432"]))
        #expect(!agent.log.contain("etcd unreachable"))
    }

    @Test(.enabled(if: getuid() == 0 && RealParts.canRun("openssl"), "needs root and openssl"))
    func `where ETCD_CACERT is set, the system's certificates do not count`() async throws {
        let certificates = try await Certificates()
        let etcd = try await EtcdServer(certificates.etcdFlags, isSecure: true)
        let host = try await Host(Self.file(Self.db))
        let trust = """
            mount -t tmpfs none /etc/ssl/certs
            cp \(certificates.authority.certificate) /etc/ssl/certs/authority.pem
            ln -s authority.pem "/etc/ssl/certs/$(openssl x509 -hash -noout -in /etc/ssl/certs/authority.pem).0"
            """
        let agent = try register(
            host, mounting: trust,
            [
                "ETCD_HOST": "https://127.0.0.1:\(etcd.port)", "ETCD_CACERT": certificates.stranger.certificate,
                "ETCD_CERT": certificates.client.certificate, "ETCD_KEY": certificates.client.key,
            ])
        #expect(await agent.logs("etcd rejected the request", "ETCD_CACERT"))
        #expect(!agent.log.contain("lease granted"))
    }

    private static func file(_ services: String = "", keys: String = "") -> String {
        #"{"services": [\#(services)], "constants": {"role": "db"}, "keys": [\#(keys)]}"#
    }

    private static let db = #"{"name": "db", "port": 5432, "id": "main", "tags": ["x"]}"#
    private static let ip = #"{"key": "/infrastructure/{role}/ip", "value": "{address}"}"#
    private static let both = ["/backends/db/main": "10.0.0.1:5432", "/infrastructure/db/ip": "10.0.0.1"]

    @Test func `a host without Docker publishes what the file says, under one lease, and writes nothing else`()
        async throws
    {
        let host = try await Host(Self.file(Self.db, keys: Self.ip))
        let agent = try host.register(["TTL": "3"])
        #expect(await host.holds(Self.both))
        let lease = try await host.field("lease", of: "/backends/db/main")
        #expect(lease != "" && lease != "0")
        #expect(try await host.field("lease", of: "/infrastructure/db/ip") == lease)
        let meta = try await host.etcd.ctl("get", "--print-value-only", "/backends/db/main/meta").joined()
        #expect(Meta(json: meta.utf8)?.tags == ["x"])
        let revision = try await host.field("revision", of: "/none")
        // Several keep-alives, each with a look.
        try await Task.sleep(for: .seconds(4))
        #expect(try await host.field("revision", of: "/none") == revision)
        #expect(agent.log.contain("docker-register started", "engine=none", "services.json"))
        #expect(try await agent.stop() == .exited(0))
        // They go with the lease.
        #expect(await host.holds([:]))
    }

    @Test func `SIGHUP carries out what differs, and a file with mistakes or without existence changes nothing`()
        async throws
    {
        let host = try await Host(Self.file(Self.db, keys: Self.ip))
        let agent = try host.register(["TTL": "600", "RESYNC_INTERVAL": "3600"])
        #expect(await host.holds(Self.both))
        let before = try await host.field("mod_revision", of: "/backends/db/main")

        let web = #"{"name": "web", "port": 80, "id": "a", "address": "fd00::7"}"#
        try host.write(Self.file("\(Self.db), \(web)", keys: #"{"key": "/infrastructure/name", "value": "n"}"#))
        agent.signal(SIGHUP)
        let changed = [
            "/backends/db/main": "10.0.0.1:5432", "/backends/web/a": "[fd00::7]:80", "/infrastructure/name": "n",
        ]
        #expect(await host.holds(changed))
        #expect(await agent.logs("services file loaded", "services=2", "keys=1", "added=2", "changed=0", "removed=1"))
        #expect(try await host.field("mod_revision", of: "/backends/db/main") == before)

        try host.write("{\n  \"services\": [\n    {\"name\": \"db\", \"port\": 0},\n    {\"nam\": 1}\n  ]\n}")
        agent.signal(SIGHUP)
        #expect(
            await agent.logs(
                "services file rejected", "mistakes=4", ":3:28: services[0].port: 0 is not", ":4:6: services"))
        try FileManager.default.removeItem(atPath: host.path)
        agent.signal(SIGHUP)
        #expect(await agent.logs("services file rejected", "mistakes=1", "No such file"))
        #expect(try await host.keys() == changed)

        try host.write(Self.file(#"{"name": "db", "port": 5433, "id": "main"}"#))
        agent.signal(SIGHUP)
        #expect(await host.holds(["/backends/db/main": "10.0.0.1:5433"]))
        #expect(await agent.logs("services file loaded", "changed=1", "removed=2"))
        #expect(await agent.logs("withdrawn", "service=web", "no longer in the services file"))
        #expect(agent.ending == nil)
    }

    @Test func `a restarted agent takes everything over without a gap, and what the file lost goes`() async throws {
        let web = #"{"name": "web", "port": 80, "id": "a"}"#
        let host = try await Host(
            Self.file("\(Self.db), \(web)", keys: "\(Self.ip), {\"key\": \"/infrastructure/old\", \"value\": \"1\"}"))
        let first = try host.register(["TTL": "4"])
        let all = Self.both.merging(["/backends/web/a": "10.0.0.1:80", "/infrastructure/old": "1"]) { $1 }
        #expect(await host.holds(all))
        let created = try await host.field("create_revision", of: "/infrastructure/db/ip")
        let lease = try await host.field("lease", of: "/infrastructure/db/ip")
        try await first.kill()

        try host.write(Self.file(Self.db, keys: Self.ip))
        let second = try host.register(["TTL": "4"])
        #expect(await second.logs("withdrawn", "service=web", "no longer in the services file"))
        // The former lease runs out.
        #expect(await host.holds(Self.both))
        #expect(await eventually { (try? await host.etcd.ctl("lease", "list"))?.count == 2 })
        #expect(try await host.keys() == Self.both)
        #expect(try await host.field("create_revision", of: "/infrastructure/db/ip") == created)
        #expect(try await host.field("lease", of: "/infrastructure/db/ip") != lease)
    }

    @Test func `what somebody else does to keys and entries, or to the lease, is put right`() async throws {
        let host = try await Host(Self.file(Self.db, keys: Self.ip))
        let agent = try host.register(["TTL": "3", "RESYNC_INTERVAL": "3600"])
        #expect(await host.holds(Self.both))
        try await host.etcd.ctl("put", "/infrastructure/db/ip", "10.9.9.9")
        try await host.etcd.ctl("put", "/backends/db/main", "10.9.9.9:1")
        #expect(await host.holds(Self.both))
        #expect(await agent.logs("host keys were deleted or changed", "first=/infrastructure/db/ip"))
        try await host.etcd.ctl("del", "--prefix", "/")
        #expect(await host.holds(Self.both))
        let leases = try await host.etcd.ctl("lease", "list").dropFirst()
        for lease in leases { try await host.etcd.ctl("lease", "revoke", lease) }
        #expect(await host.holds(Self.both))
        // An etcd that comes back empty.
        try await host.etcd.kill()
        try host.etcd.wipe()
        try await host.etcd.start()
        #expect(await host.holds(Self.both))
        #expect(agent.ending == nil)
    }

    @Test func `status and a dry run tell of what the file says, with and without a running agent`() async throws {
        let host = try await Host(Self.file(Self.db, keys: Self.ip))
        let dry = try host.register(command: "--dry-run")
        #expect(try await dry.wait() == .exited(0))
        #expect(dry.log.contain("put /backends/db/main 10.0.0.1:5432", #""tags":["x"]"#))
        #expect(dry.log.contain("put /infrastructure/db/ip 10.0.0.1"))
        #expect(dry.log.all.count == 2)

        let agent = try host.register()
        #expect(await host.holds(Self.both))
        #expect(
            await eventually {
                guard let status = try? host.register(command: "status") else { return false }
                _ = try? await status.wait()
                return status.log.contain("db", "10.0.0.1:5432", "in etcd since")
                    && status.log.contain("engine", "none")
            })
        try await agent.kill()
        let without = try host.register(command: "status")
        #expect(try await without.wait() == .exited(0))
        #expect(without.log.contain("db", "10.0.0.1:5432", "in etcd"))
        #expect(!without.log.contain("is still in etcd"))
        let nothing = try host.register(command: "--dry-run")
        #expect(try await nothing.wait() == .exited(0))
        #expect(nothing.log.all == [])
        try host.write(Self.file())
        let less = try host.register(command: "--dry-run")
        #expect(try await less.wait() == .exited(0))
        #expect(less.log.all == ["delete /backends/db/main (no longer in the services file)"])
    }

    @Test func `what the file says is explained and drained by its name, also over a restart of the agent`()
        async throws
    {
        let host = try await Host(Self.file(Self.db))
        let agent = try host.register()
        let there = ["/backends/db/main": "10.0.0.1:5432"]
        #expect(await host.holds(there))
        let why = try host.register(command: "why", "db")
        #expect(try await why.wait() == .exited(0))
        #expect(why.log.all.first == "db of the services file")
        #expect(why.log.contain("/backends/db/main = 10.0.0.1:5432"))
        let drain = try host.register(command: "drain", "db")
        #expect(try await drain.wait() == .exited(0))
        #expect(drain.log.all == ["db is drained"])
        #expect(try await host.keys() == [:])
        #expect(agent.log.contain("withdrawn", "service=db", "reason=drained"))
        let meta = try await host.etcd.ctl("get", "--print-value-only", "/backends/db/main/meta").joined()
        #expect(Meta(json: meta.utf8)?.withdrawn == "drained")
        #expect(try await agent.stop() == .exited(0))
        let again = try host.register()
        #expect(await again.logs("container not registered", "db of the services file", "it was drained"))
        again.signal(SIGHUP)
        #expect(await again.logs("services file loaded"))
        #expect(try await host.keys() == [:])
        let undrain = try host.register(command: "undrain", "main")
        #expect(try await undrain.wait() == .exited(0))
        #expect(undrain.log.all == ["main is no longer drained"])
        #expect(await host.holds(there))
        #expect(try await host.etcd.ctl("get", "--prefix", "/backends-drained/") == [])
        let wrong = try host.register(command: "drain", "nothing")
        #expect(try await wrong.wait() == .exited(1))
        #expect(wrong.log.contain("no container of this host, and no service of its services file"))
    }

    @Test(arguments: ["localhost", "lo", "nothing0"])
    func `a HOST_IP that is no interface is refused at the start with what is there`(name: String) async throws {
        let host = try await Host(Self.file(Self.db))
        let agent = try host.register(["HOST_IP": name])
        #expect(try await agent.wait() == .exited(1))
        #expect(agent.log.contain("exiting", "HOST_IP: ", name, "set the address under which the other hosts reach"))
    }

    @Test(.enabled(if: RealParts.canRun("unshare", asRoot: true), "needs root and unshare"))
    func `another host with the same HOST_IP, on no interface of this one, is named by both`() async throws {
        let host = try await Host(Self.file(Self.db))
        let first = try host.register(["TTL": "2"])
        #expect(await host.holds(["/backends/db/main": "10.0.0.1:5432"]))
        #expect(await first.logs("HOST_IP is on no interface of this host", "host_ip=10.0.0.1"))
        let folder = try ScratchFolder()
        let program = "\(Laboratory.programFolder)/docker-register"
        let second = try Agent(
            program: "/usr/bin/unshare", ["--uts", "/bin/sh", "-c", "hostname other; exec \(program)"],
            [
                "HOST_IP": "10.0.0.1", "ETCD_HOST": "127.0.0.1:\(host.etcd.port)", "DOCKER_HOST": "none", "TTL": "2",
                "SERVICES_FILE": host.path, "CONTROL_SOCKET": "\(folder.path)/control.sock",
            ])
        #expect(await second.logs("another host registers with the same HOST_IP", "other_pid=\(first.pid)"))
        let status = try host.register(command: "status")
        #expect(try await status.wait() == .exited(0))
        #expect(status.log.contain("no interface of this host has 10.0.0.1"))
        let other = try host.register(["CONTROL_SOCKET": "\(folder.path)/control.sock"], command: "status")
        #expect(try await other.wait() == .exited(0))
        #expect(other.log.contain("registers with this HOST_IP too"))
    }

    @Test(arguments: [both, ["/infrastructure/db/ip": "10.0.0.1"]])
    func `an agent that withdraws on exit takes entries and plain keys along at once`(published: [String: String])
        async throws
    {
        let host = try await Host(Self.file(published.count == 1 ? "" : Self.db, keys: Self.ip))
        let agent = try host.register(["TTL": "600", "WITHDRAW_ON_EXIT": "true"])
        #expect(await host.holds(published))
        #expect(try await agent.stop() == .exited(0))
        #expect(try await host.keys() == [:])
        let meta = try await host.etcd.ctl("get", "--print-value-only", "/backends/db/main/meta").joined()
        #expect(Meta(json: meta.utf8)?.withdrawn == (published.count == 1 ? nil : "docker-register was stopped"))
    }

    @Test func `at the start a file with mistakes, or none, is a wrong setting, and all mistakes are told`()
        async throws
    {
        let host = try await Host("{\"services\": [{\"name\": \"a b\", \"port\": 0}], \"key\": []}")
        let agent = try host.register(["TTL": "soon"])
        #expect(try await agent.wait() == .exited(64))
        #expect(agent.log.contain("SERVICES_FILE: \(host.path):1:24: services[0].name: \"a b\" is not"))
        #expect(agent.log.contain("SERVICES_FILE: \(host.path):1:39: services[0].port: 0 is not a port"))
        #expect(agent.log.contain("SERVICES_FILE: \(host.path):1:44: key: there is no such field; did you mean keys?"))
        #expect(agent.log.contain("TTL: "))
        let missing = try host.register(["SERVICES_FILE": "/nonexistent.json"])
        #expect(try await missing.wait() == .exited(64))
        #expect(missing.log.contain("SERVICES_FILE: cannot open /nonexistent.json: No such file"))
        let nothing = try host.register(["SERVICES_FILE": ""])
        #expect(try await nothing.wait() == .exited(64))
        #expect(nothing.log.contain("DOCKER_HOST: none leaves nothing to register"))
    }
}

@Suite(
    "docker-register with a services file and an engine",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "ip", "nsenter", "busybox", asRoot: true),
        "needs root, Docker, etcd, busybox and iproute2"),
    .timeLimit(.minutes(3)))
struct StaticServicesWithEngineTests {
    @Test func `what is no container is registered beside containers, whatever becomes of the engine`() async throws {
        try await Laboratory.with("etcd", "backend") { laboratory in
            let host = try laboratory.host("backend")
            try await laboratory.startEtcd()
            let engine = try await Engine(in: laboratory, on: host)
            try await engine.importWhoami("whoami")
            let path = "\(host.folder)/services.json"
            try Data(#"{"services": [{"name": "whoami", "port": 5432, "id": "main"}]}"#.utf8).write(
                to: URL(filePath: path))
            let agent = try laboratory.register(on: host, engine: engine, ["SERVICES_FILE": path, "TTL": "600"])
            let container = try await engine.run("-p", "8100:8000", "whoami")
            let main = ["/backends/whoami/main": "\(host.address):5432"]
            let both = main.merging(["/backends/whoami/\(container)": "\(host.address):8100"]) { $1 }
            #expect(await eventually { (try? await laboratory.endpoints()) == both })
            try await agent.kill()
            let again = try laboratory.register(on: host, engine: engine, ["SERVICES_FILE": path, "TTL": "600"])
            #expect(await again.logs("registered", "id=main"))
            #expect(await again.logs("registered", "id=\(container)"))
            #expect(!again.log.contain("withdrawn"))
            try await engine.end(SIGTERM)
            #expect(
                await eventually { (try? await laboratory.endpoints().keys.contains(main.keys.first ?? "")) == true })
            again.signal(SIGHUP)
            #expect(await again.logs("services file loaded", "added=0", "changed=0", "removed=0"))
            try await engine.start()
            #expect(await eventually { (try? await laboratory.endpoints()) == main })
            #expect(again.ending == nil)
        }
    }

    @Test func `what has a register check is registered while it passes, also over a restart of the agent`()
        async throws
    {
        try await Laboratory.with("etcd", "backend") { laboratory in
            let host = try laboratory.host("backend")
            try await laboratory.startEtcd()
            let path = "\(host.folder)/services.json"
            let db = #"{"name": "db", "port": 5432, "id": "main", "register_check": "tcp", "#
            let file = #"{"services": [\#(db)"register_check_interval": "200ms", "register_check_fall": 2}]}"#
            try Data(file.utf8).write(to: URL(filePath: path))
            func register() throws -> Agent {
                let variables = [
                    "HOST_IP": host.address, "ETCD_HOST": try laboratory.etcdAddress(), "DOCKER_HOST": "none",
                    "SERVICES_FILE": path, "CONTROL_SOCKET": "\(host.folder)/control.sock", "TTL": "600",
                ]
                return try Agent("docker-register", in: laboratory, on: host, variables)
            }
            let agent = try register()
            #expect(
                await agent.logs(
                    "container not registered, action required", "db of the services file",
                    "SERVICE_REGISTER_CHECK failed: no connection"))
            #expect(try await laboratory.endpoints() == [:])

            let server = try laboratory.start(
                "busybox", ["httpd", "-f", "-p", "5432", "-h", host.folder], on: host, onLine: { _ in })
            let expected = ["/backends/db/main": "\(host.address):5432"]
            #expect(await eventually { (try? await laboratory.endpoints()) == expected })
            let watched = CapturedLines()
            let watch = try laboratory.start(
                "etcdctl", ["watch", "--prefix", "/backends/"], on: host,
                ["ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": try laboratory.etcdAddress()], onLine: watched.add)
            try await agent.kill()
            let again = try register()
            #expect(await again.logs("registered", "service=db"))
            #expect(await eventually { watched.contain("PUT") })
            #expect(!again.log.contain("withdrawn"))
            #expect(!watched.contain("DELETE"))
            watch.signal(SIGKILL)

            server.signal(SIGKILL)
            #expect(await again.logs("withdrawn", "service=db", "register check failed"))
            #expect(try await laboratory.endpoints() == [:])
        }
    }
}
