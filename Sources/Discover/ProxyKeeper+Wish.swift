import Shared

// What HAProxy should run.

extension ProxyKeeper {
    /// What should run, and whether a service waits for its port; nil where nobody knows yet, and HAProxy serves.
    mutating func desired() async -> (HAProxyConfiguration, ProxyPlan?, isWaiting: Bool)? {
        guard let registry else {
            // Whoever runs an HAProxy of his own must not find it without services, for want of knowing better.
            return master == nil && driver.process.existing == nil ? (driver.file ?? render(.empty), nil, false) : nil
        }
        // What runs is at least as new as the copy, which may be behind: endpoints that have gone would come back.
        if isRemembered, driver.current != nil { return nil }
        let catalog = Catalog(registry.holding(holds.records))
        let plain = ProxyPlan(catalog, on: settings.host, &plans)
        quarantine.forget(besides: plain)
        let wish = quarantine.treating(plain)
        claims = wish.claims + absentClaims.expired(in: catalog, at: .now) + holds.lostClaims(from: registry)
        obstacles = await obstacles(to: wish.binds)
        let plan = wish.without(obstacles).withoutCircles()
        journal.tell(catalog.problems.union(plan.problems))
        return (render(plan), plan, !obstacles.isEmpty)
    }

    private func obstacles(to binds: Set<BindAddress>) async -> [BindAddress: String] {
        let known = driver.file?.binds ?? []
        guard !isServing else {
            return await PortOccupancy.obstacles(to: binds, beside: known, patience: .zero)
        }
        if driver.process.existing != nil {
            let found = await PortOccupancy.obstacles(to: binds, patience: .zero)
            return found.filter { !driver.mayHold($0.key) }
        }
        let patience = binds.isDisjoint(with: known) ? .zero : timing.portPatience
        return await PortOccupancy.obstacles(to: binds, patience: patience)
    }

    private mutating func render(_ plan: ProxyPlan) -> HAProxyConfiguration {
        HAProxyConfiguration(plan, settings, &sections)
    }

    /// What is rendered where nothing else works: the stats page alone, and nothing that anybody added.
    var bare: HAProxyConfiguration {
        var settings = settings
        settings.host.additions = Additions()
        return HAProxyConfiguration(.empty, settings)
    }
}

// MARK: What an operator adds

extension ProxyKeeper {
    /// Has HAProxy say which of the additions that are offered it takes; returns whether it could be asked.
    mutating func settleAdditions() async -> Bool {
        var additions = additions
        let isSettled = await additions.settle { try await self.refusal(of: $0) }
        self.additions = additions
        settings.host.additions = additions.accepted
        return isSettled
    }

    /// Why a file with these additions is refused for their sake; nil where it is not.
    private func refusal(of additions: Additions) async throws -> String? {
        guard !additions.isEmpty else { return nil }
        var settings = settings
        settings.host.additions = additions
        if let obstacle = await obstacle(to: additions) { return obstacle }
        let plan =
            registry.map { registry in
                quarantine.treating(ProxyPlan(Catalog(registry.holding(holds.records)), on: settings.host))
            } ?? .empty
        guard let refusal = try await driver.refusal(of: HAProxyConfiguration(plan, settings)) else { return nil }
        settings.host.additions = Additions()
        let isTheServicesFault = try await driver.refusal(of: HAProxyConfiguration(plan, settings)) != nil
        settings.host.additions = additions
        let configuration = HAProxyConfiguration(isTheServicesFault ? .empty : plan, settings)
        let reason = isTheServicesFault ? try await driver.refusal(of: configuration) : refusal
        return reason.map { configuration.explain($0.description, additions) }
    }

    /// What HAProxy's check does not find: a right that is missing, or something in the way of an addition that listens.
    ///
    /// A reload that fails for it would stop all listeners.
    private func obstacle(to additions: Additions) async -> String? {
        if driver.process.existing == nil, let excess = ProcessRights.own.flatMap(additions.excess) { return excess }
        if let bind = additions.binds.first(where: settings.statsBind.overlaps) {
            return "it listens on \(bind), where the stats page is"
        }
        let known = driver.file?.binds ?? []
        let obstacles = await PortOccupancy.obstacles(
            to: additions.binds, beside: isServing || driver.process.existing != nil ? known : [],
            patience: isServing ? .zero : timing.portPatience)
        let first = obstacles.min { $0.key.description < $1.key.description }
        return first.map { "it listens on \($0.key), which is \($0.value)" }
    }
}
