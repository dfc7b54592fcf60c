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
    package static let expected = "a JSON object with a port, and with the port instead_of which it is used"

    /// Parses a value; nil for anything else than ``expected``.
    package init?(json: some Sequence<UInt8>) {
        guard let claim = try? JSONDecoder().decode(Fields.self, from: Data(json)) else { return nil }
        self.init(claim.port, for: claim.instead_of ?? claim.port)
    }

    /// The object in one line: equal claims have equal bytes.
    package func json() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return [UInt8](try encoder.encode(Fields(port: port, instead_of: port == wish ? nil : wish)))
    }

    // The fields have the names that they have in the JSON.
    // swift-format-ignore: AlwaysUseLowerCamelCase
    private struct Fields: Codable {
        let port: Port
        let instead_of: Port?
    }
}
