import Shared
import TestSupport

/// One backend host with an engine that knows the image `whoami`, and etcd on another.
struct RegisterLab: Sendable {
    let laboratory: Laboratory
    let host: Laboratory.Host
    let engine: Engine
    let etcd: RunningProgram

    /// Makes one, runs `body` in it, and takes it away again.
    ///
    /// - Parameter flags: further flags of the engine.
    static func with(
        engine flags: [String] = [], _ body: @Sendable (RegisterLab) async throws -> Void
    ) async throws {
        try await Laboratory.with("etcd", "backend") { laboratory in
            let host = try laboratory.host("backend")
            let etcd = try await laboratory.startEtcd()
            let engine = try await Engine(in: laboratory, on: host, flags: flags)
            try await engine.importWhoami("whoami")
            try await body(RegisterLab(laboratory: laboratory, host: host, engine: engine, etcd: etcd))
        }
    }

    /// The key of a container's entry.
    static func key(_ container: String, _ service: String = "whoami") -> String { "/backends/\(service)/\(container)" }

    /// Runs docker-register on the backend host.
    func register(_ environment: [String: String] = [:]) throws -> Agent {
        try laboratory.register(on: host, engine: engine, environment)
    }

    /// Waits until the registry holds just these endpoints, by key.
    func holds(_ expected: [String: String]) async -> Bool {
        await eventually { (try? await laboratory.endpoints()) == expected }
    }

    /// Waits until the registry holds just these keys of endpoints.
    func holdsKeys(_ expected: [String]) async -> Bool {
        await eventually { (try? await laboratory.endpoints().keys.sorted()) == expected.sorted() }
    }

    /// What the engine says a container's port is published as.
    func published(_ container: String, port: Int = 8000) async throws -> String {
        let lines = try await engine.docker("port", container, "\(port)/tcp")
        let port = lines.first { $0.hasPrefix("0.0.0.0:") }?.split(separator: ":").last ?? ""
        return "\(host.address):\(port)"
    }

    /// The meta of a container's entry; nil where there is none.
    func meta(_ container: String, service: String = "whoami") async throws -> Meta? {
        let entries = try await laboratory.entries()
        return entries["/backends/\(service)/\(container)/meta"].flatMap { Meta(json: $0.utf8) }
    }

    /// That `etcdctl watch` saw nothing.
    struct NoWatch: Error {}

    /// Notes every change of the registry from now on, as `etcdctl watch` prints it, until the process ends.
    func watch() async throws -> (lines: CapturedLines, running: RunningProgram) {
        let lines = CapturedLines()
        let running = try laboratory.start(
            "etcdctl", ["watch", "--prefix", "/backends/"], on: host,
            ["ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": try laboratory.etcdAddress()], onLine: lines.add)
        // It watches once it has seen something.
        let isWatching = await eventually {
            _ = try? await laboratory.ctl("put", "/backends/", "x")
            return !lines.all.isEmpty
        }
        guard isWatching else { throw NoWatch() }
        try await laboratory.ctl("del", "/backends/")
        return (lines, running)
    }
}
