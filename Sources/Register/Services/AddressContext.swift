import Shared

extension EndpointResolver {
    /// What it is decided from besides the container itself.
    struct AddressContext: Sendable {
        /// What counts as reachable on this host.
        let reach: ReachabilityRules
        /// What is registered, as far as settings say it.
        let rules: RegistrationPolicy
        /// The running containers.
        let containers: [InstanceID: Docker.Container]
        /// Where programs of this host listen.
        let listeners: ListeningPorts
        /// Which container the engine publishes at a port of this host, by name: what listens there is the engine.
        let publishers: [Port: String]

        /// Running containers of which nothing is known.
        let unreadable: Set<InstanceID>

        /// Collects what is known of the host.
        init(
            _ containers: [Docker.Container], host: IPAddress, _ rules: RegistrationPolicy, _ listeners: ListeningPorts,
            unreadable: Set<InstanceID> = []
        ) {
            self.unreadable = unreadable
            let gateways = containers.flatMap { $0.networks.values }.reduce(into: Set()) { $0.formUnion($1.gateways) }
            reach = ReachabilityRules(host: host, gateways: gateways)
            self.rules = rules
            self.containers = Dictionary(containers.map { ($0.id, $0) }) { first, _ in first }
            self.listeners = listeners
            let published = containers.flatMap { container in container.bindings.map { ($0.hostPort, container.name) } }
            publishers = Dictionary(published, uniquingKeysWith: min)
        }

        /// The container that a network mode names, by its id or its name.
        func container(_ name: String) -> Docker.Container? {
            if let id = InstanceID(containerID: name), let container = containers[id] { return container }
            return containers.values.filter { $0.name == name }.min { $0.id < $1.id }
        }
    }
}

/// Where other hosts reach a port that this host publishes, or that something listens on.
struct ReachabilityRules: Equatable, Sendable {
    /// `HOST_IP`.
    let host: IPAddress
    /// This host's own addresses in the containers' networks, which no other host reaches.
    let gateways: Set<IPAddress>

    /// Makes them of `HOST_IP` and the gateways of the containers' networks.
    ///
    /// A gateway that is `HOST_IP` is a bridge that the host itself is on, and so are others.
    init(host: IPAddress, gateways: Set<IPAddress> = []) {
        self.host = host
        self.gateways = gateways.subtracting([host])
    }

    /// An endpoint with its rank: lower is better.
    private struct Candidate: Comparable {
        var rank: Int
        var endpoint: Endpoint

        static func < (left: Candidate, right: Candidate) -> Bool {
            (left.rank, left.endpoint) < (right.rank, right.endpoint)
        }
    }

    /// The best endpoint of all sockets of one port; nil where there is none.
    func endpoint(of sockets: some Sequence<ListeningSocket>) -> Endpoint? {
        sockets.compactMap(candidate).min()?.endpoint
    }

    private func candidate(_ socket: ListeningSocket) -> Candidate? {
        guard let address = socket.address, !address.isUnspecified else {
            // "::" publishes on IPv6 alone; an empty text (Podman) means all.
            if let address = socket.address, address.family != host.family { return nil }
            return Candidate(rank: 0, endpoint: Endpoint(address: host, port: socket.port))
        }
        guard !address.isLoopback, !isOfLink(address), !gateways.contains(address) else { return nil }
        let rank = address == host ? 1 : address.family == host.family ? 2 : 3
        return Candidate(rank: rank, endpoint: Endpoint(address: address, port: socket.port))
    }

    private func isOfLink(_ address: IPAddress) -> Bool { address.family == .v6 && address.isLinkLocal }

    /// Why none of the sockets is reached; `verb` says what they are: "it is published on".
    func obstacle(_ verb: String, _ sockets: some Sequence<ListeningSocket>) -> String {
        let addresses = Set(sockets.compactMap(\.address)).sorted()
        if let address = addresses.first(where: \.isLoopback) {
            return "\(verb) \(address), which other hosts cannot reach"
        }
        if let address = addresses.first(where: isOfLink) {
            return "\(verb) the link-local address \(address), which other hosts cannot reach"
        }
        if let address = addresses.first(where: gateways.contains) {
            return "\(verb) \(address), this host's address in a containers' network, which other hosts cannot reach"
        }
        let all = addresses.map(\.text).joined(separator: ", ")
        return "\(verb) \(all) only, and HOST_IP is \(host)"
    }
}
