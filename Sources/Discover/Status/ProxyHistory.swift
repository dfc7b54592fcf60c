import Shared

/// What came of bringing HAProxy to configurations, since the agent runs.
struct ProxyHistory: Equatable, Sendable {
    /// A reload.
    struct Reload: Encodable, Equatable, Sendable {
        /// When, RFC 3339.
        var time: String
        /// Why.
        var reason: String
    }

    /// How many reloads there were.
    private(set) var reloads = 0
    /// The newest reload.
    private(set) var lastReload: Reload?
    /// Since when, and why, HAProxy does not do what it should; nil while it does.
    private(set) var trouble: Trouble?
    /// What failed last, also if it is over.
    private(set) var lastTrouble: Trouble?

    /// Notes that HAProxy runs what it should, and how it was brought there.
    mutating func note(_ update: Update) {
        trouble = nil
        guard case .reload(let reason) = update else { return }
        reloads += 1
        lastReload = Reload(time: Timestamp.text(Timestamp.now()), reason: "\(reason)")
    }

    /// Notes that it does not.
    mutating func note(_ error: any Error) {
        let failed = Trouble(error)
        lastTrouble = failed
        if trouble?.error != failed.error { trouble = failed }
    }
}
