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
    package static let expected = "a port from 1 to 65535"
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
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not \(Self.expected)")
        }
        self = port
    }

    /// Writes a JSON number.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(number)
    }
}
