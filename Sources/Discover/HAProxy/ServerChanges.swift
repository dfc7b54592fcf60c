import Shared

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
    init(from running: RunningProxy, to next: HAProxyConfiguration) {
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

    private func name(_ line: ServerLine) -> ServerName { ServerName(service: service, id: line.id) }
}

extension RunningProxy {
    /// Whether servers such as these can come and go while it runs.
    fileprivate func canAdd(to lines: [ServerLine]) -> Bool {
        isDynamic && (takesCookies || !lines.contains(where: \.hasCookie))
    }
}
