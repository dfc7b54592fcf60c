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
    package static let expected = "letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 128"
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
