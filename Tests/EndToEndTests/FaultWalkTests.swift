import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

/// How many faults: `SIDEKICK_FAULTS` says otherwise.
private let steps = ProcessInfo.processInfo.environment["SIDEKICK_FAULTS"].flatMap { Int($0) } ?? 6

/// Faults of etcd, HAProxy, the disk and docker-discover in a random order, while endpoints come and go.
@Suite(
    "Walk of faults", .timeLimit(.minutes(30)),
    .enabled(
        if: RealParts.canRun("haproxy", "etcd", "etcdctl", "curl", "unshare", "nsenter", "mount", asRoot: true),
        "needs root, haproxy, etcd, curl and util-linux"))
struct FaultWalkTests {
    private enum Fault: CaseIterable {
        case etcdIsKilled, etcdHangs, etcdIsRestored, etcdHasNoRoom
        case diskIsFull, filesAreGone, agentIsKilled, agentHangs
        case workerPauses, workerHangs, masterIsKilled, connectionsIdle

        /// Whether requests may fail meanwhile: those that HAProxy itself had, or has no time for.
        var costsRequests: Bool { [.workerPauses, .workerHangs, .masterIsKilled].contains(self) }
    }

    /// A service of changing endpoints and one of idle connections, behind a docker-discover that logs in to etcd.
    private final class Scene {
        let lab: DiscoverLab
        let port: Int
        let idlePort: Int
        private let holder: RunningProgram
        private var agent: Agent
        private var backends: [Int: StubServer] = [:]
        private var lastNumber = 0
        private let idle: StubServer

        private static let password = "secret"

        init(_ lab: DiscoverLab) async throws {
            self.lab = lab
            (port, idlePort) = (try FreePort.take(), try FreePort.take())
            idle = try StubServer { $0.waitForEnd() }
            try await lab.etcd.enableLogin(Self.password)
            // A disk of its own, which stays when the agent goes.
            let mount = "mkdir -p \(lab.statePath) && mount -t tmpfs -o size=2m,mode=700 none \(lab.statePath)"
            holder = try Program("unshare", ["--mount", "/bin/sh", "-c", "\(mount) && exec sleep 3600"])
                .start { _ in }
            let mounts = "/proc/\(holder.pid)/mounts"
            guard await eventually({ DiscoverLab.text(mounts)?.contains(" \(lab.statePath) tmpfs ") == true }) else {
                throw NotMounted()
            }
            agent = try lab.start(withMountsOf: holder.pid, Self.settings)
            try await put("web/port", "\(port)")
            try await put("idle/port", "\(idlePort)")
            try await put("idle/1", "127.0.0.1:\(idle.port)")
            for _ in 0..<3 { try await addEndpoint() }
        }

        struct NotMounted: Error {}

        private static var settings: [String: String] { ["ETCD_USER": "root", "ETCD_PASSWORD": password] }

        /// STATE_DIR as seen from here.
        private var disk: String { "/proc/\(holder.pid)/root\(lab.statePath)" }

        private func ctl(_ words: String...) async throws {
            try await lab.etcd.ctl(["--user", "root:\(Self.password)"] + words)
        }

        private func put(_ key: String, _ value: String) async throws {
            try await ctl("put", "/backends/" + key, value)
        }

        func addEndpoint() async throws {
            lastNumber += 1
            let backend = try DiscoverLab.backend("b\(lastNumber)")
            backends[lastNumber] = backend
            try await put("web/\(lastNumber)", "127.0.0.1:\(backend.port)")
        }

        /// Takes the oldest endpoint out; its program goes on, as one does that was asked to stop.
        func removeEndpoint() async throws -> StubServer? {
            guard let oldest = backends.keys.min() else { return nil }
            try await ctl("del", "/backends/web/\(oldest)")
            return backends.removeValue(forKey: oldest)
        }

        /// Takes out the oldest endpoints until three are left.
        func removeEndpoints() async throws -> [StubServer] {
            var gone: [StubServer] = []
            while backends.count > 3, let server = try await removeEndpoint() { gone.append(server) }
            return gone
        }

