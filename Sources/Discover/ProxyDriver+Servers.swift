import Shared

// What changes while HAProxy runs.

extension ProxyDriver {
    /// Changes servers through the runtime API; where that fails, what runs is not known afterwards.
    mutating func changeServers(to next: HAProxyConfiguration) async throws -> Update {
        guard let current else { return .none }
        let changes = ServerChanges(from: current, to: next)
        guard !changes.commands.isEmpty else { return .none }
        let after = current.after(changes, until: .now + timing.drains.limit)
        running = .unknown(.unknownState)
        do {
            try await process.runtime.run(changes.commands)
            try await verify(after, changes)
            confirm(after)
            return .runtime(changes.commands)
        } catch let failure as RuntimeFailure {
            if failure.isForWantOfAbility { isDynamic = false }
            if failure.isForWantOfCookies { takesCookies = false }
            running = .unknown(.runtimeFailed(failure))
            return .none
        }
    }

    /// Reads back what runs, and throws where it is not what should.
    private func verify(_ expected: RunningProxy, _ changes: ServerChanges) async throws {
        let report = try await process.runtime.report(on: changes.sections.keys.sorted())
        guard report.worker.pid == expected.worker else { throw RuntimeFailure.differs("another worker serves") }
        if let difference = expected.difference(to: report.states, after: changes) {
            throw RuntimeFailure.differs(difference)
        }
    }

    /// Removes the servers that are leaving and have no connection any more.
    ///
    /// - Returns: when to look again; nil where none is left.
    mutating func finishDrains() async -> Duration? {
        guard var current, !current.leaving.isEmpty else { return nil }
        let pause = await drains.look(after: &current)
        running = .confirmed(current)
        return pause
    }
}

// MARK: What HAProxy's checks say

extension ProxyDriver {
    /// What HAProxy says of the servers of these services; nil where it says nothing.
    func verdicts(on services: [ServiceName]) async -> ServerVerdicts? {
        // A section that is not there would spoil the answer.
        let known = current.map { current in services.filter { current.sections[$0] != nil } }
        guard isServing, let report = try? await process.runtime.report(on: known) else { return nil }
        let sights = report.states.compactMap { state -> (ServerName, Bool)? in
            guard let service = ServiceName(state.section), let id = InstanceID(state.server) else { return nil }
            return (ServerName(service: service, id: id), !state.isDown)
        }
        return ServerVerdicts(isUp: Dictionary(sights) { first, _ in first })
    }
}
