import Shared

// What the agent answers to commands.

extension DiscoverAgent {
    /// Where the registry is.
    var store: Snapshot.Store { Snapshot.Store(configuration) }

    /// What each command does; those that only ask do not wait for the loop.
    func answers(_ requests: LoopRequests, _ board: Board<Snapshot>, _ link: RegistryLink) -> ControlAnswers {
        let known = { @Sendable in
            var snapshot = board.read()
            snapshot.store.health = link.source.health.state
            return snapshot
        }
        var handlers: [String: ControlAnswers.Handler] = [
            DiscoverCommands.release.name: { await Release.answer($0, requests) },
            ForecastMaking.command.name: { _ in await forecast(known(), link) },
        ]
        for name in [Questions.status.name, Questions.why.name] {
            handlers[name] = { await Questions.answer([name] + $0, known()) }
        }
        return ControlAnswers(handlers: handlers)
    }

    /// Answers `plan` from what etcd says now.
    private func forecast(_ known: Snapshot, _ link: RegistryLink) async -> CommandAnswer {
        var snapshot = known
        do {
            let registry = try await link.source.once()
            snapshot.registry = registry
            _ = snapshot.holds.take(registry)
        } catch {
            return CommandAnswer(status: ExitStatus.failure, "etcd does not answer: \(error)\n")
        }
        await snapshot.lookAtPorts()
        return await ForecastMaking(snapshot).answer()
    }
}
