import Shared

/// Which entry: a service's name and the instance within it.
struct Slot: Hashable, Comparable, Sendable {
    /// The service.
    var service: ServiceName
    /// The instance.
    var id: InstanceID

    /// Orders by service, then id.
    static func < (left: Slot, right: Slot) -> Bool { (left.service, left.id) < (right.service, right.id) }
}

/// An entry that should be in the registry.
struct Registration: Hashable, Sendable {
    /// Which entry.
    var slot: Slot
    /// Its value.
    var endpoint: Endpoint
    /// The JSON of its meta.
    var meta: [UInt8]

    /// The value as bytes.
    var value: [UInt8] { Array(endpoint.description.utf8) }
}

/// Who this agent is, as far as its entries say it.
struct Owner: Equatable, Sendable {
    /// The host's name.
    var host: String
    /// `HOST_IP`.
    var address: IPAddress
    /// The engine's id, or the host's name where the engine tells none.
    var engine: String

    /// The owner's entries are those of one engine on one address.
    ///
    /// An engine that tells no id is told by its host.
    init(_ identity: Docker.Identity, _ address: IPAddress) {
        host = identity.name
        engine = identity.id.isEmpty ? identity.name : identity.id
        self.address = address
    }

    /// What stands in ``Meta/owner``.
    var text: String { "\(engine)@\(address)" }
}
