import Shared

/// Keeps a ledger of holds at the time of now, and knows when HAProxy has to be asked.
struct HoldKeeper {
    private var ledger: HoldLedger
    private let interval: Duration
    private let clock = SteadyClock()
    private var lastLook: ContinuousClock.Instant?

    /// Makes one that holds nothing.
    ///
    /// - Parameter interval: between two looks while something is held.
    init(holdTime: Duration, interval: Duration) {
        ledger = HoldLedger(holdTime: holdTime)
        self.interval = interval
    }

    /// What is held, as if it were registered.
    var records: [RegistryRecord] { ledger.records }
    /// What has to outlive the program.
    var kept: [HoldLedger.Kept] { ledger.kept }
    /// The services of which HAProxy has to be asked.
    var services: [ServiceName] { ledger.doubtful }

    /// The claims of ports that went with what is held: they are to be made again.
    func lostClaims(from state: RegistryState) -> [ClaimChange] {
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
    mutating func recall(_ copy: CatalogFile.Copy) -> [HoldChange] {
        ledger.recall(copy.holds, besides: copy.registry, at: clock.now)
    }

    /// Takes a newer state of the registry.
    mutating func take(_ state: RegistryState) -> [HoldChange] {
        ledger.take(state, at: clock.now)
    }

    /// Judges by what HAProxy says now; nil where it says nothing.
    mutating func judge(_ verdicts: ServerVerdicts?) -> [HoldChange] {
        lastLook = .now
        return ledger.judge(verdicts, at: clock.now)
    }

    /// Ends the holds of a service, or all of them.
    mutating func release(_ service: ServiceName?) -> [HoldChange] {
        ledger.release(service)
    }
}
