import Shared

/// Which service listens on which port: the same on every consumer that sees the same registry.
///
/// Services take ports in this order: those whose operator names the port; those that have a claim for what they ask
/// for, the oldest claim first; all others, those that have asked longest first. Whoever finds the port taken gets one
/// from the range, once there is a claim for it in the registry (docs/decisions/0012).
struct PortAssignment {
    /// The ports of the services that have one.
    private(set) var ports: [ServiceName: Port] = [:]

    /// Which services do not get what they ask for.
    private(set) var problems: Set<Diagnostic> = []

    /// What has to be written into the registry so that it stays so.
    private(set) var changes: [PortClaimUpdate] = []

    private let claims: [ServiceName: Catalog.Claim]
    private let present: Set<ServiceName>
    private var takers: [Port: [ResolvedService]] = [:]

    /// Decides.
    init(_ services: [ResolvedService], claims: [ServiceName: Catalog.Claim], range: PortRange) {
        self.claims = claims
        present = Set(services.map(\.service))
        let byAge = services.sorted { ($0.port.age, $0.service) < ($1.port.age, $1.service) }
        let byClaim = byAge.filter { claim(of: $0) != nil }
            .sorted { (revision(of: $0), $0.service) < (revision(of: $1), $1.service) }
        let operators =
            byClaim.filter(\.port.isOperators) + byAge.filter { $0.port.isOperators && claim(of: $0) == nil }
        for service in operators where !isAssigned(service) { assign(service.port.port, to: service) }
        for service in operators where ports[service.service] == nil { assign(service.port.port, to: service) }
        for service in byClaim where ports[service.service] == nil {
            if let claim = claim(of: service) { assign(claim.port, to: service) }
        }
        for service in byAge where ports[service.service] == nil { assign(service.port.port, to: service) }
        keepClaims(of: services)
        for service in byAge where ports[service.service] != service.port.port { resolve(service, byAge, range) }
    }

    /// The service's claim, where it is for what the service asks for now.
    private func claim(of service: ResolvedService) -> PortClaim? {
        guard let claim = claims[service.service]?.claim, claim.wish == service.port.port else { return nil }
        return claim
    }

    private func revision(of service: ResolvedService) -> Int64 { claims[service.service]?.revision ?? 0 }

    /// Whether the service has a claim for another port than the one that it asks for.
    private func isAssigned(_ service: ResolvedService) -> Bool {
        claim(of: service).map { $0.port != $0.wish } ?? false
    }

    private func taker(of port: Port, _ service: ResolvedService) -> ResolvedService? {
        takers[port]?.first { $0.sharesAddress(with: service) }
    }

    private mutating func assign(_ port: Port, to service: ResolvedService) {
        guard taker(of: port, service) == nil else { return }
        takers[port, default: []].append(service)
        ports[service.service] = port
    }
}

// MARK: Claims

extension PortAssignment {
    /// Has the registry keep who has which port, so that the next one to ask finds it taken.
    ///
    /// A claim of a service that has no instance any more stands back for one that asks for the same port and has none.
    private mutating func keepClaims(of services: [ResolvedService]) {
        let kept = services.filter { ports[$0.service] == $0.port.port && claim(of: $0)?.port != $0.port.port }
            .sorted { $0.service < $1.service }
        let keptPorts = Set(kept.map(\.port.port))
        release(Set(claims.filter { keptPorts.contains($1.claim.port) && !present.contains($0) }.keys))
        changes += kept.map { service in
            .put(
                service.service, PortClaim(service.port.port, for: service.port.port),
                replacing: claims[service.service]?.revision)
        }
    }

    private mutating func release(_ services: Set<ServiceName>) {
        changes += services.sorted().compactMap { service in
            claims[service].map { .delete(service, revision: $0.revision) }
        }
    }

    /// Has the registry give a port to a service that does not get its own, and says so.
    private mutating func resolve(_ service: ResolvedService, _ all: [ResolvedService], _ range: PortRange) {
        let wish = service.port.port
        let port = ports[service.service] ?? portOfRange(service, all, range)
        problems.insert(
            .portClaimed(service.service, wish, by: taker(of: wish, service)?.service, instead: port))
    }

    private mutating func portOfRange(
        _ service: ResolvedService, _ all: [ResolvedService], _ range: PortRange
    ) -> Port? {
        let proposed = changes.compactMap { change in
            if case .put(_, let claim, _) = change { claim.port } else { nil }
        }
        let others = claims.filter { $0.key != service.service }
        let taken = Set(all.map(\.port.port)).union(takers.keys).union(proposed)
        let claimed = Set(others.values.map(\.claim.port))
        let claimedByPresent = Set(others.filter { present.contains($0.key) }.values.map(\.claim.port))
        let free = range.port(for: service.service) { !taken.contains($0) && !claimed.contains($0) }
        // Ports of services that are gone are given away only where there is no other.
        guard
            let port = free
                ?? range.port(for: service.service, where: { !taken.contains($0) && !claimedByPresent.contains($0) })
        else { return nil }
        release(Set(others.filter { $0.value.claim.port == port }.keys))
        changes.append(
            .put(
                service.service, PortClaim(port, for: service.port.port),
                replacing: claims[service.service]?.revision))
        return port
    }
}

extension ResolvedService {
    /// Whether one consumer might have to listen for both on the same address.
    fileprivate func sharesAddress(with other: ResolvedService) -> Bool {
        guard let address, let otherAddress = other.address else { return true }
        return BindAddress(address: address, port: port.port)
            .overlaps(BindAddress(address: otherAddress, port: port.port))
    }
}

/// Ports for services that do not get the one that they ask for.
struct PortRange: Equatable, Sendable, CustomStringConvertible {
    /// The ports.
    let ports: ClosedRange<UInt16>

    /// Below those that Linux gives to outgoing connections, and aside of what other programs usually choose.
    static let standard = PortRange(ports: 19000...19899)

    /// What may be written, for messages.
    static let grammar = "two ports, the lower one first, such as \(standard)"

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

/// Which services have claims of ports and no instance, and since when this process has seen it so.
///
/// Services that go and come within a day find their ports again; names that are never used again, such as those of
/// branches that somebody tested, leave nothing behind.
struct ClaimExpiry {
    /// How long a claim outlives the last instance.
    static let retention = Duration.seconds(24 * 3600)

    private var since: [ServiceName: ContinuousClock.Instant] = [:]

    /// Records whose claims are of no use now.
    mutating func update(_ idle: Set<ServiceName>, at now: ContinuousClock.Instant) {
        since = idle.reduce(into: [:]) { $0[$1] = since[$1] ?? now }
    }

    /// The services whose claims have been of no use for too long.
    func expired(at now: ContinuousClock.Instant) -> Set<ServiceName> {
        Set(since.filter { $1.duration(to: now) >= Self.retention }.keys)
    }
}
