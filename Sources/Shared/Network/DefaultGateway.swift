/// The router through which this host or container reaches everything else.
enum DefaultGateway {
    /// What the kernel's tables of routes say: IPv4 before IPv6, the smallest metric first; nil where there is none.
    static func find() -> IPAddress? {
        func table(_ name: String) -> String { (try? FileContents("/proc/net/\(name)").text) ?? "" }
        return v4(table("route")) ?? v6(table("ipv6_route"))
    }

    /// Reads `/proc/net/route`: Iface, Destination, Gateway, Flags, RefCnt, Use, Metric, Mask; addresses are the
    /// hexadecimal digits of a number in the machine's own byte order.
    static func v4(_ table: String) -> IPAddress? {
        let routes = table.split(separator: "\n").compactMap { line -> (metric: Int, address: IPAddress)? in
            let fields = line.split { $0 == "\t" || $0 == " " }
            guard fields.count >= 8, UInt32(fields[1], radix: 16) == 0, UInt32(fields[7], radix: 16) == 0,
                let flags = UInt32(fields[3], radix: 16), flags & upGateway == upGateway,
                let gateway = UInt32(fields[2], radix: 16), let metric = Int(fields[6]),
                let address = IPAddress(
                    bytes: (0..<4).map { UInt8(truncatingIfNeeded: gateway.littleEndian >> (8 * $0)) })
            else { return nil }
            return (metric, address)
        }
        return routes.min { $0.metric < $1.metric }?.address
    }

    /// Reads `/proc/net/ipv6_route`: destination, its length, source, its length, gateway, metric, two counts, flags;
    /// all hexadecimal.
    static func v6(_ table: String) -> IPAddress? {
        let routes = table.split(separator: "\n").compactMap { line -> (metric: UInt32, address: IPAddress)? in
            let fields = line.split(separator: " ")
            guard fields.count >= 9, fields[1] == "00", fields[0].allSatisfy({ $0 == "0" }),
                let flags = UInt32(fields[8], radix: 16), flags & upGateway == upGateway,
                let metric = UInt32(fields[5], radix: 16), let address = address(fields[4]), !address.isLinkLocal
            else { return nil }
            return (metric, address)
        }
        return routes.min { $0.metric < $1.metric }?.address
    }

    private static func address(_ digits: Substring) -> IPAddress? {
        let digits = Array(digits)
        let bytes = stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(digits[$0...$0 + 1]), radix: 16)
        }
        return IPAddress(bytes: bytes)
    }

    /// RTF_UP and RTF_GATEWAY.
    private static let upGateway: UInt32 = 3
}
