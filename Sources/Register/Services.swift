import Shared

/// From containers to entries: what should be in the registry, and why something is not.
struct Services: Sendable {
    /// The entries that should be there.
    private(set) var registrations: [Slot: Registration] = [:]
    /// What becomes of each container, in the order of their ids.
    private(set) var verdicts: [Verdict] = []

    /// What is to be said of all of them.
    var remarks: [Verdict.Remark] { verdicts.flatMap(\.remarks) }

    /// Why containers that run have no entries, in the words of a withdrawal.
    private(set) var reasons: [InstanceID: String] = [:]

    private let rules: Rules
    private let drained: Set<InstanceID>

    /// Decides for all containers of the host.
    ///
    /// - Parameter drained: those that somebody has drained.
    init(
        of containers: [Docker.Container], owner: Owner, rules: Rules = Rules(), drained: Set<InstanceID> = []
    ) {
        self.rules = rules
        self.drained = drained
        for container in containers.sorted(by: { $0.id < $1.id }) {
            add(container, owner)
        }
        remarkMixedImages(containers)
    }

    /// Warns of services that are fed by different repositories: `a/web` and `b/web` are both `web`.
    private mutating func remarkMixedImages(_ containers: [Docker.Container]) {
        let byID = Dictionary(containers.map { ($0.id, $0) }) { first, _ in first }
        for (service, slots) in Dictionary(grouping: registrations.keys.sorted(), by: \.service)
            .sorted(by: { $0.key < $1.key })
        {
            let images = slots.compactMap { byID[$0.id].flatMap { ImageReference($0.image)?.repository } }
            guard Set(images).count > 1, let container = slots.last.flatMap({ byID[$0.id] }) else { continue }
            let list = Set(images).sorted().joined(separator: ", ")
            let text = "service \(service) is fed by different images: \(list); SERVICE_NAME tells them apart"
            remark(container, text, .warning)
        }
    }

    private mutating func add(_ container: Docker.Container, _ owner: Owner) {
        let labels = Labels(labels: container.labels, environment: container.environment)
        verdicts.append(Verdict(on: container, labels))
        for problem in labels.problems { remark(container, problem, .warning) }
        reasons[container.id] = "no longer published"
        guard !labels.container.isIgnored else { return remark(container, "not registered: SERVICE_IGNORE is set") }
        guard !drained.contains(container.id) else {
            reasons[container.id] = "drained"
            return remark(container, "not registered: it was drained; docker-register undrain takes that back")
        }
        guard !container.bindings.isEmpty else { return remark(container, "not registered: it publishes no TCP port") }
        let endpoints = reachable(container, labels, owner.address)
        guard let primary = primary(of: endpoints.keys, container, labels) else { return }
        for (port, endpoint) in endpoints.sorted(by: { $0.key < $1.key }) {
            let names = Naming(rules, container, labels).names(of: port, isPrimary: port == primary)
            if let reason = names.reason {
                remark(
                    container, reason, names.isWarning ? .obstacle : .reason, names.isOfWhole ? nil : port)
            }
            for service in names.names {
                add(container, port, endpoint, to: service, labels, isPrimary: port == primary, owner)
            }
        }
    }

    private mutating func add(
        _ container: Docker.Container, _ port: Port, _ endpoint: Endpoint, to service: ServiceName, _ labels: Labels,
        isPrimary: Bool, _ owner: Owner
    ) {
        let slot = Slot(service: service, id: container.id)
        guard registrations[slot] == nil else {
            let text = "port \(port) not registered: another port of it is \(service) too"
            return remark(container, text, .obstacle, port)
        }
        let meta = meta(of: port, container, labels.fields(of: port, isPrimary: isPrimary), owner)
        guard let json = try? meta.json() else { return }
        let registration = Registration(slot: slot, endpoint: endpoint, meta: json)
        registrations[slot] = registration
        verdicts[verdicts.count - 1].entries.append(Verdict.Entry(port: port, registration: registration))
    }

    /// The port that carries the bare name; nil where there is none.
    private mutating func primary(
        of ports: some Collection<Port>, _ container: Docker.Container, _ labels: Labels
    ) -> Port? {
        guard let marked = labels.whole.primaryPort else { return ports.min() }
        if ports.contains(marked) { return marked }
        remark(container, "SERVICE_PRIMARY_PORT=\(marked) is not a registered port of it", .warning)
        return ports.min()
    }

    /// The endpoint of each container port that other hosts reach.
    private mutating func reachable(
        _ container: Docker.Container, _ labels: Labels, _ host: IPAddress
    ) -> [Port: Endpoint] {
        var endpoints: [Port: Endpoint] = [:]
        for (port, bindings) in Dictionary(grouping: container.bindings, by: \.containerPort)
            .sorted(by: { $0.key < $1.key })
        {
            guard labels.ports[port]?.isIgnored != true else {
                remark(container, "port \(port) not registered: SERVICE_\(port)_IGNORE is set", .reason, port)
                continue
            }
            let candidates = bindings.compactMap { Self.endpoint(of: $0, host) }
            if let best = candidates.min() {
                endpoints[port] = best.endpoint
            } else {
                let reason = Self.whyUnreachable(bindings, host)
                remark(container, "port \(port) not registered: \(reason)", .obstacle, port)
            }
        }
        return endpoints
    }

    /// An endpoint with its rank: lower is better.
    private struct Candidate: Comparable {
        var rank: Int
        var endpoint: Endpoint

        static func < (left: Candidate, right: Candidate) -> Bool {
            (left.rank, left.endpoint) < (right.rank, right.endpoint)
        }
    }

    /// Where others reach a binding; nil where they do not.
    private static func endpoint(of binding: Docker.Binding, _ host: IPAddress) -> Candidate? {
        guard let address = binding.hostAddress, !address.isUnspecified else {
            // "::" publishes on IPv6 alone; an empty text (Podman) means all.
            if let address = binding.hostAddress, address.family != host.family { return nil }
            return Candidate(rank: 0, endpoint: Endpoint(address: host, port: binding.hostPort))
        }
        guard !address.isLoopback else { return nil }
        let rank = address == host ? 1 : address.family == host.family ? 2 : 3
        return Candidate(rank: rank, endpoint: Endpoint(address: address, port: binding.hostPort))
    }

    private static func whyUnreachable(_ bindings: [Docker.Binding], _ host: IPAddress) -> String {
        let addresses = Set(bindings.compactMap(\.hostAddress)).sorted()
        if let loopback = addresses.first(where: \.isLoopback) {
            return "it is published on \(loopback), which other hosts cannot reach"
        }
        let published = addresses.map(\.text).joined(separator: ", ")
        return "it is published on \(published) only, and HOST_IP is \(host)"
    }

    private func meta(
        of port: Port, _ container: Docker.Container, _ fields: Labels.Fields, _ owner: Owner
    ) -> Meta {
        var meta = Meta()
        meta.options = fields.options
        meta.options.port = fields.options.port ?? port
        meta.options.zone = fields.options.zone ?? rules.zone
        meta.container = container.name
        meta.image = container.image
        meta.host = owner.host
        meta.owner = owner.text
        meta.created = container.started
        meta.tags = fields.tags
        return meta
    }

    private mutating func remark(
        _ container: Docker.Container, _ text: String, _ kind: Verdict.Remark.Kind = .reason, _ port: Port? = nil
    ) {
        guard let index = verdicts.lastIndex(where: { $0.subject.id == container.id }) else { return }
        let remark = Verdict.Remark(port: port, text: text, kind: kind)
        if !verdicts[index].remarks.contains(remark) { verdicts[index].remarks.append(remark) }
    }
}
