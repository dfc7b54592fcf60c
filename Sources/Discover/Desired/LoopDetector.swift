import Shared

/// The endpoints that are listeners of the same HAProxy, and from which connections come back to where they were.
///
/// One connection to such a service makes the next, until HAProxy takes no more, for no service. It comes about where a
/// container's published port is also its service's listener port on the same host, and the container has gone before
/// its entry has.
private struct LoopDetector {
    /// An endpoint that is a listener.
    private struct Step {
        let from: ServiceName
        let server: DesiredState.Server
        let to: ServiceName
    }

    /// Those of each service.
    let servers: [ServiceName: [DesiredState.Server]]

    /// Finds them among the listeners of a plan.
    init(_ listeners: [DesiredState.Listener], ofThisHost addresses: () -> Set<IPAddress>) {
        let byPort = Dictionary(grouping: listeners, by: \.port)
        var known: Set<IPAddress>?
        var steps: [Step] = []
        for listener in listeners {
            for server in listener.servers {
                guard let others = byPort[server.endpoint.port] else { continue }
                let (address, port) = (server.endpoint.reached, server.endpoint.port)
                if !address.isLoopback {
                    // Asked for at most once: there may be thousands of endpoints at a listener's port.
                    let own = known ?? addresses()
                    known = own
                    guard own.contains(address) else { continue }
                }
                let place = BindAddress(address: address, port: port)
                guard let other = others.first(where: { $0.bind.overlaps(place) }) else { continue }
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

extension DesiredState {
    /// The plan without the endpoints from which connections would come back to this HAProxy, again and again.
    func withoutCircles(ofThisHost addresses: () -> Set<IPAddress> = IPAddress.ofThisHost) -> DesiredState {
        let circles = LoopDetector(listeners, ofThisHost: addresses).servers
        guard !circles.isEmpty else { return self }
        let problems = circles.flatMap { service, servers in
            servers.map { Diagnostic.loop(service, $0.id, $0.endpoint) }
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

extension Endpoint {
    /// The address that connections go to: an IPv4 address may be written as an IPv6 one.
    fileprivate var reached: IPAddress { address.family == .v6 ? address.unmapped : address }
}
