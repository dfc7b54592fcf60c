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

    /// When HAProxy has to be asked; nil while nothing is lost.
    var due: ContinuousClock.Instant? {
        if ledger.isOpen { return .now }
        guard !ledger.doubtful.isEmpty else { return nil }
        return lastLook.map { $0 + interval } ?? .now
    }

    /// Goes on with what an earlier run held.
    mutating func recall(_ kept: [HoldLedger.Kept]) -> [HoldChange] {
        ledger.recall(kept, at: clock.now)
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
