import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("Ports that containers on this host publish")
struct PublishedPortsTests {
    /// docker-discover on a host that has 10.0.0.5, over time.
    private struct Scene {
        var inputs = DesiredInputs(registry: RegistryFixture().state, host: HAProxySettings.sample.host)
        var now = Duration.seconds(1_000_000)

        init() throws { inputs.ports.ownAddresses = [try #require(IPAddress("10.0.0.5")), .loopback4] }

        /// Decides after a while, and gives where it listens, and what is wrong.
        mutating func decide(_ keys: KeyValuePairs<String, String>, after wait: Duration = .zero) -> (
            binds: [String], problems: [String]
        ) {
            now += wait
            _ = inputs.published.expire(at: now)
            inputs.registry = RegistryFixture(keys).state
            let desired = DesiredState(inputs)
            inputs.published.update(desired.publishedHere, taken: inputs.ports.obstacles.keys, at: now)
            return (desired.binds.map(\.description).sorted(), desired.diagnostics.map(\.explanation).sorted())
        }
    }

    private static let own = "web/0123456789ab"
    private static let both: KeyValuePairs = [own: "10.0.0.5:80", "web/ba9876543210": "10.0.0.6:80"]
    private static let other: KeyValuePairs = ["web/ba9876543210": "10.0.0.6:80"]

    @Test func `a port is left alone while its container is registered, and ten minutes longer`() throws {
        var scene = try Scene()
        let first = scene.decide(Self.both)
        #expect(first.binds == [])
        let advice = "publish it with -P, or with -p 10.0.0.5:80:80 and LISTEN_ADDRESS=127.0.0.1, or give"
        #expect(first.problems.count == 1 && first.problems[0].contains(advice))
        #expect(first.problems[0].hasPrefix("port 80 is published on this host by its own container \(Self.own)"))
        let gone = scene.decide(Self.other)
        #expect(gone.binds == [])
        #expect(gone.problems.first?.contains("was published on this host by its own container") == true)
        #expect(scene.decide(Self.other, after: .seconds(599)).binds == [])
        #expect(scene.inputs.published.wait(at: scene.now) == .seconds(1))
        #expect(scene.decide(Self.other, after: .seconds(1)).binds == [":80"])
        #expect(scene.inputs.published == PublishedPorts())
    }

    @Test func `a restart of docker-discover or of the host begins the time anew`() throws {
        var scene = try Scene()
        _ = scene.decide(Self.both)
        _ = scene.decide(Self.other)
        let known = scene.inputs.published.persisted
        scene.now += .seconds(5000)
        scene.inputs.published = PublishedPorts(known, at: scene.now)
        #expect(scene.decide(Self.other, after: .seconds(599)).binds == [])
        #expect(scene.decide(Self.other, after: .seconds(1)).binds == [":80"])
        let folder = try ScratchFolder()
        let cache = RegistryCache(
            file: AtomicFile(path: folder.path + "/catalog.json"), keyspace: RegistryFixture.keyspace)
        try cache.save(RegistryCache.Copy(registry: RegistryFixture(Self.other).state, published: known))
        #expect(try cache.load()?.published == known && known.count == 1)
    }

    @Test func `other services' listeners, ports of people's entries and an operator's word`() throws {
        var scene = try Scene()
        let foreign = scene.decide([Self.own: "10.0.0.5:81", "web/port": "8000", "api/1": "10.0.0.9:81"])
        #expect(foreign.binds == [":8000"])
        #expect(
            foreign.problems.first?.hasPrefix("port 81 is published on this host by the container \(Self.own)") == true)
        // A person's entry may lead to a listener of this HAProxy.
        scene.inputs.published = PublishedPorts()
        #expect(
            scene.decide(["web/1": "10.0.0.7:80", "alias/1": "10.0.0.5:80", "alias/port": "81"]).binds == [
                ":80", ":81",
            ])
        #expect(scene.decide([Self.own: "10.0.0.5:80", "web/port": "80"]).binds == [":80"])
    }

