import CResolv
import Glibc

/// Where DNS says that a service is: its SRV records (RFC 2782).
package struct ServiceLookup: Equatable, Sendable {
    /// One of the servers.
    package struct Server: Hashable, Sendable {
        /// The lower one is asked first.
        package var priority: UInt16
        /// Its share among those of its priority.
        package var weight: UInt16
        /// The host's name, without a dot at its end.
        package var host: String
        /// The port.
        package var port: UInt16

        /// Names one.
        package init(priority: UInt16, weight: UInt16, host: String, port: UInt16) {
            (self.priority, self.weight, self.host, self.port) = (priority, weight, host, port)
        }
    }

    /// Why there are none.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        /// DNS knows no such records.
        case noRecords(String)
        /// No name server answered.
        case noAnswer(String)

        package var description: String {
            switch self {
            case .noRecords(let name): "DNS has no SRV records of \(name)"
            case .noAnswer(let name): "no name server answers what the SRV records of \(name) are"
            }
        }
    }

    /// More servers than any service has.
    private static let most = 64

    /// Looks up the servers of a name such as `_etcd-client._tcp.example.com`, in the order of their priorities and names.
    ///
    /// - Parameter limit: for the answer; a server that is silent makes the resolver wait longer.
    package static func servers(of name: String, limit: Duration) async throws -> [Server] {
        let found = try await onOwnThread(limit: limit) { lookUp(name) }
        return try found.get().sorted { ($0.priority, $0.host, $0.port) < ($1.priority, $1.host, $1.port) }
    }

    private static func lookUp(_ name: String) -> Result<[Server], Failure> {
        var records = [cresolv_srv](repeating: cresolv_srv(), count: most)
        let count = unsafe cresolv_lookup(name, &records, Int32(most))
        guard count >= 0 else { return .failure(count == CRESOLV_NO_SUCH_NAME ? .noRecords(name) : .noAnswer(name)) }
        let servers = records.prefix(Int(count)).compactMap { record -> Server? in
            let host = unsafe withUnsafeBytes(of: record.target) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            // A lone dot says that there is no such service.
            return host.isEmpty || host == "."
                ? nil : Server(priority: record.priority, weight: record.weight, host: host, port: record.port)
        }
        return servers.isEmpty ? .failure(.noRecords(name)) : .success(servers)
    }
}

/// The router that leads from this host to everywhere else; in a container on a bridge it is the host.
package enum DefaultGateway {
    /// Its address; IPv4 before IPv6, nil where there is none.
    package static func address() -> IPAddress? {
        let (v4, v6) = ("/proc/net/route", "/proc/net/ipv6_route")
        return (try? FileContents(v4).text).flatMap(ipv4) ?? (try? FileContents(v6).text).flatMap(ipv6)
    }

    /// Of the lines of /proc/net/route: `eth0 00000000 010011AC 0003 ...`, addresses in the machine's byte order.
    static func ipv4(in routes: String) -> IPAddress? {
        routes.split(separator: "\n").lazy.compactMap { line -> IPAddress? in
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count > 7, words[1] == "00000000", words[7] == "00000000",
                let flags = UInt16(words[3], radix: 16),
                flags & 0x3 == 0x3, let number = UInt32(words[2], radix: 16)
            else { return nil }
            return unsafe IPAddress(bytes: withUnsafeBytes(of: number) { unsafe Array($0) })
        }.first
    }

    /// Of the lines of /proc/net/ipv6_route: destination, its length, source, its length, next hop, and more.
    static func ipv6(in routes: String) -> IPAddress? {
        routes.split(separator: "\n").lazy.compactMap { line -> IPAddress? in
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count > 8, words[1] == "00", words[4].utf8.count == 32, let flags = UInt32(words[8], radix: 16),
                flags & 0x3 == 0x3, words[0].allSatisfy({ $0 == "0" })
            else { return nil }
            let bytes = stride(from: 0, to: 32, by: 2).compactMap { place in
                UInt8(words[4].dropFirst(place).prefix(2), radix: 16)
            }
            // The next hop of a link-local address needs an interface, too.
            return IPAddress(bytes: bytes).flatMap { $0.isLinkLocal ? nil : $0 }
        }.first
    }
}
