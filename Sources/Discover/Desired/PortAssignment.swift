import Shared

/// Which service listens on which port: the same on every consumer that sees the same registry.
///
/// Services take ports in this order: those whose operator names the port; those that have a claim for what they ask
/// for, the oldest claim first; all others, those that have asked longest first. Whoever finds the port taken gets one
/// from the range, once there is a claim for it in the registry (docs/decisions/0012). A service with such a port listens
/// besides on the one that it asks for while no other service has that.
///
/// A registry may have any number of services that ask for one port, so nothing here looks at all of them for each.
struct PortAssignment {
    /// The ports of the services that have one.
    private(set) var ports: [ServiceName: Port] = [:]

    /// The ports that services ask for and have besides those, as nobody else has them.
    private(set) var lent: [ServiceName: Port] = [:]

    /// Which services do not get what they ask for.
    private(set) var problems: Set<Diagnostic> = []

    /// What has to be written into the registry so that it stays so.
    private(set) var changes: [PortClaimUpdate] = []

    private let keyspace: Keyspace
    private let claims: [ServiceName: Catalog.Claim]
    private let present: Set<ServiceName>
    private var takers: [Port: PortTakers] = [:]
    /// The claims of services that have no instance any more, but had one a moment ago.
    private var leaving: [Port: ServiceName] = [:]
    /// The services that claim each port.
    private var claimants: [Port: Set<ServiceName>] = [:]

