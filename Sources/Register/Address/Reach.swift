import Shared

/// Where other hosts reach a port that this host publishes, or that something listens on.
struct Reach: Equatable, Sendable {
    /// `HOST_IP`.
    let host: IPAddress
    /// This host's own addresses in the containers' networks, which nobody else reaches.
    let gateways: Set<IPAddress>

    /// Takes `HOST_IP` and the gateways of the containers' networks.
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

    /// The best endpoint of all bindings of one port; nil where there is none.
    func endpoint(of bindings: some Sequence<Docker.Binding>) -> Endpoint? {
        bindings.compactMap(candidate).min()?.endpoint
    }

    private func candidate(_ binding: Docker.Binding) -> Candidate? {
        guard let address = binding.hostAddress, !address.isUnspecified else {
            // "::" publishes on IPv6 alone; an empty text (Podman) means all.
            if let address = binding.hostAddress, address.family != host.family { return nil }
            return Candidate(rank: 0, endpoint: Endpoint(address: host, port: binding.hostPort))
        }
        guard !address.isLoopback, !isOfLink(address), !gateways.contains(address) else { return nil }
        let rank = address == host ? 1 : address.family == host.family ? 2 : 3
        return Candidate(rank: rank, endpoint: Endpoint(address: address, port: binding.hostPort))
    }

    private func isOfLink(_ address: IPAddress) -> Bool { address.family == .v6 && address.isLinkLocal }

    /// Why none of the bindings is reached; `verb` says what they are: "it is published on".
    func obstacle(_ verb: String, _ bindings: some Sequence<Docker.Binding>) -> String {
        let addresses = Set(bindings.compactMap(\.hostAddress)).sorted()
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
