import Shared

/// What brings HAProxy from what it is known to run to its next configuration: computed once, then logged, printed by
/// `plan` or applied.
///
/// What the runtime API can do does not wait for a load: commands and the reason for a load stand side by side.
struct ConfigChange: Equatable, Sendable {
    /// What HAProxy runs afterwards.
    let next: HAProxyConfiguration
    /// What the running worker is told, in order.
    private(set) var commands: [RuntimeCommand] = []
    /// The sections that the commands change, with the servers that they have afterwards: for reading back.
    private(set) var sections: [ServiceName: [ServerLine]] = [:]
    /// What the commands change of maps and certificates; nil for nothing.
    private(set) var routes: RouteDiff?
    /// Why the file has to be loaded; nil where commands do it all.
    private(set) var load: LoadReason?

    /// Compares what runs with what should.
    init(from known: KnownState, to next: HAProxyConfiguration) {
        self.next = next
        switch known {
        case .notRunning: load = .start
        case .absent: load = .reload(.unknownState)
        case .unknown(let reason): load = .reload(reason)
        case .confirmed(let current): compare(current)
        }
    }

    /// Whether there is nothing to do.
    var isEmpty: Bool { commands.isEmpty && load == nil }

    /// The rows of maps that the commands change.
    var mapChanges: [MapChange] {
        commands.compactMap { command in if case .map(let change) = command { change } else { nil } }
    }

    /// The part that needs no load.
    var withoutLoad: ConfigChange {
        var change = self
        change.load = nil
        return change
    }

    /// What is left to do after commands failed: what runs is not known, so it is loaded anew.
    func reloading(because failure: RuntimeFailure) -> ConfigChange {
        ConfigChange(from: .unknown(.runtimeFailed(failure)), to: next)
    }

    /// Compares the servers of the sections that are on both sides; only a reload changes anything else.
    private mutating func compare(_ current: RunningConfig) {
        if current.mark != next.mark {
            load = .reload(current.hasListeners(of: next) ? .settingsChanged : .listenersChanged)
        }
        if current.maps == nil, next.maps != nil, load == nil { load = .reload(.unknownState) }
        let routes = RouteDiff(from: current, to: next)
        if !routes.commands.isEmpty { self.routes = routes }
        var departing: [RuntimeCommand] = []
        let leaving = Dictionary(grouping: current.leaving.keys, by: \.service)
        for service in next.sections.keys.sorted() {
            guard let old = current.sections[service], let new = next.sections[service], old != new else { continue }
            let gone = (leaving[service] ?? []).compactMap { name in current.leaving[name].map(\.line) }
            let diff = ServerDiff(service, from: old, leaving: gone, to: new)
            if let obstacle = diff.obstacle(in: current, to: new) {
                load = load ?? .reload(obstacle)
            } else {
                commands += diff.arriving
                departing += diff.departing
                sections[service] = new
            }
        }
        // A route moves after its new endpoints have come and before its old ones go.
        commands = routes.first + commands + routes.records + departing + routes.last
    }
}

/// What HAProxy runs, as far as it is known.
enum KnownState: Equatable, Sendable {
    /// No HAProxy; docker-discover is to start one.
    case notRunning
    /// No HAProxy that is seen; something else starts it, and then it reads its file.
    case absent
    /// One whose configuration is not known.
    case unknown(ReloadReason)
    /// One that confirmed this.
    case confirmed(RunningConfig)

    /// Whether an HAProxy serves.
    var isServing: Bool {
        switch self {
        case .notRunning, .absent: false
        case .unknown, .confirmed: true
        }
    }
}

/// Why HAProxy has to load its file.
enum LoadReason: Equatable, Sendable {
    /// Nothing runs.
    case start
    /// Commands cannot do what is needed.
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
    /// The worker does not answer, and so serves nobody.
    case workerHangs
}

extension ConfigChange: CustomStringConvertible {
    /// A few words for the log; where there is a load, its reason is what matters.
    var description: String {
        if let load { return load.description }
        return isEmpty ? "nothing" : "runtime: \(commands.count) command\(commands.count == 1 ? "" : "s")"
    }
}

extension LoadReason: CustomStringConvertible {
    /// A few words for the log.
    var description: String {
        switch self {
        case .start: "start"
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
        case .workerHangs: "the worker does not answer"
        }
    }
}

extension RunningConfig {
    /// Whether a configuration listens where this one does, for the same services.
    fileprivate func hasListeners(of next: HAProxyConfiguration) -> Bool {
        binds == next.binds && Set(sections.keys) == Set(next.sections.keys)
    }

    /// Whether servers such as these can come and go while it runs.
    fileprivate func canAdd(to lines: [ServerLine]) -> Bool {
        isDynamic && (takesCookies || !lines.contains(where: \.hasCookie))
    }
}

/// What differs between the servers of one section.
///
/// Servers that come are ready before others go, so a service that keeps a server is never without one.
private struct ServerDiff {
    private let service: ServiceName
    /// What is done first: servers come and change.
    private(set) var arriving: [RuntimeCommand] = []
    private var replacing: [RuntimeCommand] = []
    private var leaving: [RuntimeCommand] = []
    /// Whether a server's keywords changed that only a new server takes, and no other server could stand in for it.
    private var needsReload = false
    /// Whether servers come or go.
    private var isDynamic = false

    /// What is done last: servers are made anew, and go.
    var departing: [RuntimeCommand] { replacing + leaving }

    /// Compares the servers of a section; those of `leaving` are no longer wanted, and still there.
    init(_ service: ServiceName, from old: [ServerLine], leaving: [ServerLine], to new: [ServerLine]) {
        self.service = service
        let before = Dictionary(old.map { ($0.id, $0) }) { first, _ in first }
        let leaving = Dictionary(leaving.map { ($0.id, $0) }) { first, _ in first }
        let others = new.contains { line in before[line.id].map { $0 == line && line.weight > 0 } ?? false }
        for line in new {
            if let current = before[line.id] {
                change(current, to: line, isAlone: !others)
            } else if let current = leaving[line.id] {
                bringBack(current, as: line)
            } else {
                isDynamic = true
                arriving += RuntimeCommand.adding(name(line), line)
            }
        }
        let stay = Set(new.map(\.id))
        for line in old where !stay.contains(line.id) {
            isDynamic = true
            self.leaving += RuntimeCommand.draining(name(line))
        }
    }

    /// Why commands cannot do it in what runs; nil where they can.
    func obstacle(in current: RunningConfig, to new: [ServerLine]) -> ReloadReason? {
        if needsReload { return .keywordsChanged }
        return isDynamic && !current.canAdd(to: new) ? .staticServers : nil
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
    private mutating func bringBack(_ current: ServerLine, as line: ServerLine) {
        isDynamic = true
        if current.isChangeable(to: line) {
            arriving += RuntimeCommand.changing(name(line), from: current, to: line) + [.ready(name(line))]
        } else {
            arriving += RuntimeCommand.replacing(name(line), by: line)
        }
    }

    private func name(_ line: ServerLine) -> EntryID { EntryID(service: service, id: line.id) }
}
