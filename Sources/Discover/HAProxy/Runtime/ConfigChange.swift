import Shared

/// What brings HAProxy from what it runs to what it should run.
enum ConfigChange: Equatable, Sendable {
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

extension ConfigChange {
    /// What HAProxy runs, as far as it is known.
    enum Running: Equatable, Sendable {
        /// No HAProxy.
        case nothing
        /// One whose configuration is not known.
        case unknown(ReloadReason)
        /// One that confirmed this.
        case confirmed(RunningConfig)
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

extension RunningConfig {
    fileprivate func hasListeners(of next: HAProxyConfiguration) -> Bool {
        binds == next.binds && Set(sections.keys) == Set(next.sections.keys)
    }
}

extension ConfigChange: CustomStringConvertible {
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

/// What the runtime API can do to bring the servers that run to those that should: commands, and what they lead to.
///
/// Servers that come are ready before others go, so a service that keeps a server is never without one.
struct ServerChanges: Equatable, Sendable {
    /// The commands in order.
    private(set) var commands: [RuntimeCommand] = []
    /// The sections that they change, with the servers that they have then.
    private(set) var sections: [ServiceName: [ServerLine]] = [:]
    /// Why the servers of some sections need a reload; nil where they do not.
    private(set) var obstacle: ReloadReason?

    /// Compares the sections that are on both sides.
    init(from running: RunningConfig, to next: HAProxyConfiguration) {
        let leaving = Dictionary(grouping: running.leaving.keys, by: \.service)
        for service in next.sections.keys.sorted() {
            guard let old = running.sections[service], let new = next.sections[service], old != new else { continue }
            let gone = (leaving[service] ?? []).compactMap { name in running.leaving[name].map(\.line) }
            var section = SectionChanges(service)
            section.compare(old, new, gone: gone)
            if section.needsReload {
                obstacle = obstacle ?? .keywordsChanged
            } else if section.isDynamic, !running.canAdd(to: new) {
                obstacle = obstacle ?? .staticServers
            } else {
                commands += section.commands
                sections[service] = new
            }
        }
    }
}

/// The changes of one section.
private struct SectionChanges {
    private let service: ServiceName
    private var arriving: [RuntimeCommand] = []
    private var replacing: [RuntimeCommand] = []
    private var departing: [RuntimeCommand] = []

    /// Whether a server's keywords changed that only a new server takes, and no other server could stand in for it.
    private(set) var needsReload = false
    /// Whether servers come or go.
    private(set) var isDynamic = false

    var commands: [RuntimeCommand] { arriving + replacing + departing }

    init(_ service: ServiceName) {
        self.service = service
    }

    mutating func compare(_ old: [ServerLine], _ new: [ServerLine], gone: [ServerLine]) {
        let before = Dictionary(old.map { ($0.id, $0) }) { first, _ in first }
        let leaving = Dictionary(gone.map { ($0.id, $0) }) { first, _ in first }
        let others = new.contains { line in before[line.id].map { $0 == line && line.weight > 0 } ?? false }
        for line in new {
            if let current = before[line.id] {
                change(current, to: line, isAlone: !others)
            } else if let current = leaving[line.id] {
                takeBack(current, as: line)
            } else {
                isDynamic = true
                arriving += RuntimeCommand.adding(name(line), line)
            }
        }
        let stay = Set(new.map(\.id))
        for line in old where !stay.contains(line.id) {
            isDynamic = true
            departing += RuntimeCommand.draining(name(line))
        }
    }

    private mutating func change(_ current: ServerLine, to line: ServerLine, isAlone: Bool) {
        if current.isChangeable(to: line) {
            arriving += RuntimeCommand.changing(name(line), from: current, to: line)
        } else if isAlone {
            needsReload = true
        } else {
            isDynamic = true
            replacing += RuntimeCommand.replacing(name(line), by: line)
        }
    }

    /// A server that comes back before it is gone.
    private mutating func takeBack(_ current: ServerLine, as line: ServerLine) {
        isDynamic = true
        if current.isChangeable(to: line) {
            arriving += RuntimeCommand.changing(name(line), from: current, to: line) + [.ready(name(line))]
        } else {
            arriving += RuntimeCommand.replacing(name(line), by: line)
        }
    }

    private func name(_ line: ServerLine) -> EntryID { EntryID(service: service, id: line.id) }
}

extension RunningConfig {
    /// Whether servers such as these can come and go while it runs.
    fileprivate func canAdd(to lines: [ServerLine]) -> Bool {
        isDynamic && (takesCookies || !lines.contains(where: \.hasCookie))
    }
}
