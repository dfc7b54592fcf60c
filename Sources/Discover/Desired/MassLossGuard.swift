import Shared

/// Which lost endpoints are held, decided from states of the registry, what HAProxy says, and the time.
///
/// The rule: losses of one service within the hold time count together. When fewer than half of the endpoints that the
/// service had before them are registered, those that were lost and are still up are held. A hold goes on until its own
/// end (``Hold/Ending``), also when more of the others come back; what was not held, or no longer is, never is again.
struct HoldLedger: Equatable, Sendable {
    /// What is known of one lost entry.
    struct LostEndpoint: Equatable, Sendable {
        /// What was lost.
        let loss: LostEntry
        /// When, as time since the beginning of 1970.
        let since: Duration
        /// What was decided.
        var fate: Decision
    }

    /// What was decided of a lost entry.
    enum Decision: Equatable, Sendable {
        /// HAProxy was not asked yet.
        case open
        /// It stays in service until then at the latest.
        case held(until: Duration)
        /// It has left, and only counts.
        case left
    }

    /// For how long endpoints are held; zero for not at all.
    let holdTime: Duration

    /// The lost entries that count, by key.
    private var missing: [[UInt8]: LostEndpoint] = [:]
    /// How many endpoints are registered, of the services in ``missing``.
    private var registered: [ServiceName: Int] = [:]

    /// Makes one that holds nothing.
    init(holdTime: Duration) {
        self.holdTime = holdTime
    }

    /// Goes on with what an earlier run held.
    ///
    /// - Parameter state: what was registered besides.
    mutating func recall(_ kept: [PersistedHold], besides state: RegistryState, at now: Duration) -> [HoldChange] {
        for kept in kept where holdTime > .zero {
            let since = min(kept.since, now)
            missing[kept.loss.key] = LostEndpoint(
                loss: kept.loss, since: since, fate: .held(until: min(kept.until, since + holdTime)))
        }
        registered = state.entryCounts(of: Set(missing.values.map(\.loss.name.service)))
        return begun(missing.values.compactMap(\.hold))
    }

    /// The endpoints that are held, in order.
    var holds: [HeldEndpoint] { missing.values.compactMap(\.hold).sorted { $0.name < $1.name } }

    /// What the registry would have if nothing that is held were missing.
    var records: [RegistryRecord] {
        missing.values.filter { $0.hold != nil }.flatMap { $0.loss.records }
    }

    /// The services of which HAProxy is to be asked, in order.
    var doubtful: [ServiceName] {
        Set(missing.values.filter { $0.fate != .left }.map(\.loss.name.service)).sorted()
    }

    /// What has to outlive the program, in order.
    var kept: [PersistedHold] {
        missing.values.compactMap { missing in
            missing.hold.map { PersistedHold(loss: missing.loss, since: $0.since, until: $0.until) }
        }.sorted { $0.loss.name < $1.loss.name }
    }

    /// Whether HAProxy has to be asked before anything is taken out of it.
    var isOpen: Bool { missing.values.contains { $0.fate == .open } }
}

// MARK: What becomes known

extension HoldLedger {
    /// Takes a newer state of the registry.
    mutating func take(_ state: RegistryState, at now: Duration) -> [HoldChange] {
        guard holdTime > .zero, !(missing.isEmpty && state.losses.isEmpty) else { return [] }
        for (key, loss) in state.losses where missing[key]?.loss.seen != loss.seen {
            missing[key] = LostEndpoint(loss: loss, since: now, fate: .open)
        }
        let endings = endings(in: state)
        let ended = endings.compactMap { key, ending in missing[key]?.hold.map { ($0, ending) } }
        for key in endings.keys { missing[key] = nil }
        forget(before: now - holdTime, besides: state)
        registered = state.entryCounts(of: Set(missing.values.map(\.loss.name.service)))
        return Self.ended(ended)
    }

    /// Which of the missing are missing no more, and why.
    private func endings(in state: RegistryState) -> [[UInt8]: HeldEndpoint.EndReason] {
        let holders = state.holders(of: Set(missing.values.map(\.loss.endpoint)))
        return missing.compactMapValues { missing in
            let loss = missing.loss
            if state.holds(loss) { return .registered }
            if state.tellsWithdrawal(of: loss.name) { return .withdrawn }
            // A container may be in several services; whoever else comes to its address has taken it.
            let heirs = (holders[loss.endpoint] ?? []).filter { key, name in
                name.id != loss.name.id && !loss.sharers.contains(key)
            }
            return heirs.map(\.name).min().map { .replaced(by: $0) }
        }
    }

    /// Forgets what counts no more; what the state still tells would otherwise come up anew.
    private mutating func forget(before oldest: Duration, besides state: RegistryState) {
        missing = missing.filter { key, missing in
            missing.fate != .left || missing.since > oldest || state.losses[key]?.seen == missing.loss.seen
        }
    }
}

// MARK: What is decided

