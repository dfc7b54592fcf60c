import FoundationEssentials
import Shared

/// Which other hosts register with the same `HOST_IP`: a copied setting, for example, that leads requests to the wrong
/// host.
///
/// All agents' records are read for that: at once, and then the less often the more there are.
struct AddressConflicts {
    /// What the log and `status` say of each of these hosts.
    private(set) var warnings: [String] = []

    /// How many docker-registers there are; nil before that was read.
    private(set) var agents: Int?

    private let registry: EntryStore
    private let pause: Duration
    private let logger: Logger
    private let clock: @Sendable () -> ContinuousClock.Instant
    private var owner: Owner?
    private var others = OtherAgents()
    private var known: [AgentRegistration.Other] = []
    private var due: ContinuousClock.Instant?

    /// Begins without knowing any.
    ///
    /// - Parameter pause: between two reads while it is not certain whether another host is alive.
    init(
        _ registry: EntryStore, pause: Duration, logger: Logger,
        clock: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.registry = registry
        self.pause = pause
        self.logger = logger
        self.clock = clock
    }

    /// Reads the records where that is due; one that cannot be read changes nothing.
    mutating func update(for owner: Owner) async {
        let now = clock()
        if owner != self.owner { due = now }
        guard let due, due <= now else { return }
        self.owner = owner
        self.due = now + Self.longPause
        do {
            try await read(owner, now)
        } catch {
            logger.debug("cannot look for other hosts with this HOST_IP", ["error": "\(error)"])
        }
    }

    /// Between two reads, for each hundred agents.
    private static let longPause = Duration.seconds(60)

    private mutating func read(_ owner: Owner, _ now: ContinuousClock.Instant) async throws {
        let listing = try await registry.etcd.range(prefix: registry.keyspace.agents, deadline: registry.deadline)
        var (found, remaining) = ([AgentRegistration.Other](), [Int64: Int64]())
        for keyValue in listing.keyValues where keyValue.lease != 0 {
            guard let record = try? JSONDecoder().decode(AgentRegistration.Record.self, from: Data(keyValue.value)),
                record.isOfAnotherHost(than: owner)
            else { continue }
            found.append(
                AgentRegistration.Other(
                    record: record, lease: keyValue.lease, createRevision: keyValue.createRevision))
            guard !others.knows(keyValue.lease) else { continue }
            let state = try await registry.etcd.timeToLive(lease: keyValue.lease, deadline: registry.deadline)
            remaining[keyValue.lease] = state.remaining ?? 0
        }
        agents = listing.keyValues.count
        others.update(with: found, remaining: remaining, at: now)
        let isCertain = others.alive.count == found.count
        due = now + (isCertain ? Self.longPause * (1 + listing.keyValues.count / 100) : pause)
        log(others.alive, owner)
    }

    private mutating func log(_ others: [AgentRegistration.Other], _ owner: Owner) {
        for other in others where !known.contains(other) {
            logger.warning(
                "another host registers with the same HOST_IP",
                ["host_ip": owner.address, "other_host": other.record.host, "other_pid": other.record.pid])
        }
        if others.isEmpty, !known.isEmpty {
            logger.info("no other host registers with the same HOST_IP any more", ["host_ip": owner.address])
        }
        known = others
        warnings = others.map {
            "\($0.record.host) registers with this HOST_IP too (process \($0.record.pid), since \($0.record.started))"
        }
    }
}

extension AgentRegistration.Record {
    /// Whether this agent runs on another host, which has the same `HOST_IP`.
    ///
    /// A place begins with the boot of its machine; two engines of one host may well have one address.
    fileprivate func isOfAnotherHost(than owner: Owner) -> Bool {
        guard self.owner.hasSuffix("@\(owner.address)") else { return false }
        let boots = [place ?? "", owner.place].compactMap { $0.split(separator: " ").first }
        return boots.count == 2 ? boots[0] != boots[1] : host != owner.host
    }
}
