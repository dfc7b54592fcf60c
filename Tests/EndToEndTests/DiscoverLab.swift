import FoundationEssentials
import Glibc
import Shared
import Synchronization
import TestSupport

@testable import Shared

/// A client host in small: an etcd, docker-discover on a folder of its own, and backends that answer with their names.
///
/// All that it started ends with ``end()``, which ``withDiscoverLab(_:)`` calls in every case.
final class DiscoverLab: Sendable {
    let etcd: EtcdServer
    let folder: ScratchFolder
    let statsPort: Int
    let portRange: String
    private let agents = Mutex<[Agent]>([])

    init() async throws {
        etcd = try await EtcdServer()
        folder = try ScratchFolder()
        statsPort = try FreePort.take()
        portRange = try FreePort.takeRange()
    }

    /// STATE_DIR.
    var statePath: String { folder.path + "/state" }

    /// Starts docker-discover.
    @discardableResult
    func start(_ settings: [String: String] = [:]) throws -> Agent {
        try keep(Agent("docker-discover", [], standard.merging(settings) { $1 }))
    }

    /// Starts docker-discover as process 1 of a namespace; the agent is the program that made it.
    func startAsFirst(_ settings: [String: String] = [:]) throws -> Agent {
        let arguments = ["--pid", "--fork", "--kill-child", "--mount-proc"]
        return try keep(
            Agent(
                program: "unshare", arguments + ["\(Laboratory.programFolder)/docker-discover"],
                standard.merging(settings) { $1 }))
    }

    /// Starts docker-discover with a file system of this size at STATE_DIR, which nobody else has there.
    func start(stateSize: String, _ settings: [String: String] = [:]) throws -> Agent {
        let mount = "mkdir -p \(statePath) && mount -t tmpfs -o size=\(stateSize),mode=700 none \(statePath)"
        let line = "\(mount) && exec \(Laboratory.programFolder)/docker-discover"
        let arguments = ["--mount", "/bin/sh", "-c", line]
        return try keep(Agent(program: "unshare", arguments, standard.merging(settings) { $1 }))
    }

    /// Starts docker-discover with the file systems that a process has mounted.
    func start(withMountsOf pid: Int32, _ settings: [String: String] = [:]) throws -> Agent {
        let arguments = ["--target", "\(pid)", "--mount", "\(Laboratory.programFolder)/docker-discover"]
        return try keep(Agent(program: "nsenter", arguments, standard.merging(settings) { $1 }))
    }

    /// Starts docker-discover so that it and HAProxy may have no more files open.
    func start(openFiles: Int) throws -> Agent {
        let line = "ulimit -n \(openFiles) && exec \(Laboratory.programFolder)/docker-discover"
        return try keep(Agent(program: "/bin/sh", ["-c", line], standard))
    }

    private func keep(_ agent: Agent) -> Agent {
        agents.withLock { $0.append(agent) }
        return agent
    }

    private var standard: [String: String] {
        [
            "ETCD_HOST": "127.0.0.1:\(etcd.port)", "STATE_DIR": statePath, "STATS_BIND": ":\(statsPort)",
            "PORT_RANGE": portRange,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LOG_LEVEL": "debug",
            "HAPROXY": RealParts.haproxy,
        ]
    }

    /// Runs a command of docker-discover.
    func command(_ words: String...) async throws -> Program.Outcome {
        try await Program(
            "\(Laboratory.programFolder)/docker-discover", words, environment: ["STATE_DIR": statePath]
        ).run(deadline: .seconds(40))
    }

    /// The processes of the HAProxy that runs in the state directory; workers have the master as their parent.
    struct HAProxies {
        let master: Int32?
        let workers: [Int32]
    }

    /// Looks for them in /proc.
    func haproxies() -> HAProxies {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        var parents: [Int32: Int32] = [:]
        for pid in names.compactMap({ Int32($0) }) {
            guard let line = Self.text("/proc/\(pid)/cmdline"), line.contains(folder.path), line.contains("-W\0"),
                let parent = Self.text("/proc/\(pid)/stat")?.split(separator: ")").last?.split(separator: " ")
            else { continue }
            parents[pid] = Int32(parent[1])
        }
        let masters = parents.keys.filter { parents[parents[$0] ?? 0] == nil }
        return HAProxies(master: masters.min(), workers: parents.keys.filter { !masters.contains($0) }.sorted())
    }

