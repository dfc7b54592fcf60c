/// Where an instance of a service is reached: the value of an entry, `IP:PORT` with IPv6 in brackets.
package struct Endpoint: Hashable, Sendable {
    /// The host's address.
    package let address: IPAddress

    /// The port published there.
    package let port: Port

    /// Makes an endpoint.
    package init(address: IPAddress, port: Port) {
        self.address = address
        self.port = port
    }

    /// Parses `10.0.0.5:80` or `[fd00::5]:80` and nothing else: no name, no space, no missing part.
    package init?(_ text: some StringProtocol) {
        let text = Substring(text)
        // The longest is a mapped IPv6 address with brackets, colon and port.
        guard text.utf8.count <= 64, let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        var host = text[..<colon]
        let bracketed = host.utf8.first == UInt8(ascii: "[") && host.utf8.last == UInt8(ascii: "]")
        if bracketed {
            // Of a text, the first letter would be more than the bracket where combining characters follow.
            host = Substring(host.utf8.dropFirst().dropLast())
        }
        guard let address = IPAddress(host), let port = Port(text: text[text.utf8.index(after: colon)...]),
            bracketed == (address.family == .v6)
        else { return nil }
        self.init(address: address, port: port)
    }

    /// What an endpoint may look like, for messages.
    package static let expected = "IP:PORT of one host, without leading zeros, an IPv6 address in brackets"
}

extension Endpoint: CustomStringConvertible, Comparable {
    /// `IP:PORT`, with an IPv6 address in brackets.
    package var description: String {
        address.family == .v6 ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    /// Orders by address, then port.
    package static func < (left: Endpoint, right: Endpoint) -> Bool {
        (left.address, left.port) < (right.address, right.port)
    }
}
