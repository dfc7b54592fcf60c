import Shared

// What one turn of the loop does.

extension RegisterAgent {
    /// Does everything that is to be done now.
    mutating func turn(_ reasons: Set<Reason>) async throws {
        if reasons.contains(.registry) {
            if let wait = publisher.doubt() { ringAgain(.registry, in: wait) }
            try await drains.doubt()
        }
        if reasons.contains(.lease) { publisher.renewalIsDue() }
        if !reasons.isDisjoint(with: [.lease, .registry]) { plainKeys.doubt() }
        // What was drained before the agent started must not come back for a moment.
        let drained = drains.ids
        try await drains.learn(look)
        if let look {
            let new = requests.take()
            for request in new { take(request, look) }
            asked += new
        }
        if drains.ids != drained { isDecided = false }
        if standing == nil { try await recall() }
        decide()
        try await publisher.publish()
        try await drains.store()
        for request in asked { request.outcome.fulfil(.done(revision: publisher.withdrawals[request.container])) }
        // Of what was not registered no withdrawal is left to be confirmed: a later one has its own reason.
        publisher.toConfirm.subtract(asked.map(\.container))
        asked = []
        try await publishPlainKeys()
    }

    /// Does the same for the plain keys, which go with the same lease.
    private mutating func publishPlainKeys() async throws {
        guard let lease = publisher.leaseID else { return }
        do {
            try await plainKeys.publish(under: lease)
        } catch let error as Etcd.Error where error.isLeaseGone {
            publisher.renewalIsDue()
            throw error
        }
    }

    private mutating func ringAgain(_ reason: Reason, in wait: Duration) {
        alarm?.cancel()
        alarm = Task { [bell] in
            try await Task.sleep(for: wait)
            bell.ring(reason)
        }
    }

    private mutating func take(_ request: DrainRequests.Request, _ look: Docker.Look) {
        switch request.kind {
        case .drain(let confirm):
            guard let container = look.containers.first(where: { $0.id == request.container }) else { return }
            drains.drain(container, at: Timestamp.text(Timestamp.now()))
            if confirm { publisher.confirmWithdrawal(of: container.id) }
        case .undrain: drains.undrain(request.container)
        }
    }
}
