import Shared

/// What brings HAProxy from what it runs to what it should run.
enum Update: Equatable, Sendable {
    /// It runs that already.
    case none
    /// Nothing runs: start it.
    case start
    /// Change servers while they run.
    case runtime([RuntimeCommand])
    /// Load the new file into the running master.
    case reload(ReloadReason)
}

/// Why a reload is needed; the first that applies.
enum ReloadReason: Equatable, Sendable {
    /// What runs is not known to be what was written: HAProxy was taken over, or somebody else reloaded it.
    case unknownState
    /// What runs is not known after a change through the runtime API.
    case runtimeFailed(RuntimeFailure)
    /// Services came, went or moved to another port.
    case listenersChanged
    /// Only what is around the servers changed.
    case settingsChanged
    /// A server's keywords changed that only a new server takes, and no other server could stand in for it.
    case keywordsChanged
    /// Servers came or went, and this HAProxy cannot add or remove any while it runs.
    case staticServers
}

extension Update {
    /// What HAProxy runs, as far as it is known.
    enum Running: Equatable, Sendable {
        /// No HAProxy.
        case nothing
        /// One whose configuration is not known.
        case unknown(ReloadReason)
        /// One that confirmed this.
        case confirmed(RunningProxy)
    }

    /// Decides.
    init(from running: Running, to next: HAProxyConfiguration) {
        switch running {
        case .nothing: self = .start
        case .unknown(let reason): self = .reload(reason)
        case .confirmed(let current) where current.mark != next.mark:
            self = .reload(current.hasListeners(of: next) ? .settingsChanged : .listenersChanged)
        case .confirmed(let current):
            let changes = ServerChanges(from: current, to: next)
            if let obstacle = changes.obstacle {
                self = .reload(obstacle)
            } else {
                self = changes.commands.isEmpty ? .none : .runtime(changes.commands)
            }
        }
    }
}

extension RunningProxy {
    fileprivate func hasListeners(of next: HAProxyConfiguration) -> Bool {
        binds == next.binds && Set(sections.keys) == Set(next.sections.keys)
    }
}

extension Update: CustomStringConvertible {
    /// A few words for the log.
    var description: String {
        switch self {
        case .none: "nothing"
        case .start: "start"
        case .runtime(let commands): "runtime: \(commands.count) command\(commands.count == 1 ? "" : "s")"
        case .reload(let reason): "reload: \(reason)"
        }
    }
}

extension ReloadReason: CustomStringConvertible {
    /// A few words for the log.
    var description: String {
        switch self {
        case .unknownState: "what runs is not known"
        case .runtimeFailed(let failure): failure.description
        case .listenersChanged: "services changed"
        case .settingsChanged: "settings changed"
        case .keywordsChanged: "an endpoint's options changed"
        case .staticServers: "endpoints came or went, and this HAProxy cannot change that while it runs"
        }
    }
}
