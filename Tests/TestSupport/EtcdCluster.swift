import FoundationEssentials
import Glibc
import Shared
import Synchronization

/// A real etcd of three members on free ports, with its data in a folder of its own.
///
/// It ends with the value.
package final class EtcdCluster: Sendable {
    /// What a cluster could not do.
    package struct Failure: Error, CustomStringConvertible {
        /// What was asked for, and what was said.
        package let description: String
    }

    private struct Member: Sendable {
        let name: String
        let client: String
        let peer: String
        let folder: String
        let log = CapturedLines()
    }

    private let folder: ScratchFolder
    private let members: [Member]
    private let processes = Mutex<[Int: RunningProgram]>([:])
    private let token = Mutex("first")

    /// Starts three members, and waits until all are healthy.
    package init() async throws {
        let folder = try ScratchFolder()
        self.folder = folder
        members = try (0..<3).map { number in
            Member(
                name: "m\(number)", client: "http://127.0.0.1:\(try FreePort.take())",
                peer: "http://127.0.0.1:\(try FreePort.take())", folder: "\(folder.path)/m\(number)")
        }
        try await startAll()
    }

    deinit {
        for running in processes.withLock({ $0.values }) { running.endAtOnce() }
    }

    /// All members, as `ETCD_HOST`.
    package var hosts: String { members.map(\.client).joined(separator: ",") }

    /// Starts a member with the data that it had.
    package func start(_ number: Int) throws {
        let member = members[number]
        let arguments = [
            "--name", member.name, "--data-dir", member.folder, "--listen-client-urls", member.client,
            "--advertise-client-urls", member.client, "--listen-peer-urls", member.peer,
            "--initial-advertise-peer-urls", member.peer, "--initial-cluster", initialCluster,
            "--initial-cluster-token", token.withLock { $0 }, "--heartbeat-interval", "50", "--election-timeout", "500",
            "--logger", "zap",
        ]
        let running = try Program("etcd", arguments, environment: Self.environment).start { member.log.add($0) }
        processes.withLock { $0[number] = running }
    }

    /// Starts all members, and waits until all are healthy.
    package func startAll() async throws {
        for number in members.indices { try start(number) }
        try await becomesHealthy()
    }

    /// Waits until all members are healthy.
    package func becomesHealthy() async throws {
        guard await eventually({ (try? await ctl("endpoint", "health")) != nil }) else {
            throw Failure(description: "etcd is not healthy: \(members.map { $0.log.all.suffix(3) })")
        }
    }

    /// Ends a member as a crash does.
    package func kill(_ number: Int) async throws {
        let running = processes.withLock { $0[number] }
        running?.signalGroup(SIGKILL)
        _ = try await running?.wait()
    }

    /// Ends all members.
    package func killAll() async throws {
        for number in members.indices { try await kill(number) }
    }

    /// Throws all data away, which makes another cluster with another token; all members have to be down.
    package func wipe(token: String) throws {
        self.token.withLock { $0 = token }
        for member in members { try FileManager.default.removeItem(atPath: member.folder) }
    }

    /// Writes a snapshot, and gives its file.
    package func saveSnapshot() async throws -> String {
        let file = folder.path + "/snapshot.db"
        try await ctl(on: members[0].client, ["snapshot", "save", file])
        return file
    }

    /// Goes back to a snapshot, as the documentation of etcd tells it; all members have to be down.
    package func restore(_ file: String) async throws {
        try wipe(token: "restored")
        for member in members {
            try await ctl(
                on: "",
                [
                    "snapshot", "restore", file, "--name", member.name, "--data-dir", member.folder,
                    "--initial-cluster", initialCluster, "--initial-cluster-token", "restored",
                    "--initial-advertise-peer-urls", member.peer,
                ])
        }
    }

    /// The number of the member that leads.
    package func leader() async throws -> Int {
        // endpoint, id, version, size, is leader
        let rows = try await ctl("endpoint", "status", "-w", "simple").map { $0.split(separator: ",") }
        let leading = rows.first { $0.count > 4 && $0[4].contains("true") }?.first.map(String.init)
        guard let number = members.firstIndex(where: { $0.client == leading }) else {
            throw Failure(description: "no member leads: \(rows)")
        }
        return number
    }

    /// Has another member lead.
    package func moveLeader() async throws {
        let old = try await leader()
        let rows = try await ctl("endpoint", "status", "-w", "simple").map { $0.split(separator: ",") }
        guard let heir = rows.first(where: { $0[4].contains("false") }) else { return }
        let id = heir[1].filter { $0 != " " }
        try await ctl(on: members[old].client, ["move-leader", String(id)])
    }

    /// The store's revision.
    package func revision() async throws -> Int64 {
        let rows = try await ctl(on: members[0].client, ["get", "-w", "json", "/none"])
        let parts = rows.joined().split(separator: "\"revision\":")
        return parts.last.flatMap { Int64($0.prefix { $0.isNumber }) } ?? 0
    }

    /// Runs `etcdctl` against all members, and gives what it printed.
    @discardableResult
    package func ctl(_ arguments: String...) async throws -> [String] { try await ctl(on: hosts, arguments) }

    @discardableResult
    private func ctl(on hosts: String, _ arguments: [String]) async throws -> [String] {
        let variables = Self.environment.merging(hosts.isEmpty ? [:] : ["ETCDCTL_ENDPOINTS": hosts]) { $1 }
        let outcome = try await Program("etcdctl", arguments, environment: variables).run(deadline: .seconds(20))
        guard outcome.isSuccess else { throw Failure(description: "etcdctl \(arguments): \(outcome.lines)") }
        return outcome.lines
    }

    private var initialCluster: String { members.map { "\($0.name)=\($0.peer)" }.joined(separator: ",") }

    private static let environment = ["ETCDCTL_API": "3", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/"]
}
