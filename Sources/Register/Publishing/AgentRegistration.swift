import FoundationEssentials
import Shared

/// This docker-register's record in etcd, under its lease, and those of other docker-registers of the same engine.
///
/// Two of them would move each other's entries between their leases for ever, or register each container twice over. The
/// oldest one leads, and the others stand by as a whole.
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
        /// Which engine it asks, as ``Docker/Identity/place`` has it; nil where that is not known.
        var place: String?
    }

    /// Another agent of the engine.
    struct Other: Equatable, Sendable {
        /// Its record.
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
    private var others = OtherAgents()
    private var logged: [Other] = []
    private var isRefused = false

    /// The agent that registers this engine's containers instead of this one; nil where this one does.
    var leader: Other? { duplicates.first { $0.createRevision < createRevision } }

    /// The other agents of this engine that are alive, the oldest first.
    private var duplicates: [Other] { others.alive.filter { isOfThisEngine($0.record) } }

    /// Engines of copied machines have one id, and are told apart by their places.
    private func isOfThisEngine(_ record: Record) -> Bool {
        record.owner == owner.text || record.place.map { $0 == owner.place } == true
    }

    /// Begins without a record.
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
            started: Timestamp.text(Timestamp.now()), owner: owner.text,
            place: owner.place.isEmpty ? nil : owner.place)
    }

    /// Puts another address into the record, which keeps its age.
    mutating func move(to owner: Owner) {
        self.owner = owner
        record.owner = owner.text
        holder = nil
    }

    /// Puts the record where it is not there under this lease, and reads those of the others.
    ///
    /// A role that may not write there, or no room in etcd, costs only this.
    mutating func renew(under lease: Int64) async throws {
        do {
            let isNew = holder != lease
            if isNew {
                let value = [UInt8](try JSONEncoder().encode(record))
                let put = Etcd.Transaction([.put(key: key, value: value, lease: lease)])
                _ = try await registry.etcd.commit(put, deadline: registry.deadline)
            }
            // Who is older has to be right; who comes later may be seen a moment later, for half of the price.
            try await readOthers(fromAnyMember: !isNew && others.isEmpty)
            holder = lease
            isRefused = false
        } catch let error as Etcd.Error where error.isDenied || error.isNoRoom {
            guard !isRefused else { return }
            isRefused = true
            logger.warning(
                "cannot register this agent; a second docker-register of this engine goes unnoticed",
                ["key": key, "error": "\(error)"])
        }
    }

    /// Deletes the record: a successor need not wait and see.
    func end() async throws {
        _ = try await registry.etcd.commit(Etcd.Transaction([.delete(key: key)]), deadline: registry.deadline)
    }

    private mutating func readOthers(fromAnyMember isLocal: Bool) async throws {
        let listing = try await registry.etcd.range(
            prefix: folder, fromAnyMember: isLocal, deadline: registry.deadline)
        var found: [Other] = []
        var remaining: [Int64: Int64] = [:]
        for keyValue in listing.keyValues {
            guard keyValue.key != Array(key.utf8) else {
                createRevision = keyValue.createRevision
                continue
            }
            guard let record = try? JSONDecoder().decode(Record.self, from: Data(keyValue.value)), keyValue.lease != 0
            else { continue }
            found.append(Other(record: record, lease: keyValue.lease, createRevision: keyValue.createRevision))
            guard !others.knows(keyValue.lease) else { continue }
            let state = try await registry.etcd.timeToLive(lease: keyValue.lease, deadline: registry.deadline)
            remaining[keyValue.lease] = state.remaining ?? 0
        }
        others.update(with: found, remaining: remaining, at: clock())
        log()
    }

    /// Logs each other agent of this engine once, when it is known to be alive, and when it is gone.
    private mutating func log() {
        for other in duplicates where !logged.contains(other) {
            logger.error(
                "another docker-register runs for this engine; stop one of them",
                [
                    "other_host": other.record.host, "other_pid": other.record.pid, "started": other.record.started,
                    "this_one": other.createRevision < createRevision ? "stands by" : "registers",
                ])
        }
        for other in logged where !duplicates.contains(other) {
            logger.info(
                "the other docker-register has ended",
                ["other_host": other.record.host, "other_pid": other.record.pid])
        }
        logged = duplicates
    }
}

/// Which other agents are alive, rather than dead with a lease that has not run out.
///
/// A lease that outlives what was left of it when it was first seen was kept alive.
struct OtherAgents: Equatable {
    private struct Seen: Equatable {
        var other: AgentRegistration.Other
        var deadline: ContinuousClock.Instant
        var isAlive = false
    }

    private var seen: [Int64: Seen] = [:]

    /// etcd tells whole seconds, rounded down, and looks for expired leases twice a second.
    private static let margin = Duration.seconds(2)

    /// Whether there are none.
    var isEmpty: Bool { seen.isEmpty }

    /// Whether a lease has been seen before.
    func knows(_ lease: Int64) -> Bool { seen[lease] != nil }

    /// Updates the others with those that are registered now.
    ///
    /// - Parameter remaining: the seconds that were left of the leases that are new.
    mutating func update(
        with others: [AgentRegistration.Other], remaining: [Int64: Int64], at now: ContinuousClock.Instant
    ) {
        var next: [Int64: Seen] = [:]
        for other in others {
            let left = Duration.seconds(remaining[other.lease] ?? 0) + Self.margin
            var entry = seen[other.lease] ?? Seen(other: other, deadline: now + left)
            entry.other = other
            entry.isAlive = entry.isAlive || now > entry.deadline
            next[other.lease] = entry
        }
        seen = next
    }

    /// Those whose lease was seen renewed, the oldest first.
    var alive: [AgentRegistration.Other] {
        seen.values.filter(\.isAlive).map(\.other).sorted { $0.createRevision < $1.createRevision }
    }
}
