import Shared

/// What brings HAProxy from what it runs to what it should run.
enum Update: Equatable, Sendable {
    /// It runs that already.
    case none
    /// Nothing runs: start it.
    case start
    /// Load the new file into the running master.
    case reload(ReloadReason)
}

/// Why a reload is needed; the first that applies.
enum ReloadReason: Equatable, Sendable {
    /// What runs is not known to be what was written: HAProxy was taken over, or somebody else reloaded it.
    case unknownState
    /// Services came, went or moved to another port.
    case listenersChanged
    /// Endpoints of services that stay came, went or changed.
    case endpointsChanged
    /// Only what is around the services changed.
    case settingsChanged
}

/// A configuration together with the plan it came from.
struct RenderedPlan: Equatable, Sendable {
    /// The file.
    let configuration: HAProxyConfiguration

    /// What it was rendered from; nil for a file of an earlier run.
    let plan: ProxyPlan?
}

extension Update {
    /// What HAProxy runs, as far as it is known.
    enum Running: Equatable, Sendable {
        /// No HAProxy.
        case nothing
        /// One whose configuration is not known.
        case unknown
        /// One that confirmed this configuration.
        case confirmed(RenderedPlan)
    }

    /// Decides.
    init(from running: Running, to next: RenderedPlan) {
        switch running {
        case .nothing: self = .start
        case .unknown: self = .reload(.unknownState)
        case .confirmed(let current) where current.configuration.text == next.configuration.text: self = .none
        case .confirmed(let current): self = .reload(ReloadReason(from: current.plan, to: next.plan))
        }
    }
}

extension ReloadReason {
    fileprivate init(from current: ProxyPlan?, to next: ProxyPlan?) {
        guard let current, let next else {
            self = .unknownState
            return
        }
        if current.listeners.map(\.section) != next.listeners.map(\.section) {
            self = .listenersChanged
        } else {
            self = current.listeners == next.listeners ? .settingsChanged : .endpointsChanged
        }
    }
}

extension Update: CustomStringConvertible {
    /// A few words for the log.
    var description: String {
        switch self {
        case .none: "nothing"
        case .start: "start"
        case .reload(let reason): "reload: \(reason.words)"
        }
    }
}

extension ReloadReason {
    fileprivate var words: String {
        switch self {
        case .unknownState: "what runs is not known"
        case .listenersChanged: "services changed"
        case .endpointsChanged: "endpoints changed"
        case .settingsChanged: "settings changed"
        }
    }
}

extension ProxyPlan.Listener {
    /// The part of a listener that only a reload can change.
    fileprivate var section: [String] { [service.text, bind.description] }
}
