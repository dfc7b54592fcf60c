// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Testing

@testable import Register

/// What `status` and `why` say of what is known.
@Suite("StatusCommands")
struct StatusCommandsTests {
    private static let owner = Owner(Docker.Identity(id: "E1", name: "host1"), IPAddress("10.0.0.1")!)

    private func container(
        _ id: String, _ name: String, labels: [String: String] = [:], port: Int? = 8000, on address: String = "0.0.0.0"
    ) -> Docker.Container {
        let binding = port.map {
            Docker.Binding(containerPort: Port($0)!, hostAddress: IPAddress(address), hostPort: Port(30_000 + $0)!)
        }
        return Docker.Container(
            id: InstanceID(id)!, name: name, image: "whoami", labels: labels, environment: [:],
            started: "2026-01-01T00:00:00Z", bindings: Set([binding].compactMap(\.self)))
    }

    /// What an agent knows that has these containers and has put these slots, by service.
    private func snapshot(
        _ containers: Docker.Container..., idle: [Docker.StoppedContainer] = [], registered: [String]? = [],
        change: (inout RegisteredEntry) -> Void = { _ in }
    ) -> Snapshot {
        let list = Docker.ContainerList(containers: containers, idle: idle)
        let desired = Desired(
            Inputs(owner: Self.owner, policy: RegistrationPolicy(), containers: list), current: nil)
        var snapshot = Snapshot(
            agent: Snapshot.Agent(process: 7, started: "2026-01-01T00:00:00.000Z"), owner: Self.owner,
            engine: Snapshot.Engine(address: "unix:///d.sock", api: "1.41"),
            store: Snapshot.Store(
                members: ["http://etcd:2379"], keyspace: Keyspace(prefix: "/backends")!,
                lease: Etcd.Lease(id: 255, ttl: 15)))
        snapshot.desired = desired
        snapshot.registered = registered.map { names in
            let there = desired.entries.filter { names.contains($0.key.service.text) }
            return there.mapValues { entry in
                var state = RegisteredEntry(
                    value: entry.value, meta: entry.meta, isLeased: true, source: .container,
                    put: RegisteredEntry.Put(revision: 57, time: "2026-01-01T00:00:01.000Z"))
                change(&state)
                return state
            }
        }
        return snapshot
    }

    private func idle(_ id: String, _ name: String, _ reason: Docker.StoppedContainer.Reason, state: String)
        -> Docker.StoppedContainer
    {
        Docker.StoppedContainer(
            subject: Docker.ContainerRef(id: InstanceID(id)!, name: name, image: "whoami", state: state), reason: reason
        )
    }

    private func answer(_ question: String, _ snapshot: Snapshot) -> CommandResponse {
        let words = question.split(separator: " ").map(String.init)
        let rest = Array(words.dropFirst())
        return words[0] == "why" ? StatusCommands.why(rest, snapshot) : StatusCommands.status(rest, snapshot)
    }

    private func lines(_ snapshot: Snapshot, _ question: String = "status") -> [String] {
        answer(question, snapshot).text.split(separator: "\n").map(String.init)
    }

    private func row(_ snapshot: Snapshot, _ name: String) -> String? {
        lines(snapshot).first { $0.hasPrefix("\(name) ") }
    }

    // MARK: status