    @Test func `one address of the host is not another, unless the port was seen taken there too`() throws {
        var scene = try Scene()
        scene.inputs.host.listenAddress = .loopback4
        #expect(scene.decide(Self.both).binds == ["127.0.0.1:80"])
        #expect(scene.decide(Self.other).binds == ["127.0.0.1:80"])
        let bind = BindAddress(address: .loopback4, port: port(80))
        scene.inputs.ports.add([bind], obstacles: [bind: "in use by process 7 (docker-proxy)"])
        #expect(scene.decide(Self.both).binds == [])
        scene.inputs.ports = PortObservation(ownAddresses: scene.inputs.ports.ownAddresses)
        #expect(scene.decide(Self.other).binds == [])
        #expect(scene.decide(Self.other, after: PublishedPorts.retention).binds == ["127.0.0.1:80"])
    }

    @Test func `a loopback address in an agent's entry is refused, and in a person's entry is not`() {
        let plan = RegistryFixture([
            Self.own: "127.0.0.1:22", "db/1": "127.0.0.1:5432", "db/port": "15432",
            "x/1": "[::1]:25", "x/1/meta": #"{"host":"h","owner":"E@10.0.0.6"}"#,
        ]).plan
        #expect(plan.listeners.map(\.service.text) == ["db"])
        #expect(plan.diagnostics.map(\.subject).sorted() == ["/backends/\(Self.own)", "/backends/x/1"])
    }
}

@Suite("Where services listen on a host")
struct ListenerAddressTests {
    private func plan(
        _ keys: KeyValuePairs<String, String>, hasIPv6: Bool = true, obstacles: [String: String] = [:],
        _ adjust: (inout HostSettings) -> Void = { _ in }
    ) -> DesiredState {
        var host = HAProxySettings.sample.host
        adjust(&host)
        var inputs = DesiredInputs(registry: RegistryFixture(keys).state, host: host)
        inputs.ports.ownAddresses = hasIPv6 ? [.loopback4, .loopback6] : [.loopback4]
        let found = obstacles.compactMap { text, obstacle in BindAddress(text).map { ($0, obstacle) } }
        inputs.ports.add([], obstacles: Dictionary(found) { first, _ in first })
        return DesiredState(inputs)
    }

    private func binds(_ plan: DesiredState) -> [String] {
        plan.listeners.flatMap { listener in listener.binds.map { "\(listener.service) \($0)" } }
    }

    @Test func `what is localhost is both loopback addresses, where the host has them`() {
        let keys: KeyValuePairs = [
            "a/1": "10.0.0.5:80", "b/1": "10.0.0.5:81", "b/config": #"{"listen_address":"127.0.0.1"}"#,
            "c/1": "10.0.0.5:82", "c/config": #"{"listen_address":"::"}"#,
            "d/1": "10.0.0.5:83", "d/config": #"{"listen_address":"127.0.0.2"}"#,
        ]
        let with = ["a :80", "a [::1]:80", "b 127.0.0.1:81", "b [::1]:81", "c [::]:82", "d 127.0.0.2:83"]
        #expect(binds(plan(keys)) == with)
        #expect(plan(keys).statsLoopback6?.description == "[::1]:1936")
        #expect(binds(plan(keys, hasIPv6: false)) == with.filter { !$0.contains("[::1]") })
        #expect(plan(keys, hasIPv6: false).statsLoopback6 == nil)
        // What somebody asks for explicitly is his.
        let explicit: KeyValuePairs = [
            "a/1": "10.0.0.5:80", "a/config": #"{"listen_address":"127.0.0.1"}"#,
            "b/1": "10.0.0.5:80", "b/config": #"{"listen_address":"::1"}"#,
        ]
        #expect(binds(plan(explicit)) == ["a 127.0.0.1:80", "b [::1]:80"])
        #expect(plan(["s/1": "10.0.0.5:1936", "s/config": #"{"listen_address":"::1"}"#]).listeners.isEmpty)
        let reserved = plan(["a/1": "10.0.0.5:80"]) {
            $0.reserved.binds = [BindAddress(address: .loopback6, port: port(80))]
        }
        #expect(binds(reserved) == ["a :80"])
    }

    @Test func `where ::1 is taken the service is there over IPv4, and where IPv4 is, it is not there at all`() {
        let half = plan(["a/1": "10.0.0.5:80"], obstacles: ["[::1]:80": "in use by process 7 (x)"])
        #expect(binds(half) == ["a :80"])
        #expect(half.diagnostics.map(\.explanation) == ["port 80 of ::1 is in use by process 7 (x)"])
        #expect(half.diagnostics.allSatisfy { !$0.isSevere })
        #expect(binds(plan(["a/1": "10.0.0.5:80"], obstacles: [":80": "in use by process 7 (x)"])) == [])
        #expect(plan([:], obstacles: ["[::1]:1936": "in use"]).statsLoopback6 == nil)
    }

