/// The name of a service: `[A-Za-z0-9][A-Za-z0-9._-]*`, at most 128 characters.
///
/// Everything that passes is safe as a part of an etcd key, as a section or server name of haproxy.cfg and as a word
/// of a runtime command, so names are never escaped anywhere.
package struct ServiceName: Hashable, Sendable {
    /// The name as it was given.
    package let text: String

    /// Makes a name; nil where `text` is not one.
    package init?(_ text: some StringProtocol) {
        guard NameGrammar.accepts(text) else { return nil }
        self.text = String(text)
    }

    /// The service of a further port of the same container: `<name>-<port>`; nil where that is too long for a name.
    package func suffixed(by port: Port) -> ServiceName? {
        ServiceName("\(text)-\(port)")
    }

    /// What a name may look like, for messages.
    package static let grammar = "letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 128"
}

extension ServiceName: CustomStringConvertible, Comparable {
    /// The name as it was given.
    package var description: String { text }

    /// Orders names by their bytes, the same in every locale.
    package static func < (left: ServiceName, right: ServiceName) -> Bool { left.text < right.text }
}

/// The grammar that service names and instance ids share.
package enum NameGrammar {
    /// The longest name, in characters.
    static let longest = 128

    /// Whether `text` is a name.
    static func accepts(_ text: some StringProtocol) -> Bool {
        let bytes = text.utf8
        guard let first = bytes.first, bytes.count <= longest else { return false }
        return isLetterOrDigit(first) && bytes.allSatisfy { isLetterOrDigit($0) || ".-_".utf8.contains($0) }
    }

    /// Whether a byte is a letter or a digit of ASCII.
    package static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: false
        }
    }
}

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

/// Which entry of the registry: a service's name and the instance within it.
///
/// In HAProxy's configuration it is a server: the service names the section, the instance the server.
package struct EntryID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The service.
    package let service: ServiceName
    /// The instance.
    package let id: InstanceID

    /// Puts both together.
    package init(service: ServiceName, id: InstanceID) {
        self.service = service
        self.id = id
    }

    /// As in a key, and as HAProxy's runtime API takes a server: `web/0123456789ab`.
    package var description: String { "\(service)/\(id)" }

    /// Orders by service, then instance.
    package static func < (left: EntryID, right: EntryID) -> Bool {
        (left.service, left.id) < (right.service, right.id)
    }
}
