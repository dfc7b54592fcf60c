import Shared

/// What HAProxy says of itself and of all its servers at this moment.
struct ProxySight: Equatable, Sendable {
    /// The worker that answered.
    var worker: Int32
    /// Its version as it says it.
    var version: String
    /// The master; nil where it does not say.
    var master: Int32?
    /// How many workers of earlier configurations finish their connections; nil where the master does not say.
    var oldWorkers: Int?
    /// Its servers, by section and name.
    var servers: [String: [String: ServerSight]]
}

extension ProxySight {
    /// Parses the answer to ``question``; nil where it is none.
    init?(_ answer: String) {
        // Only the table has empty lines within it, in what a check got for an answer.
        guard let gap = answer.firstRange(of: "\n\n") else { return nil }
        let info = answer[..<gap.lowerBound]
        guard let worker = HAProxyWorker(String(info)), let servers = ServerSight.table(answer[gap.upperBound...])
        else { return nil }
        let version = info.split(separator: "\n").first { $0.hasPrefix("Version: ") }?.dropFirst("Version: ".count)
        self.init(worker: worker.pid, version: version.map(String.init) ?? "", servers: servers)
    }

    /// Type 4 is servers; -1 any of them.
    static let question = "show info;show stat -1 4 -1"
}

extension HAProxyProcess {
    /// What HAProxy says now; it costs HAProxy 60 ms where there are 10 000 servers.
    func sight(deadline: Duration) async throws -> ProxySight {
        let answer = try await runtime.socket.send(ProxySight.question, deadline: deadline)
        guard var sight = ProxySight(answer) else {
            throw RuntimeFailure.unexpected(answer: String(answer.prefix(100)), to: ProxySight.question)
        }
        if let table = try? await table() { (sight.master, sight.oldWorkers) = (table.master, table.oldWorkers.count) }
        return sight
    }
}