    @Test func `the whole table, for people`() {
        let snapshot = snapshot(
            container("aaaaaaaaaaaa", "web", labels: ["SERVICE_WEIGHT": "x"]),
            container("bbbbbbbbbbbb", "b", port: nil),
            idle: [idle("cccccccccccc", "a", .notRunning(state: "exited"), state: "exited")], registered: ["whoami"])
        #expect(
            answer("status", snapshot).text == """
                docker-register  \(Version.current) on host1
                process          7, since 2026-01-01T00:00:00.000Z
                HOST_IP          10.0.0.1
                owner            E1@10.0.0.1
                engine           unix:///d.sock, API 1.41
                etcd             http://etcd:2379
                prefix           /backends/
                lease            ff, TTL 15 s

                CONTAINER  ID            IMAGE   STATE    SERVICE  ENDPOINT        REGISTRY
                a          cccccccccccc  whoami  exited   -        -               not registered: it does not run (exited)
                b          bbbbbbbbbbbb  whoami  running  -        -               not registered: it publishes no TCP port
                web        aaaaaaaaaaaa  whoami  running  whoami   10.0.0.1:38000  in etcd since 2026-01-01T00:00:01.000Z (revision 57)
                                                          -        -               warning: SERVICE_WEIGHT=x is not understood; expected a whole number from 0 to 256

                """)
    }

    @Test func `what the registry has of an entry is told in words`() {
        let web = container("aaaaaaaaaaaa", "web")
        #expect(row(snapshot(web, registered: []), "web")?.hasSuffix("not in etcd yet") == true)
        var unknown = snapshot(web, registered: nil)
        #expect(row(unknown, "web")?.hasSuffix("unknown: etcd has not answered yet") == true)
        unknown.store.trouble = ErrorRecord(HTTPError.timedOut("etcd", after: .seconds(5)))
        #expect(row(unknown, "web")?.hasSuffix("unknown: etcd unreachable") == true)
        unknown.leader = "process 8 on host1"
        #expect(row(unknown, "web")?.hasSuffix("left to another docker-register of this engine") == true)
        #expect(lines(unknown).contains { $0.hasSuffix("its entries are kept by process 8 on host1") })
        let other = snapshot(web, registered: ["whoami"]) { $0.value = Array("10.0.0.9:1".utf8) }
        #expect(row(other, "web")?.hasSuffix("etcd has something else: 10.0.0.9:1 (revision 57)") == true)
        let meta = snapshot(web, registered: ["whoami"]) { $0.meta = Array("{}".utf8) }
        #expect(row(meta, "web")?.hasSuffix("etcd has something else: another meta (revision 57)") == true)
        let gone = snapshot(web, registered: ["whoami"]) { $0.value = nil }
        #expect(row(gone, "web")?.hasSuffix("not in etcd yet") == true)
        var lost = snapshot(web, registered: [])
        lost.store.trouble = ErrorRecord(HTTPError.timedOut("etcd", after: .seconds(5)))
        #expect(row(lost, "web")?.hasSuffix("not in etcd: etcd unreachable") == true)
        #expect(lines(lost).contains { $0.contains("lost since") && $0.contains("no answer from etcd within 5s") })
        var absent = snapshot(web, registered: [])
        absent.agent = nil
        #expect(row(absent, "web")?.hasSuffix("not in etcd") == true)
        #expect(lines(absent).first?.hasSuffix("on host1, not running") == true)
    }

    @Test(arguments: [
        (Docker.StoppedContainer.Reason.notRunning(state: "paused"), "it is paused"),
        (.notRunning(state: "created"), "it was never started"),
        (.notRunning(state: "restarting"), "it ended, and the engine is about to start it again"),
        (.notRunning(state: "dead"), "it does not run (dead)"), (.stopping, "it was told to stop"),
        (.unreadable, "the Docker Engine does not say how it is; what is registered of it stays"),
    ])
    func `a container that is not registered as a whole has its reason`(
        reason: Docker.StoppedContainer.Reason, text: String
    ) {
        let snapshot = snapshot(idle: [idle("cccccccccccc", "a", reason, state: "x")])
        #expect(row(snapshot, "a")?.hasSuffix("not registered: \(text)") == true)
    }

    @Test func `what is in the registry without being wanted is told`() {
        var snapshot = snapshot(container("aaaaaaaaaaaa", "web"), registered: ["whoami"])
        snapshot.desired.decisions = [ContainerDecision(on: idle("aaaaaaaaaaaa", "web", .stopping, state: "running"))]
        #expect(
            lines(snapshot).last?.hasSuffix("warning: registered nevertheless: /backends/whoami/aaaaaaaaaaaa") == true)
        snapshot.desired.decisions = []
        #expect(lines(snapshot).last == "/backends/whoami/aaaaaaaaaaaa is still in etcd, and its container is gone.")
    }

    @Test func `the order of what is known changes nothing`() {
        let all = (0..<20).map { container("\(100_000_000_000 + $0)", "c\($0 % 7)") }
        var snapshot = snapshot()
        snapshot.desired.decisions = DesiredEntries(of: all, owner: Self.owner).decisions
        let text = answer("status --json", snapshot)
        snapshot.desired.decisions.shuffle()
        #expect(answer("status --json", snapshot) == text)
    }

    // MARK: Services file

    @Test func `a service of the services file is told by its name or id, and drains show`() throws {
        let file =
            #"{"services": [{"name": "db", "port": 5432, "id": "main"}, {"name": "mq", "port": 1, "id": "a"}, "#
            + #"{"name": "mq", "port": 2, "id": "b"}]}"#
        let services = try ServicesFile(Array(file.utf8), keyspace: nil)
        let candidates = DesiredEntries(
            of: [], services: services.services, owner: Self.owner, drained: [InstanceID("main")!])
        var snapshot = snapshot(container("aaaaaaaaaaaa", "web"))
        snapshot.desired.services = candidates.services
        snapshot.registered = [:]
        for id in candidates.services.keys {
            snapshot.desired.notReady[id] = candidates.gates[id]?.notReadyReason(nil, nil)
        }
        for question in ["why db", "why main"] {
            #expect(lines(snapshot, question).first == "db of the services file")
            #expect(lines(snapshot, question).contains("  service db, port -: not registered: drained"))
        }
        #expect(answer("why mq", snapshot).text.split(separator: "\n").count { $0 == "mq of the services file" } == 2)
        #expect(answer("why --json db", snapshot).text.contains(#""reason" : "drained""#))
        #expect(lines(snapshot, "why web").first?.hasPrefix("web (aaaaaaaaaaaa)") == true)
        let missing = answer("why whoami", snapshot)
        #expect(missing.status == 1)
        #expect(
            missing.text
                == "no container of this host, and no service of its services file, has the name or id whoami\n")
    }

    @Test func `a container with thousands of reasons has some rows, and says how many more there are`() {
        let labels = Dictionary(uniqueKeysWithValues: (0..<5000).map { ("SERVICE_X\($0)", "1") })
        let rows = lines(snapshot(container("aaaaaaaaaaaa", "web", labels: labels)))
        #expect(rows.count < 60)
        #expect(rows.last?.hasSuffix("and 4969 more, which docker-register why aaaaaaaaaaaa shows") == true)
    }

    @Test func `what may be wrong with HOST_IP is in the head`() {
        var snapshot = snapshot()
        snapshot.addressWarning = "no interface of this host has 10.0.0.1"
        snapshot.addressConflicts = ["host2 registers with this HOST_IP too"]
        #expect(lines(snapshot).contains("warning          no interface of this host has 10.0.0.1"))
        #expect(lines(snapshot).contains("warning          host2 registers with this HOST_IP too"))
    }

    // MARK: why

    @Test func `labels and ports are told with what they decide`() {
        let labels = ["SERVICE_NAME": "shop", "SERVICE_WEIGHT": "x\n", "SERVICE_9000_TAGS": "a", "other": "y"]
        let local = container("aaaaaaaaaaaa", "web", labels: labels, on: "127.0.0.1")
        let lines = lines(snapshot(local), "why web")
        #expect(lines.first == "web (aaaaaaaaaaaa), image whoami, running")
        #expect(lines.contains("  SERVICE_NAME=shop"))
        #expect(lines.contains(#"  SERVICE_WEIGHT=x\n"#))
        #expect(lines.contains("      label; not understood; expected a whole number from 0 to 256"))
        #expect(lines.contains { $0.hasPrefix("      label; port 9000 is not published; of port 9000: ") })
        #expect(!lines.contains { $0.contains("other=") })
        #expect(lines.contains("  8000, published at 127.0.0.1:38000"))
        #expect(lines.contains("Registry: nothing"))
        let reason = "port 8000 not registered: it is published on 127.0.0.1, which other hosts cannot reach"
        #expect(lines.contains("      \(reason)") && lines.contains("  \(reason)"))
    }

    @Test func `the health is told with the state`() {
        var container = container("aaaaaaaaaaaa", "web")
        container.health = .unhealthy(failures: 3)
        let lines = lines(snapshot(container), "why web")
        #expect(lines.first == "web (aaaaaaaaaaaa), image whoami, running, unhealthy, 3 failed in a row")
    }

    @Test func `what the registry has stands beside what it should have`() {
        let snapshot = snapshot(container("aaaaaaaaaaaa", "web"), registered: ["whoami"]) {
            $0.value = Array("10.0.0.9:1".utf8)
            $0.meta = nil
        }
        let lines = lines(snapshot, "why web")
        #expect(lines.contains("      /backends/whoami/aaaaaaaaaaaa = 10.0.0.9:1"))
        #expect(lines.contains("          should be 10.0.0.1:38000"))
        #expect(lines.contains("      /backends/whoami/aaaaaaaaaaaa/meta = "))
        #expect(lines.contains { $0.hasPrefix("          should be {\"container\":\"web\"") })
    }

    @Test(arguments: [
        ("web", "web"), ("/web", "web"), ("aaaaaaaaaaaa", "web"), ("aaaaaaaaaaaa0123456789", "web"),
        ("aaaaaaaaaab", "api"),
        ("aab", "aab"), ("b", "b"), ("bbbbbbbbbbbb", "aab"),
    ])
    func `a container is found by its name, its id or the beginning of that`(text: String, name: String) throws {
        let report = StatusReport(Self.four(self))
        #expect(try report.container(text).name == name)
    }

    @Test(arguments: ["", "x", "WEB", "we", "aaaaaaaaaaac", "\u{1b}"])
    func `a name that no container has is an error`(text: String) {
        #expect(throws: StatusReport.NotFound.none(text)) { try StatusReport(Self.four(self)).container(text) }
    }

    @Test func `the beginning of several ids is an error that names them`() {
        let several = StatusReport.NotFound.several("aaaa", ["api (aaaaaaaaaabb)", "web (aaaaaaaaaaaa)"])
        #expect(throws: several) { try StatusReport(Self.four(self)).container("aaaa") }
        let answer = answer("why aaaa", Self.four(self))
        #expect(answer.status == 1)
        #expect(
            answer.text == "aaaa is the beginning of several ids: api (aaaaaaaaaabb), web (aaaaaaaaaaaa)\n")
    }

    /// Names and ids that look alike.
    private static func four(_ tests: StatusCommandsTests) -> Snapshot {
        tests.snapshot(
            tests.container("aaaaaaaaaaaa", "web"), tests.container("aaaaaaaaaabb", "api"),
            tests.container("bbbbbbbbbbbb", "aab"), tests.container("cccccccccccc", "b"))
    }

    // MARK: Lines

    @Test(arguments: [
        ("status", 0), ("status --json", 0), (" status  --json ", 0), ("why web", 0), ("why --json web", 0),
        ("why web --json", 0), ("why nobody", 1), ("why", 64), ("why a b", 64), ("status x", 64), ("", 64),
        ("nonsense", 64), ("STATUS", 64), ("status\t", 64), ("why \u{0}", 1),
    ])
    func `every line has an answer`(line: String, status: Int32) async {
        let snapshot = snapshot(container("aaaaaaaaaaaa", "web"))
        let answer = await CommandRouter(of: "docker-register", StatusCommands.handlers { snapshot }).answer(line)
        #expect(answer.status == status)
        #expect(answer.text.hasSuffix("\n"))
    }

    // MARK: drain

    @Test(arguments: ["drain web", "drain --wait 5s web", "undrain web"])
    func `an agent that stands by drains nothing, and names the one to ask`(line: String) async throws {
        let etcd = Etcd.Client(try #require(HTTPClient()), Etcd.Configuration(endpoints: [.tcp("http://127.0.0.1:1")]))
        let registry = EntryStore(etcd: etcd, keyspace: Keyspace(prefix: "/backends")!, deadline: .seconds(1))
        let requests = LoopQueue<RegisterAgent> {}
        var snapshot = snapshot(container("aaaaaaaaaaaa", "web"))
        snapshot.leader = "process 8 on host1"
        let words = line.split(separator: " ").map(String.init)
        let command = try #require(DrainCommands.all.first { $0.name == words[0] })
        let answer = await DrainCommands(registry, requests).answer(command, Array(words.dropFirst()), snapshot)
        #expect(answer.status == 1)
        #expect(answer.text.contains("stands by") && answer.text.contains("process 8 on host1"))
        #expect(requests.isEmpty)
    }
}
