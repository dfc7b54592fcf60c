import FoundationEssentials
import Glibc
import Shared
import Synchronization
import TestSupport
import Testing

/// Containers that come and go at random while the engine and etcd are restarted.
@Suite(
    "Storm of containers",
    .enabled(
        if: RealParts.canRun("etcd", "etcdctl", "dockerd", "docker", "ip", "nsenter", asRoot: true),
        "needs root, Docker, etcd and iproute2"),
    .serialized, .timeLimit(.minutes(10)))
struct StormTests {
    /// How many containers are started; `make storm` has more.
    private static var size: Int { unsafe getenv("SIDEKICK_STORM").flatMap { unsafe Int(String(cString: $0)) } ?? 40 }

    @Test func `whatever was started and removed in whatever order, the registry has the truth within two seconds`()
        async throws
    {
        try await RegisterLab.with(engine: ["--userland-proxy=false"]) { lab in
            let agent = try lab.register(["TTL": "6"])
            let storm = Storm(try #require(HTTPClient()), lab.engine, size: Self.size)
            async let blowing: Void = storm.blow()
            let etcd = Mutex(lab.etcd)
            for (part, trouble) in ["engine stop", "etcd crash", "engine crash"].enumerated() {
                #expect(await storm.hasStarted(Self.size * (part + 1) / 4))
                switch trouble {
                case "etcd crash":
                    etcd.withLock { $0.signal(SIGKILL) }
                    _ = try await etcd.withLock { $0 }.wait()
                    let again = try await lab.laboratory.startEtcd()
                    etcd.withLock { $0 = again }
                default:
                    try await lab.engine.end(trouble == "engine stop" ? SIGTERM : SIGKILL)
                    try await lab.engine.start()
                }
            }
            await blowing
            let end = ContinuousClock.now
            let delay = try await delayUntilTruth(lab, since: end)
            print("storm of \(Self.size): \(storm.summary), true \(delay) after its end")
            #expect(delay < .seconds(2))
            #expect(agent.ending == nil)
        }
    }

    /// How long after `end` the registry came to the truth for good; the truth is what the engine says afterwards.
    private func delayUntilTruth(_ lab: RegisterLab, since end: ContinuousClock.Instant) async throws -> Duration {
        let truth = Task { try await self.truth(lab) }
        var seen: [(time: Duration, endpoints: [String: String])] = []
        let isTrue = await eventually(within: .seconds(60)) {
            guard let endpoints = try? await lab.laboratory.endpoints() else { return false }
            let time = ContinuousClock.now - end
            seen.append((time, endpoints))
            guard time > .seconds(3), let truth = try? await truth.value else { return false }
            return truth == endpoints
        }
        let expected = try await truth.value
        #expect(isTrue)
        #expect(seen.last?.endpoints == expected)
        let lie = seen.lastIndex { $0.endpoints != expected } ?? -1
        return seen.indices.contains(lie + 1) ? seen[lie + 1].time : .seconds(60)
    }

    /// The entries that the engine's containers should have.
    private func truth(_ lab: RegisterLab) async throws -> [String: String] {
        let ids = try await lab.engine.docker("ps", "-q", "--filter", "status=running")
        guard !ids.isEmpty else { return [:] }
        var entries: [String: String] = [:]
        let format = "{{.Id}} {{range (index .NetworkSettings.Ports \"8000/tcp\")}}{{.HostIp}}:{{.HostPort}} {{end}}"
        for line in try await lab.engine.docker(["inspect", "-f", format] + ids) {
            let words = line.split(separator: " ")
            guard let id = words.first, let port = words.first(where: { $0.hasPrefix("0.0.0.0:") }) else { continue }
            entries[RegisterLab.key(String(id.prefix(12)))] = "\(lab.host.address):\(port.dropFirst(8))"
        }
        return entries
    }
}

/// Starts containers through the engine's API, and stops, restarts, pauses and removes others meanwhile.
private final class Storm: Sendable {
    private let http: HTTPClient
    private let engine: Engine
    private let size: Int

    /// What the engine answers to the making of a container.
    private struct Created: Decodable {
        // The field has the name that it has in the JSON.
        // swift-format-ignore: AlwaysUseLowerCamelCase
        let Id: String
    }

    private struct State {
        var started = 0
        var failed = 0
        var actions: [String: Int] = [:]
        var alive: [String] = []
    }
    private let state = Mutex(State())

    init(_ http: HTTPClient, _ engine: Engine, size: Int) {
        self.http = http
        self.engine = engine
        self.size = size
    }

    /// What was done.
    var summary: String {
        state.withLock { state in
            let actions = state.actions.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
            return "\(actions.joined(separator: ", ")), \(state.failed) refused, \(state.alive.count) left"
        }
    }

    /// Waits until so many containers were started.
    func hasStarted(_ count: Int) async -> Bool {
        await eventually(within: .seconds(300)) { state.withLock { $0.started >= count } }
    }

    /// Does everything, several things at a time.
    func blow() async {
        await withDiscardingTaskGroup { group in
            for _ in 0..<4 {
                group.addTask { [self] in
                    while state.withLock({ $0.started < size }) { await act() }
                }
            }
        }
    }

    private func act() async {
        // Two of them are started for each that goes.
        let actions = ["start", "start", "start", "start", "kill", "kill", "restart", "pause", "unpause"]
        let action = actions.randomElement() ?? "start"
        let isDone = action == "start" ? await start() : await change(action)
        state.withLock { state in
            if isDone { state.actions[action, default: 0] += 1 } else { state.failed += 1 }
        }
        // An engine that is away refuses at once.
        if !isDone { try? await Task.sleep(for: .milliseconds(20)) }
    }

    private func start() async -> Bool {
        let settings =
            #"{"Image":"whoami","Entrypoint":["/bin/busybox","sleep","100000"],"StopSignal":"SIGKILL","#
            + #""HostConfig":{"PublishAllPorts":true,"AutoRemove":\#(Bool.random()),"#
            + #""RestartPolicy":{"Name":"no"}}}"#
        guard let answer = await post("/containers/create", settings),
            let id = try? JSONDecoder().decode(Created.self, from: Data(answer)).Id,
            await post("/containers/\(id)/start") != nil
        else { return false }
        state.withLock { state in
            state.started += 1
            state.alive.append(id)
        }
        return true
    }

    private func change(_ action: String) async -> Bool {
        let id = state.withLock { state -> String? in
            guard let index = state.alive.indices.randomElement() else { return nil }
            return action == "kill" ? state.alive.remove(at: index) : state.alive[index]
        }
        guard let id else { return false }
        return await post("/containers/\(id)/\(action)\(action == "restart" ? "?t=0" : "")") != nil
    }

    private func post(_ route: String, _ body: String = "") async -> [UInt8]? {
        let request = HTTPRequest(.post(Array(body.utf8)), route)
        let answer = try? await http.send(request, to: .unix(engine.socket), deadline: .seconds(30), cap: 1 << 20)
        guard let answer, answer.head.isSuccess else { return nil }
        return answer.body
    }
}
