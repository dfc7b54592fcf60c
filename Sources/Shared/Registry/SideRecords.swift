import FoundationEssentials

/// A listener port that a service keeps where several services ask for the same one: the JSON object at
/// `<prefix>-ports/<service>`.
///
/// It means nothing once the service asks for another port than the one that it was made for.
package struct PortClaim: Hashable, Sendable {
    /// The port that the service keeps.
    package let port: Port

    /// The port that it asked for when this claim was made.
    package let wish: Port

    /// Makes a claim.
    package init(_ port: Port, for wish: Port) {
        self.port = port
        self.wish = wish
    }

    /// What a value may be, for messages.
    package static let grammar = "a JSON object with a port, and with the port instead_of which it is used"

    /// Parses a value; nil for anything else than ``grammar``.
    package init?(json: some Sequence<UInt8>) {
        guard let claim = try? JSONDecoder().decode(Fields.self, from: Data(json)) else { return nil }
        self.init(claim.port, for: claim.instead_of ?? claim.port)
    }

    /// The object in one line: equal claims have equal bytes.
    package func json() throws -> [UInt8] {
        [UInt8](try JSONEncoder.oneLine.encode(Fields(port: port, instead_of: port == wish ? nil : wish)))
    }

    // The fields have the names that they have in the JSON.
    // swift-format-ignore: AlwaysUseLowerCamelCase
    private struct Fields: Codable {
        let port: Port
        let instead_of: Port?
    }
}

/// What a docker-discover says of itself: the JSON object at `<prefix>-consumers/<instance>`, under a lease of its own.
package struct ConsumerRecord: Codable, Equatable, Sendable {
    /// The host's name.
    package var host: String
    /// The program's version.
    package var version: String
    /// The etcd cluster whose revision it is.
    package var cluster: String
    /// The registry's revision that HAProxy runs, as it was when somebody last waited for it.
    package var revision: Int64

    /// Makes one.
    package init(host: String, version: String, cluster: String, revision: Int64) {
        self.host = host
        self.version = version
        self.cluster = cluster
        self.revision = revision
    }

    /// Parses a value; nil where it is none.
    package init?(json: some Sequence<UInt8>) {
        guard let record = try? JSONDecoder().decode(Self.self, from: Data(json)) else { return nil }
        self = record
    }

    /// The object in one line with sorted fields.
    package func json() throws -> [UInt8] {
        [UInt8](try JSONEncoder.oneLine.encode(self))
    }
}
