import Shared

/// The endpoints that are listeners of the same HAProxy, and from which connections come back to where they were.
///
/// One connection to such a service makes the next, until HAProxy takes no more, for no service. It comes about where a
/// container's published port is also its service's listener port on the same host, and the container has gone before
/// its entry has.
struct LoopDetector {
    /// An endpoint that is a listener.
    private struct Step {
        let from: ServiceName
        let server: DesiredState.Server
        let to: ServiceName
    }

    /// Those of each service.
    let servers: [ServiceName: [DesiredState.Server]]

    /// Finds them among listeners on a host with these addresses.
    ///
    /// - Parameter candidates: the services that have an endpoint there.
    init(_ listeners: [DesiredState.Listener], ownAddresses: Set<IPAddress>, among candidates: Set<ServiceName>) {
        guard !candidates.isEmpty else {
            servers = [:]
            return
        }
        let binds = listeners.flatMap { listener in listener.binds.map { (listener.service, $0) } }
        let byPort = Dictionary(grouping: binds) { $0.1.port }
        var steps: [Step] = []
        for listener in listeners where candidates.contains(listener.service) {
            for server in listener.servers {
                guard let others = byPort[server.endpoint.port] else { continue }
                let (address, port) = (server.endpoint.reached, server.endpoint.port)
                guard address.isLoopback || ownAddresses.contains(address) else { continue }
                let place = BindAddress(address: address, port: port)
                guard let other = others.first(where: { $0.1.overlaps(place) }) else { continue }
                steps.append(Step(from: listener.service, server: server, to: other.0))
            }
        }
        let loops = Self.loops(of: steps)
        servers = Dictionary(grouping: loops, by: \.from).mapValues { $0.map(\.server) }
    }

    /// The steps that are left without those that lead nowhere or come from nowhere.
    private static func loops(of steps: [Step]) -> [Step] {
        let onward = left(of: Array(steps.indices), of: steps, from: \.from, to: \.to)
        return left(of: onward, of: steps, from: \.to, to: \.from).map { steps[$0] }
    }

    /// The steps without those that lead, in one direction, to where none goes on; each is looked at twice at most.
    private static func left(
        of indices: [Int], of steps: [Step], from: KeyPath<Step, ServiceName>, to: KeyPath<Step, ServiceName>
    ) -> [Int] {
        let arriving = Dictionary(grouping: indices) { steps[$0][keyPath: to] }
        var leaving = indices.reduce(into: [ServiceName: Int]()) { $0[steps[$1][keyPath: from], default: 0] += 1 }
        var removed: Set<Int> = []
        var ends = arriving.keys.filter { leaving[$0] == nil }
        while let end = ends.popLast() {
            for index in arriving[end] ?? [] {
                removed.insert(index)
                let start = steps[index][keyPath: from]
                leaving[start, default: 1] -= 1
                if leaving[start] == 0 { ends.append(start) }
            }
        }
        return indices.filter { !removed.contains($0) }
    }
}

extension Endpoint {
    /// Whether it is one of these listeners, on a host with these addresses.
    func isListener(among binds: [BindAddress], _ ownAddresses: Set<IPAddress>) -> Bool {
        guard reached.isLoopback || ownAddresses.contains(reached) else { return false }
        return binds.contains { $0.overlaps(BindAddress(address: reached, port: port)) }
    }

    /// The address that connections go to: an IPv4 address may be written as an IPv6 one.
    var reached: IPAddress { address.family == .v6 ? address.unmapped : address }
}