        /// Whether just the endpoints answer before long.
        func isTrue() async -> Bool {
            let expected = Set(backends.keys.map { "b\($0)" })
            let isTrue = await eventually(within: .seconds(60)) {
                var seen: Set<String> = []
                for _ in 0..<3 * expected.count { seen.insert(await DiscoverLab.get(port) ?? "nobody") }
                return seen == expected
            }
            if !isTrue { print(agent.log.all.suffix(40).joined(separator: "\n")) }
            return isTrue
        }

        /// Has a fault begin, last while an endpoint comes where it can, and end.
        func run(_ fault: Fault) async throws {
            switch fault {
            case .etcdIsKilled:
                try await lab.etcd.kill()
                #expect(await losesEtcd())
                try await lab.etcd.start()
            case .etcdHangs:
                lab.etcd.hang(true)
                defer { lab.etcd.hang(false) }
                #expect(await losesEtcd())
            case .etcdIsRestored:
                // Its tokens wait for a time that the restored one has not come to.
                for _ in 0..<60 { try await put("noise/port", "1") }
                try await addEndpoint()
                let snapshot = try await lab.etcd.saveSnapshot("root:\(Self.password)")
                try await lab.etcd.stop()
                try await lab.etcd.restore(snapshot)
                try await lab.etcd.start()
            case .etcdHasNoRoom:
                try await lab.etcd.raiseNoSpace(true)
                let gone = try await removeEndpoint()
                #expect(await isTrue())
                withExtendedLifetime(gone) {}
                try await ctl("alarm", "disarm")
            case .diskIsFull:
                let fill = Program("/bin/sh", ["-c", "cat /dev/zero >\(disk)/filler"])
                #expect(try await !fill.run(deadline: .seconds(20)).isSuccess)
                try await addEndpoint()
                #expect(await isTrue())
                try FileManager.default.removeItem(atPath: disk + "/filler")
            case .filesAreGone:
                try await agent.kill()
                for name in try FileManager.default.contentsOfDirectory(atPath: disk) {
                    try FileManager.default.removeItem(atPath: disk + "/" + name)
                }
                try await addEndpoint()
                try restart()
            case .agentIsKilled:
                try await agent.kill()
                try await addEndpoint()
                try restart()
            case .agentHangs:
                agent.signal(SIGSTOP)
                try await addEndpoint()
                agent.signal(SIGCONT)
            case .workerPauses, .workerHangs:
                guard let worker = lab.haproxies().workers.last else { return }
                kill(worker, SIGSTOP)
                try await addEndpoint()
                if fault == .workerPauses { kill(worker, SIGCONT) }
            case .masterIsKilled:
                guard let master = lab.haproxies().master else { return }
                kill(master, SIGKILL)
                #expect(await eventually { lab.haproxies().master.map { $0 != master } == true })
            case .connectionsIdle:
                let connections = (0..<200).compactMap { _ in try? LongConnection(port: idlePort) }
                try await addEndpoint()
                #expect(await isTrue())
                withExtendedLifetime(connections) {}
            }
        }

        private func restart() throws { agent = try lab.start(withMountsOf: holder.pid, Self.settings) }

        /// Whether the agent says before long, once more, that etcd is away.
        private func losesEtcd() async -> Bool {
            let before = agent.log.count(of: "unreachable")
            return await eventually(within: .seconds(60)) { agent.log.count(of: "unreachable") > before }
        }

        func end() { holder.endAtOnce() }
    }

    @Test func `after each of many faults the endpoints are what the registry says, and no request was lost`()
        async throws
    {
        try await withDiscoverLab { lab in
            let scene = try await Scene(lab)
            defer { scene.end() }
            #expect(await scene.isTrue())
            var left: [Fault] = []
            for step in 0..<steps {
                if left.isEmpty { left = Fault.allCases.shuffled() }
                let fault = left.removeLast()
                let load = fault.costsRequests ? nil : LoadGenerator(port: scene.port, clients: 2, rate: 100)
                try await scene.run(fault)
                try await scene.addEndpoint()
                let gone = try await scene.removeEndpoints()
                #expect(await scene.isTrue(), "step \(step): \(fault)")
                if let load {
                    let count = load.count
                    #expect(await eventually { load.count > count })
                    #expect(await load.stop() == [], "step \(step): \(fault)")
                }
                withExtendedLifetime(gone) {}
            }
        }
    }
}
