import Shared

/// What a docker-register that starts now would change in the registry, as lines to print.
enum PlanCommand {
    /// Shows them instead of making them.
    static let plan = Command(
        "plan", help: "Prints what docker-register would put into etcd and delete there, and changes nothing.")
    /// The same under its former name.
    static let dryRun = Command("--dry-run", help: "The same as plan: its former name, for this release alone.")

    /// Both.
    static let all = [plan, dryRun]

    /// The changes, one line each.
    ///
    /// Entries that are as they should be, and would only move to the new agent's lease, are no changes.
    ///
    /// - Throws: why etcd did not answer.
    static func lines(_ snapshot: Snapshot) throws -> [String] {
        if let trouble = snapshot.store.trouble { throw Failure.noRegistry(trouble.error) }
        let registered = (snapshot.registered ?? [:]).mapValues { entry in
            var entry = entry
            entry.isLeased = true
            return entry
        }
        let changes = EntryDiff.changes(from: registered, to: snapshot.desired)
        let keys = snapshot.desired.hostKeys.filter { snapshot.hostKeys[$0] != $1 }.sorted { $0.key < $1.key }
        return changes.map { line($0, snapshot.store.keyspace) }
            + keys.map { "put \($0) \(String(decoding: $1, as: UTF8.self))" }
    }

    private static func line(_ change: EntryChange, _ keyspace: Keyspace) -> String {
        switch change {
        case .put(let entry):
            let key = keyspace.text(of: .entry(entry.id.service, entry.id.id))
            return "put \(key) \(entry.endpoint) \(String(decoding: entry.meta, as: UTF8.self))"
        case .withdraw(let id, let reason, _):
            return "delete \(keyspace.text(of: .entry(id.service, id.id))) (\(reason))"
        }
    }

    /// Why nothing can be said.
    enum Failure: Error, Equatable {
        /// What is in the registry is not known.
        case noRegistry(String)
    }
}

extension PlanCommand.Failure: CustomStringConvertible {
    /// One sentence for the person who asks.
    var description: String {
        switch self {
        case .noRegistry(let reason): "what is in etcd is not known: \(reason)"
        }
    }
}
