import Shared

/// Ports for services that do not get the one that they ask for.
struct PortRange: Equatable, Sendable, CustomStringConvertible {
    /// The ports.
    let ports: ClosedRange<UInt16>

    /// Below those that Linux gives to outgoing connections, and aside of what other programs usually choose.
    static let standard = PortRange(ports: 19000...19899)

    /// What may be written, for messages.
    static let expected = "two ports, the lower one first, such as \(standard)"

    private init(ports: ClosedRange<UInt16>) { self.ports = ports }

    /// Parses `19000-19899`; nil for anything else.
    init?(_ text: some StringProtocol) {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { Port(text: $0)?.number }
        guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last else { return nil }
        ports = first...last
    }

    /// The text that ``init(_:)`` reads.
    var description: String { "\(ports.lowerBound)-\(ports.upperBound)" }

    /// The first of its ports that is wanted, from one on that differs among services.
    ///
    /// A service so finds its port mostly again, also in a registry that has forgotten all claims.
    func port(for service: ServiceName, where isWanted: (Port) -> Bool) -> Port? {
        // FNV-1a, 32 bits.
        let digest = service.text.utf8.reduce(0x811c_9dc5 as UInt32) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
        let start = Int(digest % UInt32(ports.count))
        let order = [ports.dropFirst(start), ports.prefix(start)].joined()
        return order.lazy.compactMap { Port($0) }.first(where: isWanted)
    }
}
