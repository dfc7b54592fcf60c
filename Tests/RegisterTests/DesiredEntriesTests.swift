// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import TestSupport
import Testing

@testable import Register

@Suite("DesiredEntries")
struct DesiredEntriesTests {
    private static let owner = Owner(Docker.Identity(id: "E1", name: "host1"), IPAddress("10.0.0.1")!)

    /// A binding, as `[host address:]host port:container port`.
    private func binding(_ address: String, _ hostPort: Int, _ containerPort: Int) -> Docker.Binding {
        Docker.Binding(
            containerPort: Port(containerPort)!, hostAddress: IPAddress(address), hostPort: Port(hostPort)!)
    }

    private func container(
        id: String = "aaaaaaaaaaaa", image: String = "whoami", labels: [String: String] = [:],
        _ bindings: Docker.Binding...
    ) -> Docker.Container {
        Docker.Container(
            id: InstanceID(containerID: id)!, name: "c-\(id.prefix(2))", image: image, labels: labels, environment: [:],
            started: "2026-01-01T00:00:00Z", bindings: Set(bindings))
    }

    private func services(
        _ containers: Docker.Container..., host: String = "10.0.0.1", rules: RegistrationPolicy = RegistrationPolicy()
    ) -> DesiredEntries {
        var owner = Self.owner
        owner.address = IPAddress(host)!
        return DesiredEntries(of: containers, owner: owner, rules: rules)
    }

    /// Name and endpoint of each registration, sorted.
    private func entries(_ services: DesiredEntries) -> [String] {
        services.entries.values.map { "\($0.id.service) \($0.endpoint)" }.sorted()
    }

    private func meta(_ services: DesiredEntries, _ name: String) -> Meta? {
        services.entries.values.first { $0.id.service.text == name }.flatMap { Meta(json: $0.meta) }
    }

    // MARK: Labels

