import Shared

/// The endpoints that are listeners of the same HAProxy, and from which connections come back to where they were.
///
/// One connection to such a service makes the next, until HAProxy takes no more, for no service. It comes about where a
/// container's published port is also its service's listener port on the same host, and the container has gone before
/// its entry has.
private struct CircularEndpoints {
    /// An endpoint that is a listener.
    private struct Step: Hashable {
        let from: ServiceName
        let server: ProxyPlan.Server
        let to: ServiceName

        static func == (left: Step, right: Step) -> Bool {
            left.from == right.from && left.server.id == right.server.id && left.to == right.to
        }

        func hash(into hasher: inout Hasher) {
            hasher.combine(from)
            hasher.combine(server.id)
        }
    }

    /// Those of each service.
    let servers: [ServiceName: [ProxyPlan.Server]]

    /// Finds them among the listeners of a plan.
    init(_ listeners: [ProxyPlan.Listener], isOfThisHost: (IPAddress) -> Bool) {
        let byPort = Dictionary(grouping: listeners, by: \.port)
        var steps: [Step] = []
        for listener in listeners {
            for server in listener.servers {
                guard let others = byPort[server.endpoint.port] else { continue }
                let place = BindAddress(address: server.endpoint.address.unmapped, port: server.endpoint.port)
                guard let other = others.first(where: { $0.bind.overlaps(place) }),
                    isOfThisHost(server.endpoint.address)
                else { continue }
                steps.append(Step(from: listener.service, server: server, to: other.service))
            }
        }
        let circles = Self.circles(of: steps)
        servers = Dictionary(grouping: circles, by: \.from).mapValues { $0.map(\.server) }
    }

    /// The steps that are left without those that lead nowhere or come from nowhere.
    private static func circles(of steps: [Step]) -> [Step] {
        var (circles, count) = (steps, Int.max)
        while circles.count < count {
            count = circles.count
            let (starts, ends) = (Set(circles.map(\.from)), Set(circles.map(\.to)))
            circles.removeAll { !starts.contains($0.to) || !ends.contains($0.from) }
        }
        return circles
    }
}

extension ProxyPlan {
    /// The plan without the endpoints from which connections would come back to this HAProxy, again and again.
    func withoutCircles(isOfThisHost: (IPAddress) -> Bool = \.isOfThisHost) -> ProxyPlan {
        let circles = CircularEndpoints(listeners, isOfThisHost: isOfThisHost).servers
        guard !circles.isEmpty else { return self }
        let problems = circles.flatMap { service, servers in
            servers.map { Problem.leadsBack(service, $0.id, $0.endpoint) }
        }
        return with(
            listeners.map { listener in
                guard let circular = circles[listener.service] else { return listener }
                var listener = listener
                listener.servers.removeAll { server in circular.contains { $0.id == server.id } }
                return listener
            }
        ).adding(problems)
    }
}
