import Glibc

/// An IPv4 or IPv6 address without zone, in canonical form.
package struct IPAddress: Hashable, Sendable {
    /// The two families.
    package enum Family: Sendable {
        case v4
        case v6
    }

    // The number of an IPv4 address is `high`: there are thousands of addresses, so they have no arrays.
    private let (high, low): (UInt64, UInt64)
    /// Which family it belongs to.
    package let family: Family

    /// Parses dotted-quad IPv4 or RFC 4291 IPv6 text without brackets or zone; nil for anything else.
    package init?(_ text: some StringProtocol) {
        let text = String(text)
        // inet_pton stops at a NUL: nothing may hide behind one.
        guard !text.utf8.contains(0),
            let bytes = Self.parse(text, AF_INET, count: 4) ?? Self.parse(text, AF_INET6, count: 16)
        else { return nil }
        self.init(bytes: bytes)
    }

    /// Takes four or sixteen bytes in network order; nil for any other number.
    package init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        family = bytes.count == 4 ? .v4 : .v6
        (high, low) = (number(bytes.prefix(8)), number(bytes.dropFirst(8)))
    }

    /// 0.0.0.0, which stands for all IPv4 addresses of a host.
    package static let anyIPv4 = IPAddress(v4: 0)

    /// 127.0.0.1.
    package static let loopback4 = IPAddress(v4: 0x7f00_0001)

    /// ::1.
    package static let loopback6 = IPAddress(family: .v6, high: 0, low: 1)

    private init(v4 number: UInt32) { (family, high, low) = (.v4, UInt64(number), 0) }

    /// Four or sixteen bytes in network order.
    package var bytes: [UInt8] {
        func bytes(of number: UInt64, _ count: Int) -> [UInt8] {
            (0..<count).reversed().map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
        }
        return family == .v4 ? bytes(of: high, 4) : bytes(of: high, 8) + bytes(of: low, 8)
    }

    /// The canonical text of RFC 5952, as `inet_ntop` writes it.
    package var text: String {
        let bytes = bytes
        var buffer = [UInt8](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        // It fails only for another family or a smaller buffer.
        unsafe buffer.withUnsafeMutableBytes { room in
            let start = unsafe room.baseAddress?.assumingMemoryBound(to: CChar.self)
            _ = unsafe inet_ntop(family == .v4 ? AF_INET : AF_INET6, bytes, start, socklen_t(room.count))
        }
        return String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Whether it is in 127.0.0.0/8, `::1`, or an IPv4 loopback address mapped into IPv6.
    package var isLoopback: Bool {
        ipv4.map { $0 >> 24 == 127 } ?? (high == 0 && low == 1)
    }

    /// Whether it is `0.0.0.0`, `::`, or their mapped form.
    package var isUnspecified: Bool { ipv4 == 0 || high == 0 && low == 0 }

    /// Whether it is a group address: 224.0.0.0/4, also mapped into IPv6, or ff00::/8.
    package var isMulticast: Bool { ipv4.map { $0 >> 28 == 0xe } ?? (high >> 56 == 0xff) }

    /// Whether no host can have it: 240.0.0.0/4, the broadcast address included.
    package var isReserved: Bool { ipv4.map { $0 >> 28 == 0xf } ?? false }

    /// Whether it means something on one link only: 169.254.0.0/16 or fe80::/10.
    package var isLinkLocal: Bool { ipv4.map { $0 >> 16 == 169 << 8 | 254 } ?? (high >> 54 == 0xfe80 >> 6) }

    /// The IPv4 address that is mapped into this one (`::ffff:1.2.3.4`); else the address itself.
    package var unmapped: IPAddress { ipv4.map { IPAddress(family: .v4, high: $0, low: 0) } ?? self }

    /// The number of an IPv4 or IPv4-mapped (`::ffff:1.2.3.4`) address.
    private var ipv4: UInt64? {
        if family == .v4 { return high }
        return high == 0 && low >> 32 == 0xffff ? low & 0xffff_ffff : nil
    }

    private init(family: Family, high: UInt64, low: UInt64) {
        (self.family, self.high, self.low) = (family, high, low)
    }

    private static func parse(_ text: String, _ family: Int32, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return unsafe inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }
}

extension IPAddress: CustomStringConvertible, Comparable {
    /// The canonical text, without brackets.
    package var description: String { text }

    /// Orders IPv4 before IPv6, then by value.
    package static func < (left: IPAddress, right: IPAddress) -> Bool {
        left.family == right.family ? (left.high, left.low) < (right.high, right.low) : left.family == .v4
    }
}