    @Test func `a label of a port that the container does not have is told with those that it has`() {
        let labels = ["SERVICE_8080_NAME": "web", "SERVICE_9000_NAME": "admin", "SERVICE_70_X": "y"]
        var container = self.container(labels: labels, binding("0.0.0.0", 8080, 8000))
        container.exposed = [Port(8000)!, Port(9000)!]
        let texts = services(container).decisions.flatMap { $0.reasons.filter(\.isWarning).map(\.text) }
        #expect(
            texts.filter { $0.contains("does nothing") } == ["SERVICE_8080_NAME does nothing: its ports are 8000, 9000"]
        )
        container.environment = container.labels
        container.labels = [:]
        let variables = services(container).decisions.flatMap(\.reasons).map(\.text)
        #expect(!variables.contains { $0.contains("does nothing") })
    }

    // MARK: Names

    @Test func `a published port is registered under the image's name with all that is known of it`() throws {
        let services = self.services(container(image: "reg:5000/team/whoami:1", binding("0.0.0.0", 32_768, 8000)))
        #expect(entries(services) == ["whoami 10.0.0.1:32768"])
        let meta = try #require(self.meta(services, "whoami"))
        #expect(meta.options.port == Port(8000))
        #expect(meta.container == "c-aa")
        #expect(meta.image == "reg:5000/team/whoami:1")
        #expect(meta.host == "host1")
        #expect(meta.owner == "E1@10.0.0.1")
        #expect(meta.created == "2026-01-01T00:00:00Z")
        #expect(services.reasons == [])
    }

    @Test func `of several ports the lowest has the bare name`() {
        let ports = container(binding("", 1, 9000), binding("", 2, 8000), binding("", 3, 8080))
        #expect(entries(services(ports)) == ["whoami 10.0.0.1:2", "whoami-8080 10.0.0.1:3", "whoami-9000 10.0.0.1:1"])
    }

    @Test func `a label moves the bare name, names the first port or single ports, and sets listener ports`() {
        let marked = container(
            labels: ["SERVICE_PRIMARY_PORT": "9000"], binding("", 1, 9000), binding("", 2, 8000))
        #expect(entries(services(marked)) == ["whoami 10.0.0.1:1", "whoami-8000 10.0.0.1:2"])
        let named = services(
            container(
                labels: [
                    "SERVICE_NAME": "web", "SERVICE_9000_NAME": "admin", "SERVICE_PORT": "80",
                    "SERVICE_8080_PORT": "81",
                ],
                binding("", 1, 9000), binding("", 2, 8000), binding("", 3, 8080)))
        #expect(entries(named) == ["admin 10.0.0.1:1", "web 10.0.0.1:2", "web-8080 10.0.0.1:3"])
        #expect(meta(named, "web")?.options.port == Port(80))
        #expect(meta(named, "web-8080")?.options.port == Port(81))
        #expect(meta(named, "admin")?.options.port == Port(9000))
    }

    @Test func `several names make a port a part of several services`() {
        let services = self.services(
            container(
                labels: ["SERVICE_NAME": "web,web-canary", "SERVICE_9100_NAME": "metrics,web"], binding("", 1, 8000),
                binding("", 2, 9000), binding("", 3, 9100)))
        #expect(
            entries(services) == [
                "metrics 10.0.0.1:3", "web 10.0.0.1:1", "web-9000 10.0.0.1:2", "web-canary 10.0.0.1:1",
                "web-canary-9000 10.0.0.1:2",
            ])
        #expect(services.reasons.map(\.text) == ["port 9100 not registered: another port of it is web too"])
    }

    @Test func `only named containers and ports are registered where that is explicit`() {
        var rules = RegistrationPolicy()
        rules.isExplicit = true
        let unnamed = services(container(binding("", 1, 8000)), rules: rules)
        #expect(unnamed.entries.isEmpty)
        #expect(
            unnamed.reasons.map(\.text) == [
                "port 8000 not registered: EXPLICIT is on and no SERVICE_NAME label names it"
            ])
        let ports = [binding("", 1, 8000), binding("", 2, 9000)]
        let one = container(labels: ["SERVICE_9000_NAME": "admin"], ports[0], ports[1])
        #expect(entries(services(one, rules: rules)) == ["admin 10.0.0.1:2"])
        let all = container(labels: ["SERVICE_NAME": "web"], ports[0], ports[1])
        #expect(entries(services(all, rules: rules)) == ["web 10.0.0.1:1", "web-9000 10.0.0.1:2"])
    }

    @Test func `names come from the Compose file where that is asked for, and from the image elsewhere`() {
        var rules = RegistrationPolicy()
        rules.nameSource = .compose
        let composed = container(labels: ["com.docker.compose.service": "front"], binding("", 1, 80))
        #expect(entries(services(composed, rules: rules)) == ["front 10.0.0.1:1"])
        #expect(entries(services(composed)) == ["whoami 10.0.0.1:1"])
        let labelled = container(
            labels: ["com.docker.compose.service": "front", "SERVICE_NAME": "web"], binding("", 1, 80))
        #expect(entries(services(labelled, rules: rules)) == ["web 10.0.0.1:1"])
        // Under the image's name it would get the requests of another service.
        let unnamed = services(
            container(labels: ["com.docker.compose.service": "_front"], binding("", 1, 80)), rules: rules)
        #expect(entries(unnamed) == [])
        #expect(
            unnamed.reasons.map(\.text) == [
                "not registered: _front of the Compose file is no valid service name; set the label SERVICE_NAME"
            ])
        #expect(entries(services(container(binding("", 1, 80)), rules: rules)) == ["whoami 10.0.0.1:1"])
    }

    @Test func `services of one name in two Compose projects are told apart by the project`() {
        var rules = RegistrationPolicy()
        rules.nameSource = .composeProject
        func front(_ id: String, _ project: String, _ port: Int) -> Docker.Container {
            let labels = ["com.docker.compose.service": "front", "com.docker.compose.project": project]
            return container(id: id, labels: labels, binding("", port, 80), binding("", port + 1, 81))
        }
        let both = services(front("aaaaaaaaaaaa", "shop", 1), front("bbbbbbbbbbbb", "blog", 3), rules: rules)
        #expect(
            entries(both) == [
                "blog-front 10.0.0.1:3", "blog-front-81 10.0.0.1:4", "shop-front 10.0.0.1:1",
                "shop-front-81 10.0.0.1:2",
            ])
        #expect(RegistrationPolicy.NameSource(rawValue: "compose-project") == .composeProject)
    }

    @Test(arguments: [
        ("whoami", ["com.docker.compose.oneoff": "True"], "c", "it is a one-off container of docker compose run"),
        ("localhost/podman-pause:4.3.1-0", [:], "c", "it is the infrastructure container of a pod"),
        ("k8s.gcr.io/pause:3.5", [:], "c", "it is the infrastructure container of a pod"),
        ("", [:], "0123456789ab-infra", "it is the infrastructure container of a pod"),
        ("x", ["io.kubernetes.docker.type": "podsandbox"], "c", "it is the infrastructure container of a pod"),
    ])
    func `what nobody runs as a service is left out, unless a label names it`(
        image: String, labels: [String: String], name: String, reason: String
    ) {
        var helper = container(image: image, labels: labels, binding("", 1, 80), binding("", 2, 81))
        helper.name = name
        let left = services(helper)
        #expect(entries(left) == [])
        #expect(
            left.reasons == [
                ContainerDecision.Reason(
                    text: "not registered: \(reason); a SERVICE_NAME label registers it all the same", kind: .reason)
            ])
        helper.labels["SERVICE_81_NAME"] = "admin"
        let one = services(helper)
        #expect(entries(one) == ["admin 10.0.0.1:2"])
        #expect(one.reasons.map(\.text) == ["port 80 not registered: no label names it, and \(reason)"])
        helper.labels["SERVICE_NAME"] = "web"
        #expect(entries(services(helper)) == ["admin 10.0.0.1:2", "web 10.0.0.1:1"])
    }

    @Test(arguments: [
        ["com.docker.compose.oneoff": "False"], ["io.kubernetes.docker.type": "container"], ["x": "infra"],
    ])
    func `what only looks like it is registered`(labels: [String: String]) {
        for (image, name) in [("my/pause", "pause"), ("whoami", "web-infra"), ("whoami", "0123456789az-infra")] {
            var container = container(image: image, labels: labels, binding("", 1, 80))
            container.name = name
            #expect(entries(services(container)).count == 1)
        }
    }

    @Test func `a step of a build is left out, although it has the labels of the image that is being built`() {
        var step = container(image: "sha256:\(String(repeating: "a", count: 64))", labels: ["SERVICE_NAME": "web"])
        step.network = .host
        step.exposed = [Port(80)!]
        step.isBuildStep = true
        let left = services(step)
        #expect(left.entries.isEmpty && left.listeningPorts.isEmpty)
        #expect(left.reasons.map(\.text) == ["not registered: it is a step of docker build"])
    }

    @Test func `ports that are no TCP ports are named, the first few of them`() {
        var dns = container(binding("", 1, 53))
        dns.otherPorts = ["53/udp"]
        #expect(entries(services(dns)) == ["whoami 10.0.0.1:1"])
        #expect(services(dns).reasons.map(\.text) == ["port 53/udp not registered: \(Self.onlyTCP)"])
        dns.bindings = []
        #expect(
            services(dns).reasons.map(\.text) == [
                "not registered: it publishes no TCP port, but port 53/udp: \(Self.onlyTCP)"
            ])
        dns.otherPorts = Set((10_000...20_000).map { "\($0)/udp" })
        #expect(
            services(dns).reasons.map(\.text) == [
                "not registered: it publishes no TCP port, but port 10000/udp, 10001/udp, 10002/udp, 10003/udp "
                    + "and 9997 more: \(Self.onlyTCP)"
            ])
    }

    private static let onlyTCP =
        "HAProxy forwards TCP alone; REGISTER_UDP has UDP ports registered for other programs"

    @Test func `UDP ports are registered where somebody says so, beside the service and without its listener`() throws {
        var dns = container(
            labels: [
                "SERVICE_NAME": "dns", "SERVICE_UDP": "true", "SERVICE_MODE": "http", "SERVICE_WEIGHT": "7",
                "SERVICE_TAGS": "a", "SERVICE_5353_UDP": "false", "SERVICE_REGISTER_CHECK": "tcp",
            ], binding("", 1, 53))
        dns.udpBindings = [binding("", 2, 53), binding("", 3, 5353), binding("127.0.0.1", 4, 54)]
        dns.otherPorts = ["53/udp", "54/udp", "5353/udp"]
        let decided = services(dns)
        #expect(entries(decided) == ["dns 10.0.0.1:1", "dns-53-udp 10.0.0.1:2"])
        #expect(
            decided.reasons.map(\.text) == [
                "port 54/udp not registered: it is published on 127.0.0.1, which other hosts cannot reach",
                "port 5353/udp not registered: \(Self.onlyTCP)",
            ])
        let entry = try #require(decided.entries.first { $0.key.service.text == "dns-53-udp" })
        let meta = try #require(Meta(json: entry.value.meta))
        #expect(meta.isUDP && meta.tags == ["a"] && meta.options.weight == 7 && meta.options.mode == nil)
        #expect(String(decoding: entry.value.meta, as: UTF8.self).contains(#""protocol":"udp""#))
        #expect(decided.gates[entry.key]?.check == nil)
        dns.bindings = []
        #expect(entries(services(dns)) == ["dns-53-udp 10.0.0.1:2"])
    }

    @Test func `ports of Swarm's routing mesh are said to be that, and those of single tasks are registered`() {
        var task = container(labels: ["com.docker.swarm.service.name": "web"])
        task.networks = ["ingress": Docker.NetworkAddresses(addresses: [IPAddress("10.0.0.7")!])]
        #expect(
            services(task).reasons.map(\.text) == [
                "not registered: Swarm publishes the ports of web in its routing mesh, and not at its containers; "
                    + "publish them with mode=host"
            ])
        task.bindings = [binding("0.0.0.0", 8080, 80)]
        #expect(entries(services(task)) == ["whoami 10.0.0.1:8080"])
        task.bindings = []
        task.networks = [:]
        #expect(services(task).reasons.map(\.text) == ["not registered: it publishes no TCP port"])
    }

    @Test func `meta says what labels say, and the host's zone`() throws {
        var rules = RegistrationPolicy()
        rules.zone = Zone("eu-1a")
        let services = self.services(
            container(
                labels: ["SERVICE_WEIGHT": "50", "SERVICE_CHECK": "http:/up", "SERVICE_9000_ZONE": "eu-1b"],
                binding("", 1, 8000), binding("", 2, 9000)), rules: rules)
        let (first, second) = (try #require(meta(services, "whoami")), try #require(meta(services, "whoami-9000")))
        #expect(first.options.check == ServiceCheck("http:/up"))
        #expect(first.options.weight == 50)
        #expect(first.options.zone == Zone("eu-1a"))
        #expect(second.options.check == nil)
        #expect(second.options.weight == 50)
        #expect(second.options.zone == Zone("eu-1b"))
    }

    @Test func `a primary port that is none is reported, and the lowest keeps the name`() {
        let services = self.services(container(labels: ["SERVICE_PRIMARY_PORT": "1"], binding("", 1, 9000)))
        #expect(entries(services) == ["whoami 10.0.0.1:1"])
        #expect(services.reasons.map(\.text) == ["SERVICE_PRIMARY_PORT=1 is not a registered port of it"])
    }

    @Test(arguments: ["sha256:\(String(repeating: "a", count: 64))", "", "team/UPPER case"])
    func `an image without a usable name is left out, unless a label names the service`(image: String) {
        let bare = services(container(image: image, binding("", 1, 80)))
        #expect(entries(bare) == [])
        #expect(bare.reasons.first?.text.contains("SERVICE_NAME") == true)
        let named = services(container(image: image, labels: ["SERVICE_NAME": "web"], binding("", 1, 80)))
        #expect(entries(named) == ["web 10.0.0.1:1"])
        #expect(named.reasons == [])
    }

    @Test func `a wrong label costs its field alone`() {
        let services = self.services(container(labels: ["SERVICE_WEIGHT": "a b"], binding("", 1, 80)))
        #expect(entries(services) == ["whoami 10.0.0.1:1"])
        #expect(services.reasons.count == 1)
    }

    @Test func `a wrong name leaves out what it is about, and does not make it another service`() {
        let ports = [binding("", 1, 80), binding("", 2, 81)]
        let all = services(container(labels: ["SERVICE_NAME": "my service"], ports[0], ports[1]))
        #expect(entries(all) == [])
        #expect(all.reasons.map(\.kind) == [.mistake])
        #expect(all.reasons.first?.level == .error)
        #expect(
            all.reasons.first?.text.hasPrefix(
                "not registered: SERVICE_NAME=my service is not understood; expected up to 16 names") == true)
        let one = services(container(labels: ["SERVICE_81_NAME": "a/b"], ports[0], ports[1]))
        #expect(entries(one) == ["whoami 10.0.0.1:1"])
        #expect(one.reasons.map(\.port) == [Port(81)])
        #expect(
            one.reasons.first?.text.hasPrefix("port 81 not registered: SERVICE_81_NAME=a/b is not understood") == true)
        let other = services(
            container(labels: ["SERVICE_NAME": "my service", "SERVICE_81_NAME": "admin"], ports[0], ports[1]))
        #expect(entries(other) == ["admin 10.0.0.1:2"])
    }

    @Test func `two ports of one name are one entry, and the other is told`() {
        let labels = ["SERVICE_80_NAME": "web", "SERVICE_81_NAME": "web"]
        let services = self.services(container(labels: labels, binding("", 1, 80), binding("", 2, 81)))
        #expect(entries(services) == ["web 10.0.0.1:1"])
        #expect(services.reasons.map(\.text) == ["port 81 not registered: another port of it is web too"])
    }

    @Test func `one service from different repositories is told once, different tags are not`() {
        let mixed = services(
            container(id: "aaaaaaaaaaaa", image: "a/web:1", binding("", 1, 80)),
            container(id: "bbbbbbbbbbbb", image: "b/web:1", binding("", 2, 80)))
        #expect(entries(mixed) == ["web 10.0.0.1:1", "web 10.0.0.1:2"])
        #expect(
            mixed.reasons.map(\.text) == [
                "service web is fed by different images: a/web, b/web; SERVICE_NAME tells them apart"
            ])
        let tags = services(
            container(id: "aaaaaaaaaaaa", image: "a/web:1", binding("", 1, 80)),
            container(id: "bbbbbbbbbbbb", image: "a/web:2", binding("", 2, 80)))
        #expect(tags.reasons == [])
    }

    // MARK: Addresses

    @Test(arguments: [
        (["0.0.0.0", "::"], "10.0.0.1", "10.0.0.1:1"),
        (["0.0.0.0", "::"], "fd00::1", "[fd00::1]:2"),
        ([""], "10.0.0.1", "10.0.0.1:1"),
        ([""], "fd00::1", "[fd00::1]:1"),
        (["10.0.0.9"], "10.0.0.1", "10.0.0.9:1"),
        (["10.0.0.9", "10.0.0.1"], "10.0.0.1", "10.0.0.1:2"),
        (["127.0.0.1", "0.0.0.0"], "10.0.0.1", "10.0.0.1:2"),
        (["fd00::9"], "10.0.0.1", "[fd00::9]:1"),
        (["0.0.0.0", "0.0.0.0"], "10.0.0.1", "10.0.0.1:1"),
    ])
    func `of several bindings of one port the one that others reach best is registered`(
        addresses: [String], host: String, endpoint: String
    ) {
        var container = self.container()
        container.bindings = Set(addresses.enumerated().map { binding($1, $0 + 1, 8000) })
        #expect(entries(services(container, host: host)) == ["whoami \(endpoint)"])
    }

    @Test(arguments: [
        ("127.0.0.1", "published on 127.0.0.1"), ("::1", "published on ::1"), ("::", "published on :: only"),
    ])
    func `a port that other hosts cannot reach is left out with the reason, and leaves the name to others`(
        address: String, reason: String
    ) {
        let services = self.services(container(binding(address, 1, 7000), binding("0.0.0.0", 2, 8000)))
        #expect(entries(services) == ["whoami 10.0.0.1:2"])
        #expect(services.reasons.count == 1)
        #expect(services.reasons.first?.text.contains(reason) == true)
    }

    // MARK: Left out

    @Test func `what publishes nothing, or is ignored, is left out with the reason`() {
        #expect(services(container()).reasons.map(\.text) == ["not registered: it publishes no TCP port"])
        let ignored = services(container(labels: ["SERVICE_IGNORE": "1"], binding("", 1, 80)))
        #expect(entries(ignored) == [])
        #expect(ignored.reasons.map(\.text) == ["not registered: SERVICE_IGNORE is set"])
        let port = services(container(labels: ["SERVICE_80_IGNORE": "1"], binding("", 1, 80), binding("", 2, 81)))
        #expect(entries(port) == ["whoami 10.0.0.1:2"])
    }

    @Test func `each container has a decision with its entries by port, and what is said of which port`() throws {
        let services = self.services(
            container(id: "bbbbbbbbbbbb", image: "api", labels: ["SERVICE_TAGS": "x"], binding("", 3, 80)),
            container(
                id: "aaaaaaaaaaaa", labels: ["SERVICE_80_IGNORE": "1", "SERVICE_PORT": "x"], binding("", 1, 80),
                binding("127.0.0.1", 2, 81), binding("", 4, 82)))
        #expect(services.decisions.map(\.subject.name) == ["c-aa", "c-bb"])
        let decision = try #require(services.decisions.first)
        #expect(decision.subject.state == "running")
        #expect(decision.entries.map(\.port) == [Port(82)])
        #expect(
            decision.entries.map(\.entry)
                == services.entries.values.filter { $0.id.id.text == "aaaaaaaaaaaa" })
        #expect(decision.reasons.map(\.kind) == [.warning, .reason, .obstacle])
        #expect(decision.reasons.map(\.port) == [nil, Port(80), Port(81)])
    }

    @Test func `the order of the containers changes nothing`() {
        let containers = (0..<20).map { number in
            container(
                id: "\(100_000_000_000 + number)", image: "s\(number % 3)", binding("", number + 1, 80))
        }
        let first = DesiredEntries(of: containers, owner: Self.owner)
        for _ in 0..<20 {
            let shuffled = DesiredEntries(of: containers.shuffled(), owner: Self.owner)
            #expect(shuffled.entries == first.entries)
            #expect(shuffled.decisions == first.decisions)
        }
    }

    // MARK: Logging

    @Test(arguments: [3, 5000])
    func `of many reasons of one container the log has the first few and a count`(count: Int) {
        let names = (0..<count).map { ("SERVICE_\(1000 + $0)_X", "1") }
        let labels = Dictionary(uniqueKeysWithValues: names)
        let inputs = Inputs(
            owner: Self.owner, policy: RegistrationPolicy(),
            containers: Docker.ContainerList(containers: [container(labels: labels, binding("", 1, 80))]))
        let lines = CapturedLines()
        var log = ReasonLog()
        let desired = Desired(inputs, current: [:])
        for _ in 0..<2 {
            log.update(desired, besides: [:], to: Logger(level: .info, format: .logfmt, write: lines.add))
        }
        #expect(lines.all.count == (count == 3 ? 3 : 1))
        #expect(lines.all.allSatisfy { $0.contains("container not registered, action required") })
        guard count > 3 else { return }
        #expect(lines.contain("SERVICE_1000_X=1", "SERVICE_1003_X=1", "and 4996 more", "reasons=5000"))
        #expect(!lines.contain("SERVICE_1004_X"))
    }
}
