import Shared

/// What a worker of HAProxy runs: the configuration that it has loaded, and what was changed since through the runtime
/// API.
struct RunningConfig: Equatable, Sendable {
    /// A server that is no longer wanted and still has connections.
    struct Leaving: Equatable, Sendable {
        /// What it runs by; its weight is 0.
        let line: ServerLine
        /// When its connections are cut; nil where they were.
        var end: ContinuousClock.Instant?
    }

    /// The worker's process id.
    let worker: Int32
    /// The mark of the configuration that it has loaded.
    let mark: String
    /// Where it listens.
    let binds: Set<BindAddress>
    /// The servers that take connections, by section.
    private(set) var sections: [ServiceName: [ServerLine]]
    /// The servers that are on their way out.
    private(set) var leaving: [EntryID: Leaving] = [:]
    /// What its maps say; nil where it routes nothing.
    private(set) var maps: RouteMaps?
    /// The shares among these that no record names any more.
    private(set) var retired: Set<String> = []
    /// The ids of the conditions that its rules know.
    let conditions: Set<String>
    /// Whether it can add and remove servers while it runs, as far as is known.
    var isDynamic = true
    /// Whether it can do so with servers that have a cookie, as far as is known.
    var takesCookies = true

    /// How many servers take connections.
    var serverCount: Int { sections.values.reduce(0) { $0 + $1.count } }

    /// A worker that has just loaded a configuration.
    init(worker: Int32, loaded: HAProxyConfiguration) {
        self.worker = worker
        (mark, binds, conditions) = (loaded.mark, loaded.binds, loaded.conditions)
        (sections, maps) = (loaded.sections, loaded.maps)
    }

    /// A worker of an earlier run, whose file is there, and which tells these states.
    ///
    /// What the file says of keywords is taken for true: only the states can differ from it, by changes that did not
    /// get into the file any more.
    init(
        worker: Int32, file: HAProxyConfiguration, states: [ServerState], maps: RouteMaps? = nil,
        until end: ContinuousClock.Instant
    ) {
        self.worker = worker
        (mark, binds, conditions) = (file.mark, file.binds, file.conditions)
        self.maps = maps
        sections = file.sections.mapValues { _ in [] }
        for state in states {
            guard let service = ServiceName(state.section), let id = InstanceID(state.server),
                let endpoint = state.endpoint, let lines = file.sections[service]
            else { continue }
            let known = lines.first { $0.id == id }
            var line = known ?? ServerLine(id: id, endpoint: endpoint, weight: state.weight)
            (line.endpoint, line.weight) = (endpoint, state.weight)
            if state.isLeaving, known?.weight != 0 {
                leaving[EntryID(service: service, id: id)] = Leaving(line: line, end: end)
            } else {
                sections[service, default: []].append(line)
            }
        }
    }

    /// What runs after the commands of a change were done.
    func after(_ change: ConfigChange, until end: ContinuousClock.Instant) -> RunningConfig {
        var next = self
        for (service, lines) in change.sections {
            let stay = Set(lines.map(\.id))
            for var line in sections[service] ?? [] where !stay.contains(line.id) {
                line.weight = 0
                next.leaving[EntryID(service: service, id: line.id)] = Leaving(line: line, end: end)
            }
            for id in stay { next.leaving[EntryID(service: service, id: id)] = nil }
            next.sections[service] = lines
        }
        if let routes = change.routes { (next.maps, next.retired) = (routes.maps, routes.retired) }
        return next
    }

    /// Removes a server that is gone.
    mutating func remove(_ name: EntryID) {
        leaving[name] = nil
    }

    /// Which of the leaving servers still have connections and have to lose them now, and which have none.
    ///
    /// - Parameter open: how many each has, by the name that HAProxy gives it.
    mutating func leavers(
        _ open: [String: Int], at now: ContinuousClock.Instant
    ) -> (overdue: [EntryID], idle: [EntryID]) {
        var (overdue, idle): ([EntryID], [EntryID]) = ([], [])
        for name in leaving.keys.sorted() {
            if open[name.description] ?? 0 == 0 {
                idle.append(name)
            } else if let end = leaving[name]?.end, end <= now {
                leaving[name]?.end = nil
                overdue.append(name)
            }
        }
        return (overdue, idle)
    }
}

extension RunningConfig {
    /// How what HAProxy tells differs from what should run in the sections that were changed; nil where it does not.
    ///
    /// What operators told HAProxy of servers that no command touched is theirs.
    func difference(to states: [ServerState], after change: ConfigChange) -> String? {
        let told = Dictionary(grouping: states, by: \.section)
        let readied = Set(change.commands.compactMap(\.readied))
        for service in change.sections.keys.sorted() {
            if let found = difference(in: service, to: told[service.text] ?? [], readied) { return found }
        }
        return nil
    }

    private func difference(in service: ServiceName, to states: [ServerState], _ readied: Set<EntryID>) -> String? {
        var told = Dictionary(states.map { ($0.server, $0) }) { first, _ in first }
        for line in sections[service] ?? [] {
            let name = EntryID(service: service, id: line.id)
            guard let state = told.removeValue(forKey: line.id.text) else { return "server \(name) is missing" }
            if state.endpoint != line.endpoint {
                return "server \(name) is at \(state.endpoint?.description ?? "no address"), not \(line.endpoint)"
            }
            if state.weight != line.weight { return "server \(name) has weight \(state.weight), not \(line.weight)" }
            if state.isOut, readied.contains(name) { return "server \(name) is not ready" }
        }
        for (name, _) in leaving where name.service == service {
            guard let state = told.removeValue(forKey: name.id.text) else { continue }
            if !state.isOut { return "server \(name) is not drained" }
        }
        return told.keys.min().map { "there is a server \(service)/\($0)" }
    }
}

extension RuntimeCommand {
    /// The server that it lets take connections.
    fileprivate var readied: EntryID? {
        if case .ready(let name) = self { return name }
        return nil
    }
}
