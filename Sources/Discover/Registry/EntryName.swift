import Shared

/// What tells one entry of the registry from all others: its service and its id.
struct EntryName: Hashable, Sendable {
    /// The service.
    let service: ServiceName
    /// The instance.
    let id: InstanceID
}

extension EntryName: Comparable, CustomStringConvertible {
    /// `web/0123456789ab`, which is also what HAProxy calls the server.
    var description: String { "\(service)/\(id)" }

    /// Orders by service, then id.
    static func < (left: EntryName, right: EntryName) -> Bool {
        (left.service, left.id) < (right.service, right.id)
    }
}