    /// Decides.
    ///
    /// - Parameter leaving: services whose last entries were withdrawn a moment ago: they may be on their way back, so
    ///   nobody listens on their ports besides on his own.
    init(
        _ services: [ResolvedService], claims: [ServiceName: Catalog.Claim], range: PortRange,
        leaving: Set<ServiceName> = [], in keyspace: Keyspace
    ) {
        (self.claims, self.keyspace) = (claims, keyspace)
        present = Set(services.map(\.service))
        for (service, claim) in claims { claimants[claim.claim.port, default: []].insert(service) }
        for service in leaving.subtracting(present).sorted() {
            if let claim = claims[service]?.claim { self.leaving[claim.port] = service }
        }
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
        for service in byClaim where isAssigned(service) { lend(service.port.port, to: service) }
        for service in byAge where ports[service.service] == nil { assign(service.port.port, to: service) }
        keepClaims(of: services)
        var free = FreePorts(range)
        for service in byAge where ports[service.service] != service.port.port && lent[service.service] == nil {
            resolve(service, byAge, range, &free)
        }
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

    /// Takes a port for a service; returns whether nobody has it.
    private mutating func take(_ port: Port, for service: ResolvedService) -> Bool {
        guard takers[port]?.taker(sharing: service.address) == nil else { return false }
        takers[port, default: PortTakers()].add(service.service, at: service.address)
        return true
    }

    private mutating func assign(_ port: Port, to service: ResolvedService) {
        if take(port, for: service) { ports[service.service] = port }
    }

    /// Gives a service the port that it asks for besides its own; where that is still a leaving service's, it waits.
    private mutating func lend(_ port: Port, to service: ResolvedService) {
        guard ports[service.service] != nil, take(port, for: service) else { return }
        if leaving[port] == nil { lent[service.service] = port }
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
    private mutating func resolve(
        _ service: ResolvedService, _ all: [ResolvedService], _ range: PortRange, _ free: inout FreePorts
    ) {
        let wish = service.port.port
        let port = ports[service.service] ?? portOfRange(service, all, &free)
        let taker = takers[wish]?.taker(sharing: service.address)
        problems.insert(
            .portClaimed(
                service.service, wish, by: taker == service.service ? leaving[wish] : taker, instead: port, in: keyspace
            ))
    }

    private mutating func portOfRange(
        _ service: ResolvedService, _ all: [ResolvedService], _ free: inout FreePorts
    ) -> Port? {
        free.prepare(
            taken: { Set(all.map(\.port.port)).union(takers.keys) },
            claimed: { claimants.mapValues { !$0.isDisjoint(with: present) } })
        // Its own claim is in nobody's way.
        let own = claims[service.service]?.claim.port
        let others = own.flatMap { claimants[$0] }?.subtracting([service.service]) ?? []
        guard
            let port = free.take(
                for: service.service, own: own, ownIsFree: others.isEmpty,
                ownIsOfAbsent: others.isDisjoint(with: present))
        else { return nil }
        // Ports of services that are gone are given away only where there is no other.
        release((claimants[port] ?? []).subtracting([service.service]))
        changes.append(
            .put(
                service.service, PortClaim(port, for: service.port.port),
                replacing: claims[service.service]?.revision))
        return port
    }
}

/// The services that listen on one port: no two of them on the same address.
private struct PortTakers {
    private var first: ServiceName?
    private var firstOfIPv4: ServiceName?
    /// One that listens on all addresses, or on those that a consumer chooses.
    private var everywhere: ServiceName?
    private var onAllIPv4: ServiceName?
    private var byAddress: [IPAddress: ServiceName] = [:]

    /// The service because of which another one cannot listen on an address; nil for none.
    func taker(sharing address: IPAddress?) -> ServiceName? {
        guard let address, !Self.isEverywhere(address) else { return first }
        if let everywhere { return everywhere }
        guard address.family == .v4 else { return byAddress[address] }
        return address.isUnspecified ? firstOfIPv4 : onAllIPv4 ?? byAddress[address]
    }

    /// Adds a service that shares its address with none of them.
    mutating func add(_ service: ServiceName, at address: IPAddress?) {
        first = first ?? service
        guard let address, !Self.isEverywhere(address) else {
            everywhere = service
            return
        }
        byAddress[address] = service
        guard address.family == .v4 else { return }
        firstOfIPv4 = firstOfIPv4 ?? service
        if address.isUnspecified { onAllIPv4 = service }
    }

    private static func isEverywhere(_ address: IPAddress) -> Bool { address.family == .v6 && address.isUnspecified }
}

/// The ports of a range that can be given to services, found without looking at those that cannot.
private struct FreePorts {
    private let range: PortRange
    /// For each port that nobody has or claims the port itself, for the others a later one.
    private var unclaimed: [Int] = []
    /// The same, where claims of services that are gone do not count.
    private var untaken: [Int] = []

    init(_ range: PortRange) { self.range = range }

    /// Looks once which ports there are.
    ///
    /// - Parameter claimed: the ports that are claimed, and whether one of those services is present.
    mutating func prepare(taken: () -> Set<Port>, claimed: () -> [Port: Bool]) {
        guard unclaimed.isEmpty else { return }
        unclaimed = Array(0...range.ports.count)
        untaken = unclaimed
        let (taken, claimed) = (taken(), claimed())
        for (index, number) in range.ports.enumerated() {
            guard let port = Port(number) else { continue }
            if taken.contains(port) || claimed[port] == true { untaken[index] = index + 1 }
            if taken.contains(port) || claimed[port] != nil { unclaimed[index] = index + 1 }
        }
        isTaken = taken
    }

    private var isTaken: Set<Port> = []

    /// Takes a port for a service; nil where none is left.
    mutating func take(for service: ServiceName, own: Port?, ownIsFree: Bool, ownIsOfAbsent: Bool) -> Port? {
        let count = range.ports.count
        let start = range.start(for: service)
        let ownIndex = own.flatMap { own in
            range.ports.contains(own.number) && !isTaken.contains(own)
                ? Int(own.number) - Int(range.ports.lowerBound) : nil
        }
        func first(_ next: inout [Int], _ isFree: Bool) -> Int? {
            let found = [Self.find(&next, start), Self.find(&next, 0)].first { $0 < count }
            let candidates = [found, isFree ? ownIndex : nil].compactMap(\.self)
            return candidates.min { ($0 - start + count) % count < ($1 - start + count) % count }
        }
        guard let index = first(&unclaimed, ownIsFree) ?? first(&untaken, ownIsOfAbsent),
            let port = Port(Int(range.ports.lowerBound) + index)
        else { return nil }
        (unclaimed[index], untaken[index]) = (index + 1, index + 1)
        isTaken.insert(port)
        return port
    }

    /// The first index from one on that stands for itself; on the way there, what was passed comes to point closer.
    private static func find(_ next: inout [Int], _ start: Int) -> Int {
        var index = start
        while next[index] != index {
            next[index] = next[next[index]]
            index = next[index]
        }
        return index
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

    /// Where in the range the search for a service's port begins; it differs among services.
    ///
    /// A service so finds its port mostly again, also in a registry that has forgotten all claims.
    func start(for service: ServiceName) -> Int {
        // FNV-1a, 32 bits.
        let digest = service.text.utf8.reduce(0x811c_9dc5 as UInt32) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
        return Int(digest % UInt32(ports.count))
    }
}

/// The ports that labels may ask for.
struct AllowedPorts: Equatable, Sendable, CustomStringConvertible {
    private let ranges: [ClosedRange<UInt16>]

    /// All of them.
    static let all = AllowedPorts(ranges: [1...UInt16.max])

    /// What may be written, for messages.
    static let grammar = "ports and ranges of ports, separated by commas, such as 80,443,1024-65535"

    private init(ranges: [ClosedRange<UInt16>]) { self.ranges = ranges }

    /// Parses `1024-65535` or `80,443,8000-8999`; nil for anything else.
    init?(_ text: some StringProtocol) {
        var ranges: [ClosedRange<UInt16>] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            if let port = Port(text: part)?.number {
                ranges.append(port...port)
            } else if let range = PortRange(part) {
                ranges.append(range.ports)
            } else {
                return nil
            }
        }
        self.ranges = ranges
    }

    /// Whether a label may ask for a port.
    func contains(_ port: Port) -> Bool { ranges.contains { $0.contains(port.number) } }

    /// The text that ``init(_:)`` reads.
    var description: String {
        ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ",")
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
