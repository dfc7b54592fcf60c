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
    package static let grammar = "IP:PORT of one host, without leading zeros, an IPv6 address in brackets"
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

/// A TCP port, 1 to 65535.
package struct Port: Hashable, Sendable {
    /// The port's number, never 0.
    package let number: UInt16

    /// Makes a port; nil outside of 1 to 65535.
    package init?(_ number: some BinaryInteger) {
        guard let number = UInt16(exactly: number), number > 0 else { return nil }
        self.number = number
    }

    /// Parses plain decimal digits without sign, space or leading zero; nil for anything else.
    package init?(text: some StringProtocol) {
        let digits = text.utf8
        guard (1...5).contains(digits.count), digits.first != UInt8(ascii: "0"),
            digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let number = Int(text)
        else { return nil }
        self.init(number)
    }

    /// What a port may be, for messages.
    package static let grammar = "a port from 1 to 65535"
}

extension Port: CustomStringConvertible, Comparable {
    /// The number in decimal.
    package var description: String { String(number) }

    /// Orders ports by number.
    package static func < (left: Port, right: Port) -> Bool { left.number < right.number }
}

extension Port: Codable {
    /// Reads a JSON number from 1 to 65535.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let port = Port(try container.decode(Int.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not \(Self.grammar)")
        }
        self = port
    }

    /// Writes a JSON number.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(number)
    }
}
