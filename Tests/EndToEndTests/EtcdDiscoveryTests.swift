import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "Finding etcd",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dnsmasq", "openssl", "ip", "unshare", "mount", asRoot: true),
        "needs root, etcd, dnsmasq, openssl, iproute2 and util-linux"), .timeLimit(.minutes(2)))
struct EtcdDiscoveryTests {
    /// A name server of its own, and what a docker-register needs that asks it.
    private final class Scene {
        let folder: ScratchFolder
        /// On which the name server listens; each test has another one.
        private let address: String
        private var server: RunningProgram?

        init() throws {
            folder = try ScratchFolder()
            // Port 53 is where resolv.conf says; the host part is as good as a free port.
            let number = try FreePort.take()
            address = "127.53.\(number >> 8).\(number & 255)"
            try write("nameserver \(address)\n", "resolv.conf")
            try write(#"{"services": [{"name": "db", "port": 5432, "id": "main"}]}"#, "services.json")
        }

        deinit { server?.endAtOnce() }

        private func write(_ text: String, _ name: String) throws {
            try Data(text.utf8).write(to: URL(filePath: "\(folder.path)/\(name)"))
        }

        /// Has the name server say this from now on, and nothing else.
        func serve(_ records: String...) async throws {
            server?.endAtOnce()
            let flags = [
                "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--local=/test/",
                "--pid-file=", "--listen-address=\(address)", "--bind-interfaces", "--port=53",
            ]
            let lines = CapturedLines()
            server = try Program("dnsmasq", flags + ["--log-facility=-"] + records).start { lines.add($0) }
            #expect(await eventually { lines.contain("started") }, "\(lines.all)")
        }

        func register(_ environment: [String: String]) throws -> Agent {
            try agent("mount --bind \(folder.path)/resolv.conf /etc/resolv.conf", ["-m"], environment)
        }

        /// Starts docker-register in namespaces of its own, which `script` sets up before.
        func agent(_ script: String, _ namespaces: [String], _ environment: [String: String]) throws -> Agent {
            let settings = [
                "HOST_IP": "10.0.0.1", "DOCKER_HOST": "none", "SERVICES_FILE": "\(folder.path)/services.json",
                "CONTROL_SOCKET": "\(folder.path)/control.sock", "TTL": "6",
            ]
            let program = "\(Laboratory.programFolder)/docker-register"
            return try Agent(
                program: "unshare", namespaces + ["sh", "-ec", "\(script)\nexec \"$0\"", program],
                settings.merging(environment) { $1 })
        }
    }

    private func isRegistered(in etcd: EtcdServer) async -> Bool {
        await eventually {
            (try? await etcd.ctl("get", "--print-value-only", "/backends/db/main")) == ["10.0.0.1:5432"]
        }
    }

    private static func record(_ service: String, _ port: Int, domain: String = "cluster.test") -> String {
        "--srv-host=_\(service)._tcp.\(domain),member.test,\(port)"
    }
    private static let member = "--address=/member.test/127.0.0.1"

    @Test func `SRV records name the members, and name others after one has failed`() async throws {
        let scene = try Scene()
        let (first, second) = (try await EtcdServer(), try await EtcdServer())
        let agent = try scene.register(["ETCDCTL_DISCOVERY_SRV": "cluster.test"])
        #expect(await agent.logs("docker-register started", "etcd=srv:cluster.test", "etcd_from=ETCDCTL_DISCOVERY_SRV"))
        // No name server answers yet: it is waited for like etcd itself.
        #expect(await agent.logs("etcd unreachable", "srv:cluster.test"))
        try await scene.serve(Self.record("etcd-client", first.port), Self.member)
        #expect(await isRegistered(in: first))
        try await scene.serve(Self.record("etcd-client", second.port), Self.member)
        try await first.kill()
        #expect(await isRegistered(in: second))
    }

    @Test func `over TLS the certificate has to be that of the domain`() async throws {
        let certificates = try await Certificates()
        let etcd = try await EtcdServer(certificates.etcdFlags, isSecure: true)
        let scene = try Scene()
        try await scene.serve(
            Self.record("etcd-client-ssl", etcd.port), Self.record("etcd-client", 1),
            Self.record("etcd-client-ssl", etcd.port, domain: "other.test"), Self.member)
        let files = [
            "ETCDCTL_CACERT": certificates.authority.certificate, "ETCDCTL_CERT": certificates.client.certificate,
            "ETCDCTL_KEY": certificates.client.key,
        ]
        let agent = try scene.register(files.merging(["ETCD_HOST": "srv:cluster.test"]) { $1 })
        #expect(await agent.logs("lease granted"))
        #expect(agent.log.contain("etcd_from=ETCD_HOST,ETCDCTL_CACERT,ETCDCTL_CERT,ETCDCTL_KEY"))
        #expect(try await agent.stop() == .exited(0))
        let other = try scene.register(files.merging(["ETCD_HOST": "srv:other.test"]) { $1 })
        #expect(await other.logs("TLS with https://other.test:\(etcd.port) (at member.test:\(etcd.port)) failed"))
        #expect(!other.log.contain("lease granted"))
    }

    @Test func `records without TLS do not count where TLS is asked for`() async throws {
        let certificates = try await Certificates()
        let scene = try Scene()
        try await scene.serve(Self.record("etcd-client", 1), Self.member)
        let agent = try scene.register([
            "ETCD_HOST": "srv:cluster.test", "ETCD_CACERT": certificates.authority.certificate,
        ])
        #expect(await agent.logs("there are no SRV records _etcd-client-ssl._tcp of cluster.test"))
    }

    @Test func `the gateway is that of the default route`() async throws {
        let network = """
            ip link set lo up
            ip link add sk0 type veth peer name sk1
            ip link set sk1 up
            ip addr add 10.9.0.2/24 dev sk0
            ip link set sk0 up
            ip route add default via 10.9.0.1 dev sk0 metric 20
            ip route add default via 10.9.0.3 dev sk0 metric 10
            """
        let scene = try Scene()
        let agent = try scene.agent(network, ["-n"], ["ETCD_HOST": "gateway:4001"])
        #expect(await agent.logs("etcd unreachable", "http://10.9.0.3:4001"))
        let alone = try scene.agent("ip link set lo up", ["-n"], ["ETCD_HOST": "gateway"])
        #expect(await alone.logs("etcd unreachable", "gateway:2379", "there is no default route"))
    }

    @Test(arguments: ["srv:", "srv:a,b", "srv:.", "gateway:0", "gateway:a", "srv:10.0.0.1 a"])
    func `what names no place is refused`(text: String) async throws {
        let agent = try Agent("docker-register", [], ["HOST_IP": "10.0.0.1", "ETCD_HOST": text])
        #expect(try await agent.wait() == .exited(64))
        #expect(agent.log.contain("ETCD_HOST", "srv:DOMAIN", "gateway[:PORT]"))
    }
}
