import Shared

/// What a docker-register that starts now would change in the registry, as lines to print.
enum PlanCommand {
    /// Shows it instead of doing it.
    static let command = Command(
        "--dry-run", help: "Prints what docker-register would put into etcd and delete there, and changes nothing.")

    /// The changes, one line each.
    ///
    /// Entries that are as they should be, and would only move to the new agent's lease, are no changes.
    ///
    /// - Throws: why etcd did not answer.
    static func lines(_ finding: OfflineCollector.Finding) throws -> [String] {
        if let trouble = finding.snapshot.store.trouble { throw Failure.noRegistry(trouble.error) }
        let published = (finding.snapshot.published ?? [:]).mapValues { state in
            var state = state
            state.isLeased = true
            return state
        }
        let actions = EntryDiff.actions(
            desired: finding.desired, published: published, reasons: finding.reasons,
            unreadable: finding.look.unreadable, obstacles: finding.obstacles)
        let keys = finding.plainKeys.sorted { $0.key < $1.key }
        return actions.map { line($0, finding.snapshot.store.keyspace) }
            + keys.map { "put \($0) \(String(decoding: $1, as: UTF8.self))" }
    }

    private static func line(_ action: EntryChange, _ keyspace: Keyspace) -> String {
        switch action {
        case .put(let registration):
            let key = keyspace.text(of: .entry(registration.slot.service, registration.slot.id))
            return "put \(key) \(registration.endpoint) \(String(decoding: registration.meta, as: UTF8.self))"
        case .withdraw(let slot, let reason, _):
            return "delete \(keyspace.text(of: .entry(slot.service, slot.id))) (\(reason))"
        }
    }

    /// Why nothing can be said.
    enum Failure: Error, Equatable {
        /// What is in the registry is not known.
        case noRegistry(String)
    }
}

extension PlanCommand.Failure: CustomStringConvertible {
    /// One sentence for whoever asks.
    var description: String {
        switch self {
        case .noRegistry(let reason): "what is in etcd is not known: \(reason)"
        }
    }
}