    /// haproxy.cfg.
    var configuration: String { Self.text(statePath + "/haproxy.cfg") ?? "" }

    /// The last known catalog as it is on disk; empty where there is none.
    var catalog: String { Self.text(statePath + "/catalog.json") ?? "" }

    /// Puts keys, each by itself.
    func put(_ pairs: KeyValuePairs<String, String>) async throws {
        for (key, value) in pairs { try await etcd.ctl("put", "--", "/backends/" + key, value) }
    }

    /// A client that puts and deletes faster than one process a change.
    func client() throws -> FastClient { try FastClient(etcd) }

    /// Ends everything, in whatever state it is.
    func end() {
        for agent in agents.withLock({ $0 }) { agent.signal(SIGKILL) }
        let left = haproxies()
        for pid in [left.master].compactMap(\.self) + left.workers { Glibc.kill(pid, SIGKILL) }
    }

    static func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }

    /// What answers on a port of this host; nil for a failure.
    static func get(_ port: Int, _ path: String = "/", at address: String = "127.0.0.1") async -> String? {
        let program = Program("curl", ["-s", "-f", "-g", "-m", "5", "http://\(address):\(port)\(path)"])
        guard let outcome = try? await program.run(deadline: .seconds(10)), outcome.isSuccess else { return nil }
        return outcome.lines.joined(separator: "\n")
    }

    /// The HTTP status that is answered on a port of this host; nil where none is.
    static func status(_ port: Int, _ path: String) async -> String? {
        let program = Program(
            "curl", ["-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:\(port)\(path)"])
        guard let outcome = try? await program.run(deadline: .seconds(10)), outcome.isSuccess else { return nil }
        return outcome.lines.first
    }

    /// Whether that text is answered before long.
    static func answers(_ port: Int, _ text: String, at address: String = "127.0.0.1") async -> Bool {
        await eventually { await get(port, at: address) == text }
    }

    /// Whether nobody answers there before long.
    static func falls(silent port: Int) async -> Bool {
        await eventually { await get(port) == nil }
    }

    /// A backend that answers each request with its name, and keeps connections open.
    static func backend(_ name: String) throws -> StubServer { try StubServer(answering: name) }
}

/// A client of a lab's etcd within this process.
struct FastClient {
    private let client: Etcd.Client

    fileprivate init(_ etcd: EtcdServer) throws {
        guard let http = HTTPClient() else { throw LongConnection.Failure("no client") }
        client = Etcd.Client(http, Etcd.Configuration(endpoints: [etcd.origin]))
    }

    /// Puts keys, all at once.
    func put(_ pairs: KeyValuePairs<String, String>) async throws {
        try await commit(pairs.map { .put(key: "/backends/" + $0, value: Array($1.utf8), lease: 0) })
    }

    /// Puts keys, all at once: at most 128.
    func put(_ pairs: [(String, String)]) async throws {
        try await commit(pairs.map { .put(key: "/backends/" + $0, value: Array($1.utf8), lease: 0) })
    }

    /// Puts a route, and gives the revision of that.
    @discardableResult
    func route(_ name: String, _ value: String) async throws -> Int64 {
        try await commit([.put(key: "/backends-routes/" + name, value: Array(value.utf8), lease: 0)])
    }

    /// Deletes a key.
    func delete(_ key: String) async throws {
        try await commit([.delete(key: "/backends/" + key)])
    }

    @discardableResult
    private func commit(_ operations: [Etcd.Transaction.Operation]) async throws -> Int64 {
        try await client.commit(Etcd.Transaction(operations), deadline: .seconds(20)).revision
    }
}

/// Gives a test its lab, and ends the lab however the test ends.
func withDiscoverLab(_ body: (DiscoverLab) async throws -> Void) async throws {
    let lab = try await DiscoverLab()
    defer { lab.end() }
    try await body(lab)
}

extension Agent {
    /// Whether it applies what the registry says at that revision before long.
    func applies(revision: Int64) async -> Bool {
        await eventually {
            let newest = log.all.last { $0.contains("msg=\"applied\"") }?.split(separator: "revision=").last
            return newest.flatMap { Int64($0.prefix { $0.isNumber }) }.map { $0 >= revision } ?? false
        }
    }

    /// Whether the newest change that it applied is before long one with that field.
    func applies(_ field: String) async -> Bool {
        await eventually { log.all.last { $0.contains("msg=\"applied\"") }?.contains(field) == true }
    }
}
