/// What tells the endpoints of one service apart: the first 12 hexadecimal digits of a container id, or, for entries
/// that people write, a name with the grammar of ``ServiceName``.
package struct InstanceID: Hashable, Sendable {
    /// The id as it stands in the key.
    package let text: String

    /// Makes an id; nil where `text` is none, or is a word that the registry contract keeps for itself.
    package init?(_ text: some StringProtocol) {
        guard NameGrammar.accepts(text), !Self.reserved.contains(String(text)) else { return nil }
        self.text = String(text)
    }

    /// Makes the id of a container; nil where `containerID` does not begin with 12 lower-case hexadecimal digits.
    package init?(containerID: some StringProtocol) {
        let short = containerID.prefix(12)
        let digits = short.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
        }
        guard short.utf8.count == 12, digits else { return nil }
        text = String(short)
    }

    /// Whether it looks like that of a container: 12 lower-case hexadecimal digits.
    package var isOfContainer: Bool { text.utf8.count == 12 && InstanceID(containerID: text) != nil }

    /// `/backends/<service>/config` and `/backends/<service>/port` are not endpoints.
    private static let reserved: Set<String> = ["config", "port"]
}

extension InstanceID: CustomStringConvertible, Comparable {
    /// The id as it stands in the key.
    package var description: String { text }

    /// Orders ids by their bytes, the same in every locale.
    package static func < (left: InstanceID, right: InstanceID) -> Bool { left.text < right.text }
}
