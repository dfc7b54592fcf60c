import Shared

@testable import Discover

/// What a docker-discover knows, as tests write it down: a registry, and what HAProxy says.
struct SnapshotFixture {
    var snapshot: Snapshot
    var servers: [String: [String: ServerStats]] = [:]

    init(_ pairs: KeyValuePairs<String, String>) {
        let registry = RegistryFixture(pairs).state
        let directory = StateDirectory("/nowhere/sidekick")
        let access = HAProxyAccess(
            program: HAProxyProgram(path: "/nowhere", version: .oldest, abilities: .all),
            directory: directory ?? Self.impossible)
        snapshot = Snapshot(
            agent: Snapshot.Agent(process: 7, started: "2026-08-01T10:00:00.000Z"),
            store: Snapshot.Store(members: ["http://e:2379"], keyspace: RegistryFixture.keyspace, mode: "watch"),
            settings: .sample, inputs: DesiredInputs(registry: registry, host: HAProxySettings.sample.host),
            appliedRevision: registry.revision,
            massLoss: MassLossGuard(holdTime: .seconds(600)), history: ReloadHistory(),
            process: access)
    }

    /// Has HAProxy say that all that is wanted is up, besides what a test says of single servers.
    mutating func runs(_ adjust: [String: (inout ServerStats) -> Void] = [:]) {
        for listener in snapshot.desired?.listeners ?? [] {
            for server in listener.servers {
                var sight = ServerStats(
                    status: "UP", endpoint: server.endpoint, weight: server.keywords.weight,
                    isBackup: server.keywords.isBackup, age: 9, lastCheck: "L4OK in 0ms")
                adjust["\(listener.service)/\(server.id)"]?(&sight)
                servers[listener.service.text, default: [:]][server.id.text] = sight
            }
        }
    }

    /// The report, with what HAProxy says.
    var report: StatusReport {
        StatusReport(
            snapshot, .success(ProxyStats(worker: 9, version: "3.0.1", master: 8, oldWorkers: 0, servers: servers)))
    }

    /// The report where HAProxy says nothing.
    var silentReport: StatusReport { StatusReport(snapshot, .failure(.silent("cannot connect"))) }

    private static var impossible: StateDirectory { preconditionFailure("it is a path") }
}