extension HoldLedger {
    /// Judges by what HAProxy says; nil where it says nothing, which is no reason to let anything go.
    mutating func judge(_ verdicts: ServerHealth?, at now: Duration) -> [HoldChange] {
        let small = mostlyLost(at: now)
        var (begun, ended): ([HeldEndpoint], [(HeldEndpoint, HeldEndpoint.EndReason)]) = ([], [])
        for (key, missing) in missing {
            let sight = verdicts?.sight(of: missing.loss.name) ?? .up
            switch missing.fate {
            case .left: break
            case .open:
                // A server that HAProxy does not have has no traffic to lose.
                let isWorthIt = sight == .up && small.contains(missing.loss.name.service)
                self.missing[key]?.fate = isWorthIt ? .held(until: missing.since + holdTime) : .left
                if let hold = self.missing[key]?.hold { begun.append(hold) }
            case .held(let until):
                guard let hold = missing.hold, until <= now || sight == .down else { break }
                self.missing[key]?.fate = .left
                ended.append((hold, until <= now ? .expired : .failed))
            }
        }
        return self.begun(begun) + Self.ended(ended)
    }

    /// Ends the holds of a service, or all; what is lost from now on may be held again.
    mutating func release(_ service: ServiceName?) -> [HoldChange] {
        let released = missing.filter { _, missing in
            missing.hold != nil && (service == nil || missing.loss.name.service == service)
        }
        for key in released.keys { missing[key]?.fate = .left }
        return Self.ended(released.values.compactMap { missing in missing.hold.map { ($0, .released) } })
    }

    /// The services of whose endpoints, as they were before the losses, fewer than half are there.
    private func mostlyLost(at now: Duration) -> Set<ServiceName> {
        var lost: [ServiceName: Int] = [:]
        for missing in missing.values where missing.since > now - holdTime {
            lost[missing.loss.name.service, default: 0] += 1
        }
        return Set(lost.filter { $1 > registered[$0] ?? 0 }.keys)
    }

    private func begun(_ holds: [HeldEndpoint]) -> [HoldChange] {
        let services = Dictionary(grouping: holds.sorted { $0.name < $1.name }, by: \.name.service)
        return services.sorted { $0.key < $1.key }.map { .began($1, registered: registered[$0] ?? 0) }
    }

    private static func ended(_ holds: [(HeldEndpoint, HeldEndpoint.EndReason)]) -> [HoldChange] {
        let services = Dictionary(grouping: holds.sorted { $0.0.name < $1.0.name }, by: \.0.name.service)
        return services.sorted { $0.key < $1.key }.flatMap { _, ended in
            Dictionary(grouping: ended, by: \.1).map { HoldChange.ended($1.map(\.0), $0) }
                .sorted { "\($0)" < "\($1)" }
        }
    }
}

extension HoldLedger.LostEndpoint {
    /// The hold; nil where it is none.
    var hold: HeldEndpoint? {
        guard case .held(let until) = fate else { return nil }
        return HeldEndpoint(name: loss.name, endpoint: loss.endpoint, since: since, until: until, reason: loss.cause)
    }
}

/// Keeps a ledger of holds at the time of now, and knows when HAProxy has to be asked.
struct HoldKeeper {
    private var ledger: HoldLedger
    private let interval: Duration
    private let clock = WallClock()
    private var lastLook: ContinuousClock.Instant?

    /// Makes one that holds nothing.
    ///
    /// - Parameter interval: between two looks while something is held.
    init(holdTime: Duration, interval: Duration) {
        ledger = HoldLedger(holdTime: holdTime)
        self.interval = interval
    }

    /// What is held, in order.
    var holds: [HeldEndpoint] { ledger.holds }
    /// What is held, as if it were registered.
    var records: [RegistryRecord] { ledger.records }
    /// What has to outlive the program.
    var kept: [PersistedHold] { ledger.kept }
    /// The services of which HAProxy has to be asked.
    var services: [ServiceName] { ledger.doubtful }

    /// The claims of ports that went with what is held: they are to be made again.
    func lostClaims(from state: RegistryState) -> [PortClaimUpdate] {
        let claims = ledger.records.reduce(into: [ServiceName: PortClaim]()) { claims, record in
            guard case .claim(let service, let claim) = record.content, state[.claim(service)] == nil else { return }
            claims[service] = claim
        }
        return claims.sorted { $0.key < $1.key }.map { .put($0.key, $0.value, replacing: nil) }
    }

    /// When HAProxy has to be asked; nil while nothing is lost.
    var due: ContinuousClock.Instant? {
        if ledger.isOpen { return .now }
        guard !ledger.doubtful.isEmpty else { return nil }
        return lastLook.map { $0 + interval } ?? .now
    }

    /// Goes on with what an earlier run held.
    mutating func recall(_ copy: RegistryCache.Copy) -> [HoldChange] {
        ledger.recall(copy.holds, besides: copy.registry, at: clock.now)
    }

    /// Takes a newer state of the registry.
    mutating func take(_ state: RegistryState) -> [HoldChange] {
        ledger.take(state, at: clock.now)
    }

    /// Judges by what HAProxy says now; nil where it says nothing.
    mutating func judge(_ verdicts: ServerHealth?) -> [HoldChange] {
        lastLook = .now
        return ledger.judge(verdicts, at: clock.now)
    }

    /// Ends the holds of a service, or all of them.
    mutating func release(_ service: ServiceName?) -> [HoldChange] {
        ledger.release(service)
    }
}