    @Test func `a service with a substitute port has the one that it asks for too, as far as this host has it`() {
        let keys: KeyValuePairs = ["a/1": "10.0.0.5:80", "-ports/a": #"{"port":20000,"instead_of":80}"#]
        #expect(binds(plan(keys)) == ["a :20000", "a :80", "a [::1]:20000", "a [::1]:80"])
        #expect(plan(keys).diagnostics.isEmpty)
        let text = HAProxyConfiguration(plan(keys), .sample)
        #expect(
            text.section(of: service("a"))?.binds.map(\.description) == [":20000", ":80", "[::1]:20000", "[::1]:80"])
        let busy = plan(keys, obstacles: [":80": "in use by process 7 (x)"])
        #expect(binds(busy) == ["a :20000", "a [::1]:20000"])
        #expect(
            busy.diagnostics.map(\.explanation) == ["port 80 is in use by process 7 (x); 20000 is used instead of 80"])
        #expect(binds(plan(keys, obstacles: [":20000": "in use by process 7 (x)"])) == ["a :80", "a [::1]:80"])
        #expect(binds(plan(keys, obstacles: [":20000": "in use", ":80": "in use"])) == [])
    }

    @Test func `labels ask for allowed ports only, and operators for any`() {
        let limit = { (host: inout HostSettings) in host.allowedPorts = AllowedPorts("1024-65535") ?? .all }
        let label: KeyValuePairs = [
            "a/1": "10.0.0.5:8000", "a/1/meta": #"{"port":443}"#, "b/1": "10.0.0.5:8000",
            "c/1": "10.0.0.5:25", "c/port": "25",
        ]
        let limited = plan(label, hasIPv6: false, limit)
        #expect(binds(limited) == ["b :8000", "c :25"])
        #expect(
            limited.diagnostics.map(\.explanation) == [
                "port 443 is not in ALLOWED_PORTS (1024-65535) of this host; to allow it for this service: "
                    + "etcdctl put /backends/a/port 443"
            ])
        #expect(binds(plan(label, hasIPv6: false)) == ["a :443", "b :8000", "c :25"])
        // A port of the range is no label's.
        let given: KeyValuePairs = ["a/1": "10.0.0.5:25", "-ports/a": #"{"port":900,"instead_of":25}"#]
        #expect(binds(plan(given, hasIPv6: false, limit)) == ["a :900"])
    }

    @Test func `labels do not widen what an operator restricts to this host`() {
        let local = { (host: inout HostSettings) in host.listenAddress = .loopback4 }
        let wide: KeyValuePairs = [
            "a/1": "10.0.0.5:80", "a/1/meta": #"{"listen_address":"0.0.0.0"}"#,
            "b/1": "10.0.0.5:81", "b/1/meta": #"{"listen_address":"127.0.0.2"}"#,
            "c/1": "10.0.0.5:82", "c/config": #"{"listen_address":"0.0.0.0"}"#,
        ]
        let plan = plan(wide, hasIPv6: false, local)
        #expect(binds(plan) == ["a 127.0.0.1:80", "b 127.0.0.2:81", "c :82"])
        #expect(
            plan.diagnostics == [
                .optionMisfits(
                    service("a"), field: "listen_address",
                    why: "a label asks for 0.0.0.0, and LISTEN_ADDRESS of this host is 127.0.0.1")
            ])
        let same: KeyValuePairs = [
            "a/1": "10.0.0.5:80", "a/1/meta": #"{"listen_address":"10.0.0.8"}"#,
            "b/1": "10.0.0.5:80", "b/1/meta": #"{"listen_address":"10.0.0.9"}"#,
        ]
        let crowded = self.plan(same, hasIPv6: false, local)
        #expect(binds(crowded) == ["a 127.0.0.1:80"])
        #expect(crowded.diagnostics.contains { $0.isSevere && $0.subject == "b" })
    }

    @Test(
        arguments: [
            ("1-65535", "1-65535"), ("80", "80"), ("80,443,8000-8999", "80,443,8000-8999"), ("", nil), ("80,", nil),
            ("0", nil), ("9-8", nil), ("a", nil), ("80 81", nil),
        ] as [(String, String?)])
    func `allowed ports are parsed or refused`(text: String, expected: String?) {
        #expect(AllowedPorts(text)?.description == expected)
    }
}
