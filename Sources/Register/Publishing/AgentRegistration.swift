import FoundationEssentials
import Shared

/// That this docker-register runs, said in etcd under its lease; and who else says the same of the same engine.
///
/// Two of them on one host would move each other's entries between their leases for ever. The younger one gives way.
struct AgentRegistration {
    /// What an agent says of itself: the JSON object at `<prefix>-agents/<engine>/<instance>`.
    struct Record: Codable, Equatable, Sendable {
        /// The host's name.
        var host: String
        /// Its process id there.
        var pid: Int32
        /// When it started, RFC 3339.
        var started: String
        /// Whose entries it keeps.
        var owner: String
    }

    /// Another agent of the engine.
    struct Other: Equatable, Sendable {
        /// What it says.
        var record: Record
        /// Its lease, with which it goes.
        var lease: Int64
        /// The revision at which it came: its age.
        var createRevision: Int64
    }

    private let registry: EntryStore
    private var owner: Owner
    private let folder: String
    private let key: String
    private var record: Record
    private let logger: Logger
    private let clock: @Sendable () -> ContinuousClock.Instant
    private var holder: Int64?
    private var createRevision: Int64 = 0
    private var rivals = OtherAgents()
    private var told: [Other] = []
    private var isRefused = false

    /// The oldest other agent that is alive and keeps the same entries; nil where this one is the oldest.
    var elder: Other? { doubles.first { $0.createRevision < createRevision } }

    /// Other owners on the same engine whose agents are alive and older: their entries are left to them.
    var elderOwners: Set<String> {
        Set(rivals.alive.filter { $0.createRevision < createRevision }.map(\.record.owner)).subtracting([owner.text])
    }

    private var doubles: [Other] { rivals.alive.filter { $0.record.owner == owner.text } }

    /// Says nothing yet.
    ///
    /// - Parameter instance: tells this run from every other one.
    init(
        _ registry: EntryStore, _ owner: Owner, instance: String, logger: Logger,
        clock: @escaping @Sendable () -> ContinuousClock.Instant
    ) {
        self.clock = clock
        self.registry = registry
        self.owner = owner
        self.logger = logger
        folder = registry.keyspace.agents(of: owner.engine)
        key = folder + instance
        record = Record(
            host: owner.host, pid: ProcessInfo.processInfo.processIdentifier,
            started: Timestamp.text(Timestamp.now()), owner: owner.text)
    }

    /// Says from now on that the host has another address.
    mutating func move(to owner: Owner) {
        self.owner = owner
        record.owner = owner.text
        holder = nil
    }

    /// Says that this agent runs, and looks who else does.
    ///
    /// A role that may not write there costs only this.
    mutating func renew(under lease: Int64) async throws {
        do {
            if holder != lease {
                let value = [UInt8](try JSONEncoder().encode(record))
                let put = Etcd.Transaction([.put(key: key, value: value, lease: lease)])
                _ = try await registry.etcd.commit(put, deadline: registry.deadline)
                holder = lease
            }
            try await look()
            isRefused = false
        } catch Etcd.Error.refused(.permissionDenied, let message) {
            guard !isRefused else { return }
            isRefused = true
            logger.warning(
                "etcd does not let this agent say that it runs; a second one for this engine would not be noticed",
                ["key": key, "error": message])
        }
    }

    /// Takes back that this agent runs: its successor need not wait and see.
    func end() async throws {
        _ = try await registry.etcd.commit(Etcd.Transaction([.delete(key: key)]), deadline: registry.deadline)
    }

    private mutating func look() async throws {
        let listing = try await registry.etcd.range(prefix: folder, deadline: registry.deadline)
        var others: [Other] = []
        var remaining: [Int64: Int64] = [:]
        for keyValue in listing.keyValues {
            guard keyValue.key != Array(key.utf8) else {
                createRevision = keyValue.createRevision
                continue
            }
            guard let record = try? JSONDecoder().decode(Record.self, from: Data(keyValue.value)), keyValue.lease != 0
            else { continue }
            others.append(Other(record: record, lease: keyValue.lease, createRevision: keyValue.createRevision))
            guard !rivals.knows(keyValue.lease) else { continue }
            let state = try await registry.etcd.timeToLive(lease: keyValue.lease, deadline: registry.deadline)
            remaining[keyValue.lease] = state.remaining ?? 0
        }
        rivals.see(others, remaining: remaining, at: clock())
        tell()
    }

    /// Names each agent that keeps the same entries once, when it is known to be alive, and when it is gone.
    ///
    /// Engines of copied machines have one id: agents with another address are none of these.
    private mutating func tell() {
        for other in doubles where !told.contains(other) {
            logger.error(
                "another docker-register runs for this engine and HOST_IP; stop one of them",
                [
                    "other_host": other.record.host, "other_pid": other.record.pid, "started": other.record.started,
                    "this_one": other.createRevision < createRevision ? "waits until the other ends" : "goes on",
                ])
        }
        for other in told where !doubles.contains(other) {
            logger.info(
                "the other docker-register is gone",
                ["other_host": other.record.host, "other_pid": other.record.pid])
        }
        told = doubles
    }
}

/// Which other agents are alive, rather than dead with a lease that has not run out.
///
/// A lease that outlives what was left of it when it was first seen was kept alive.
struct OtherAgents: Equatable {
    private struct Sight: Equatable {
        var other: AgentRegistration.Other
        var deadline: ContinuousClock.Instant
        var isAlive = false
    }

    private var sights: [Int64: Sight] = [:]

    /// etcd tells whole seconds, rounded down, and looks for expired leases twice a second.
    private static let margin = Duration.seconds(2)

    /// Whether a lease has been seen before.
    func knows(_ lease: Int64) -> Bool { sights[lease] != nil }

    /// Takes those that are there now.
    ///
    /// - Parameter remaining: the seconds that were left of the leases that are new.
    mutating func see(_ others: [AgentRegistration.Other], remaining: [Int64: Int64], at now: ContinuousClock.Instant) {
        var next: [Int64: Sight] = [:]
        for other in others {
            let left = Duration.seconds(remaining[other.lease] ?? 0) + Self.margin
            var sight = sights[other.lease] ?? Sight(other: other, deadline: now + left)
            sight.other = other
            sight.isAlive = sight.isAlive || now > sight.deadline
            next[other.lease] = sight
        }
        sights = next
    }

    /// Those that are alive, the oldest first.
    var alive: [AgentRegistration.Other] {
        sights.values.filter(\.isAlive).map(\.other).sorted { $0.createRevision < $1.createRevision }
    }
}
