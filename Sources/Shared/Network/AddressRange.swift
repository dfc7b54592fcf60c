/// An address, or all addresses that begin alike: `10.0.0.5` or `10.0.0.0/8`.
package struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    /// The text that ``init(_:)`` reads.
    package let description: String

    /// What may be written, for messages.
    package static let grammar = "an IPv4 or IPv6 address, or a range such as 10.0.0.0/8"

    /// Parses one; nil for anything else.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = IPAddress(parts[0]) else { return nil }
        guard parts.count == 2 else {
            description = address.text
            return
        }
        guard let length = Int(parts[1]), String(length) == parts[1],
            (0...(address.family == .v4 ? 32 : 128)).contains(length)
        else { return nil }
        description = "\(address)/\(length)"
    }

    /// Parses several, separated by commas; nil where one is none.
    package static func list(_ text: String) -> [AddressRange]? {
        let ranges = text.split(separator: ",", omittingEmptySubsequences: false)
            .map { AddressRange($0.filter { $0 != " " }) }
        return ranges.contains(nil) ? nil : ranges.compactMap(\.self)
    }
}
