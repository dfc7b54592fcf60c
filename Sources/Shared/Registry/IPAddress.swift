import Glibc

/// An IPv4 or IPv6 address without zone, in canonical form.
package struct IPAddress: Hashable, Sendable {
    /// The two families.
    package enum Family: Sendable {
        case v4
        case v6
    }

    /// Four or sixteen bytes in network order.
    package let bytes: [UInt8]

    /// The canonical text of RFC 5952, as `inet_ntop` writes it.
    package let text: String

    /// Parses dotted-quad IPv4 or RFC 4291 IPv6 text without brackets or zone; nil for anything else.
    package init?(_ text: some StringProtocol) {
        let text = String(text)
        // inet_pton stops at a NUL: nothing may hide behind one.
        guard !text.utf8.contains(0) else { return nil }
        guard let bytes = Self.parse(text, AF_INET, count: 4) ?? Self.parse(text, AF_INET6, count: 16),
            let canonical = Self.print(bytes)
        else { return nil }
        self.bytes = bytes
        self.text = canonical
    }

    /// Takes four or sixteen bytes in network order; nil for any other number.
    package init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16, let text = Self.print(bytes) else { return nil }
        self.bytes = bytes
        self.text = text
    }

    /// Which family it belongs to.
    package var family: Family { bytes.count == 4 ? .v4 : .v6 }

    /// Whether it is in 127.0.0.0/8, `::1`, or an IPv4 loopback address mapped into IPv6.
    package var isLoopback: Bool {
        embeddedIPv4?.first == 127 || bytes == [UInt8](repeating: 0, count: 15) + [1]
    }

    /// Whether it is `0.0.0.0`, `::`, or their mapped form.
    package var isUnspecified: Bool {
        bytes.allSatisfy { $0 == 0 } || embeddedIPv4 == [0, 0, 0, 0]
    }

    /// Whether it is a group address: 224.0.0.0/4, also mapped into IPv6, or ff00::/8.
    package var isMulticast: Bool {
        embeddedIPv4.map { $0[0] & 0xf0 == 0xe0 } ?? (bytes[0] == 0xff)
    }

    /// Whether no host can have it: 240.0.0.0/4, the broadcast address included.
    package var isReserved: Bool { embeddedIPv4.map { $0[0] & 0xf0 == 0xf0 } ?? false }

    /// Whether it means something on one link only: 169.254.0.0/16 or fe80::/10.
    package var isLinkLocal: Bool {
        embeddedIPv4.map { $0[0] == 169 && $0[1] == 254 } ?? (bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80)
    }

    /// The IPv4 address that is mapped into this one (`::ffff:1.2.3.4`); else the address itself.
    package var unmapped: IPAddress { embeddedIPv4.flatMap { IPAddress(bytes: $0) } ?? self }

    /// The IPv4 bytes of an IPv4 or IPv4-mapped (`::ffff:1.2.3.4`) address.
    private var embeddedIPv4: [UInt8]? {
        if family == .v4 { return bytes }
        let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
        return Array(bytes.prefix(12)) == mapped ? Array(bytes.suffix(4)) : nil
    }

    private static func parse(_ text: String, _ family: Int32, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return unsafe inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }

    private static func print(_ bytes: [UInt8]) -> String? {
        var buffer = [UInt8](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let written = unsafe buffer.withUnsafeMutableBytes { room in
            let start = unsafe room.baseAddress?.assumingMemoryBound(to: CChar.self)
            let family = bytes.count == 4 ? AF_INET : AF_INET6
            return unsafe start.flatMap { unsafe inet_ntop(family, bytes, $0, socklen_t(room.count)) } != nil
        }
        return written ? String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self) : nil
    }
}

extension IPAddress: CustomStringConvertible, Comparable {
    /// The canonical text, without brackets.
    package var description: String { text }

    /// Orders IPv4 before IPv6, then by value.
    package static func < (left: IPAddress, right: IPAddress) -> Bool {
        left.bytes.count == right.bytes.count
            ? left.bytes.lexicographicallyPrecedes(right.bytes)
            : left.bytes.count < right.bytes.count
    }
}
