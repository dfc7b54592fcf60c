import Shared

/// An instance of a service that is not a container, as the services file says it.
struct StaticService: Equatable, Sendable {
    /// The service.
    var name: ServiceName
    /// The port on which it is reached.
    var port: Port
    /// The address on which it is reached; nil for the host's own.
    var address: IPAddress?
    /// What tells it from other instances; nil for one made of host, address and port.
    var id: InstanceID?
    /// What consumers are told of it, its tags, and how the agent itself checks it.
    var fields = Labels.Fields()

    /// How the agent itself checks it before it registers it, and while it is registered.
    var registerCheck: RegisterCheck { fields.registerCheck }

    /// Its entry.
    ///
    /// It has no time of start: nobody knows it, and one of the agent's own would make each restart rewrite the entry.
    func registration(by owner: Owner, zone: Zone?) -> Registration? {
        let endpoint = Endpoint(address: address ?? owner.address, port: port)
        guard let id = id ?? Self.id(of: endpoint, on: owner) else { return nil }
        var meta = Meta()
        meta.options = fields.options
        meta.options.port = fields.options.port ?? port
        meta.options.zone = fields.options.zone ?? zone
        meta.host = owner.host
        meta.owner = owner.text
        meta.tags = fields.tags
        guard let json = try? meta.json() else { return nil }
        return Registration(slot: Slot(service: name, id: id), endpoint: endpoint, meta: json)
    }

    /// `<host>-<address>-<port>`: no other host has the same, and no container's id looks like it.
    private static func id(of endpoint: Endpoint, on owner: Owner) -> InstanceID? {
        let address = String(endpoint.address.text.map { $0 == ":" ? "-" : $0 })
        return InstanceID("\(owner.hostWord)-\(address)-\(endpoint.port)")
    }
}

extension Owner {
    /// The host's name with nothing in it but letters, digits, `.`, `_` and `-`, the first a letter or digit.
    var hostWord: String {
        let allowed = host.unicodeScalars.prefix(Self.longestHost).map { scalar in
            scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
                || ".-_".unicodeScalars.contains(scalar) ? Character(scalar) : "-"
        }
        let word = allowed.drop { ".-_".contains($0) }
        return word.isEmpty ? "host" : String(word)
    }

    /// The kernel's limit for the name of a host.
    static let longestHost = 64
}
