import Shared

/// Keeps lost endpoints in service, decided from states of the registry, what HAProxy says, and the time.
///
/// The rule: losses of one service within the hold time count together. When fewer than half of the endpoints that the
/// service had before them are registered, those that were lost and are still up are held. A hold goes on until its own
/// end (``HeldEndpoint/EndReason``), also when more of the others come back; what was not held, or no longer is, never is again.
struct MassLossGuard: Equatable, Sendable {
    /// What is known of one lost entry.
    struct LostEndpoint: Equatable, Sendable {
        /// What was lost.
        let loss: LostEntry
        /// When, as time since the beginning of 1970.
        let since: Duration
        /// What was decided.
        var decision: Decision
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

    /// Between two looks at HAProxy's checks while something is held.
    let interval: Duration

    /// The lost entries that count, by key.
    private var lost: [[UInt8]: LostEndpoint] = [:]
    /// How many endpoints are registered, of the services in ``lost``.
    private var registered: [ServiceName: Int] = [:]
    /// When HAProxy's checks were looked at last; nil where they never were.
    private var evaluated: Duration?

    /// Makes one that holds nothing.
    init(holdTime: Duration, interval: Duration = .seconds(1)) {
        (self.holdTime, self.interval) = (holdTime, interval)
    }

    /// Goes on with what an earlier run held.
    ///
    /// - Parameter state: what was registered besides.
    mutating func restore(_ held: [PersistedHold], besides state: RegistryState, at now: Duration) -> [HoldChange] {
        for hold in held where holdTime > .zero {
            let since = min(hold.since, now)
            lost[hold.loss.key] = LostEndpoint(
                loss: hold.loss, since: since, decision: .held(until: min(hold.until, since + holdTime)))
        }
        countRegistered(in: state)
        return begun(lost.values.compactMap(\.hold))
    }

    /// The endpoints that are held, in order.
    var held: [HeldEndpoint] { lost.values.compactMap(\.hold).sorted { $0.name < $1.name } }

    /// What the registry would have if nothing that is held were missing.
    var records: [RegistryRecord] {
        lost.values.filter { $0.hold != nil }.flatMap { $0.loss.records }
    }

    /// The services of which HAProxy is to be asked, in order.
    var services: [ServiceName] {
        Set(lost.values.filter { $0.decision != .left }.map(\.loss.name.service)).sorted()
    }

    /// What has to outlive the program, in order.
    var persisted: [PersistedHold] {
        lost.values.compactMap { lost in
            lost.hold.map { PersistedHold(loss: lost.loss, since: $0.since, until: $0.until) }
        }.sorted { $0.loss.name < $1.loss.name }
    }

    /// How long until HAProxy has to be asked; nil while nothing is lost.
    ///
    /// What was just lost is decided before anything is taken out of HAProxy.
    func wait(at now: Duration) -> Duration? {
        if lost.values.contains(where: { $0.decision == .open }) { return .zero }
        guard !services.isEmpty else { return nil }
        return evaluated.map { max($0 + interval - now, .zero) } ?? .zero
    }
}

// MARK: What becomes known

extension MassLossGuard {
    /// Accepts a newer state of the registry.
    mutating func accept(_ state: RegistryState, at now: Duration) -> [HoldChange] {
        guard holdTime > .zero, !(lost.isEmpty && state.losses.isEmpty) else { return [] }
        for (key, loss) in state.losses where lost[key]?.loss.seen != loss.seen {
            lost[key] = LostEndpoint(loss: loss, since: now, decision: .open)
        }
        let reasons = endReasons(in: state)
        let ended = reasons.compactMap { key, reason in lost[key]?.hold.map { ($0, reason) } }
        for key in reasons.keys { lost[key] = nil }
        evict(before: now - holdTime, besides: state)
        countRegistered(in: state)
        return Self.ended(ended)
    }

    private mutating func countRegistered(in state: RegistryState) {
        registered = state.entryCounts(of: Set(lost.values.map(\.loss.name.service)))
    }

    /// Which of the lost are lost no more, and why.
    private func endReasons(in state: RegistryState) -> [[UInt8]: HeldEndpoint.EndReason] {
        let holders = state.holders(of: Set(lost.values.map(\.loss.endpoint)))
        return lost.compactMapValues { lost in
            let loss = lost.loss
            if state.holds(loss) { return .registered }
            if state.tellsWithdrawal(of: loss.name) { return .withdrawn }
            // A container may be in several services; whoever else comes to its address has taken it.
            let heirs = (holders[loss.endpoint] ?? []).filter { key, name in
                name.id != loss.name.id && !loss.sharers.contains(key)
            }
            return heirs.map(\.name).min().map { .replaced(by: $0) }
        }
    }

    /// Evicts what counts no more; what the state still tells would otherwise come up anew.
    private mutating func evict(before oldest: Duration, besides state: RegistryState) {
        lost = lost.filter { key, lost in
            lost.decision != .left || lost.since > oldest || state.losses[key]?.seen == lost.loss.seen
        }
    }
}

// MARK: What is decided

extension MassLossGuard {
    /// Evaluates by what HAProxy says; nil where it says nothing, which is no reason to let anything go.
    mutating func evaluate(_ health: ServerHealth?, at now: Duration) -> [HoldChange] {
        evaluated = now
        let small = mostlyLost(at: now)
        var (begun, ended): ([HeldEndpoint], [(HeldEndpoint, HeldEndpoint.EndReason)]) = ([], [])
        for (key, endpoint) in lost {
            let state = health?[endpoint.loss.name] ?? .up
            switch endpoint.decision {
            case .left: break
            case .open:
                // A server that HAProxy does not have has no traffic to lose.
                let isWorthIt = state == .up && small.contains(endpoint.loss.name.service)
                lost[key]?.decision = isWorthIt ? .held(until: endpoint.since + holdTime) : .left
                if let hold = lost[key]?.hold { begun.append(hold) }
            case .held(let until):
                guard let hold = endpoint.hold, until <= now || state == .down else { break }
                lost[key]?.decision = .left
                ended.append((hold, until <= now ? .expired : .failed))
            }
        }
        return self.begun(begun) + Self.ended(ended)
    }

    /// Ends the holds of a service, or all; what is lost from now on may be held again.
    mutating func release(_ service: ServiceName?) -> [HoldChange] {
        let released = lost.filter { _, lost in
            lost.hold != nil && (service == nil || lost.loss.name.service == service)
        }
        for key in released.keys { lost[key]?.decision = .left }
        return Self.ended(released.values.compactMap { lost in lost.hold.map { ($0, .released) } })
    }

    /// The services of whose endpoints, as they were before the losses, fewer than half are there.
    private func mostlyLost(at now: Duration) -> Set<ServiceName> {
        var counts: [ServiceName: Int] = [:]
        for lost in lost.values where lost.since > now - holdTime {
            counts[lost.loss.name.service, default: 0] += 1
        }
        return Set(counts.filter { $1 > registered[$0] ?? 0 }.keys)
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

extension MassLossGuard.LostEndpoint {
    /// The hold; nil where it is none.
    var hold: HeldEndpoint? {
        guard case .held(let until) = decision else { return nil }
        return HeldEndpoint(name: loss.name, endpoint: loss.endpoint, since: since, until: until, reason: loss.cause)
    }
}
