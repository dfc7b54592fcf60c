import Shared

/// Where other hosts reach the ports of one container, and why they do not reach the others.
struct EndpointResolver: Equatable, Sendable {
    /// The endpoint of each container port that is reached.
    private(set) var endpoints: [Port: Endpoint] = [:]
    /// The endpoint of each UDP port of the container that is to be registered and is reached.
    private(set) var udpEndpoints: [Port: Endpoint] = [:]
    /// Why others are not.
    private(set) var reasons: [ContainerDecision.Reason] = []
    /// The ports of the host of which it matters whether a program listens on them.
    private(set) var listeningPorts: Set<Port> = []
    /// Whether something of that is not known yet, so that nothing may be withdrawn.
    private(set) var isUndecided = false

    private let container: Docker.Container
    private let labels: Labels
    private let around: AddressContext

    /// Compares what was decided.
    static func == (left: EndpointResolver, right: EndpointResolver) -> Bool {
        left.endpoints == right.endpoints && left.udpEndpoints == right.udpEndpoints
            && left.reasons == right.reasons && left.listeningPorts == right.listeningPorts
            && left.isUndecided == right.isUndecided
    }

    /// Decides for one container.
    init(of container: Docker.Container, _ labels: Labels, in around: AddressContext) {
        self.container = container
        self.labels = labels
        self.around = around
        guard let carrier = carrier() else { return }
        switch (carrier.network, around.rules.isInternal) {
        case (.host, _): addHostPorts()
        case (.none, _): addReason("not registered: it has no network (network mode none)")
        case (_, true): addInternalPorts(of: carrier)
        case (_, false): addPublishedPorts(of: carrier)
        }
    }

    // MARK: Whose network

    /// The container whose network this one uses; nil where that is gone, which is then said.
    private mutating func carrier() -> Docker.Container? {
        var carrier = container
        // More than a few links are a circle.
        for _ in 0..<8 {
            guard case .container(let name) = carrier.network else { return carrier }
            guard let next = around.container(name) else {
                let id = InstanceID(containerID: name)
                isUndecided = id.map(around.unreadable.contains) == true
                guard !isUndecided else { return nil }
                let shown = id?.text ?? name
                addReason("not registered: it uses the network of container \(shown), which does not run")
                return nil
            }
            guard !next.started(after: carrier) else {
                let text = "it uses the network that container \(next.name) had before its restart; restart it too"
                addReason("not registered: \(text)", .obstacle)
                return nil
            }
            carrier = next
        }
        addReason("not registered: its network mode leads in a circle", .obstacle)
        return nil
    }

    /// The ports that labels such as `SERVICE_8000_NAME` name, and `SERVICE_PRIMARY_PORT` beside them.
    private var named: Set<Port> {
        let ports = Set(labels.ports.filter { !$0.value.isIgnored }.keys)
        return ports.isEmpty ? [] : ports.union([labels.whole.primaryPort].compactMap(\.self))
    }

    /// The one port that the container's own labels name.
    private var single: Port? { labels.whole.primaryPort ?? labels.container.options.port }

    /// Which of another container's ports are meant.
    private func own(of offered: Set<Port>) -> Set<Port> {
        if !named.isEmpty { return named.intersection(offered) }
        let exposed = container.exposed.intersection(offered)
        return exposed.isEmpty ? offered : exposed
    }

    // MARK: Published ports

    private mutating func addPublishedPorts(of carrier: Docker.Container) {
        let published = Dictionary(grouping: carrier.bindings, by: \.containerPort)
        let isOwn = carrier.id == container.id
        let others = carrier.otherPorts.subtracting(isOwn ? addUDPPorts() : [])
        guard !published.isEmpty else {
            if udpEndpoints.isEmpty { addReason("not registered: \(nothingPublished(by: carrier))") }
            return
        }
        if isOwn, !others.isEmpty { addReason("\(Self.list(others)) not registered: \(Self.onlyTCP)") }
        for port in wanted(isOwn ? Set(published.keys) : own(of: Set(published.keys))) {
            add(port, (published[port] ?? []).map(\.socket), "it is published on")
        }
        for port in (isOwn ? [] : named.subtracting(published.keys)).sorted() {
            let text = "container \(carrier.name), whose network it uses, does not publish it"
            addReason("port \(port) not registered: \(text)", .obstacle, port)
        }
    }

    /// Adds the UDP ports that are to be registered, and gives those that need no further word.
    private mutating func addUDPPorts() -> Set<String> {
        var decided: Set<String> = []
        for (port, bindings) in Dictionary(grouping: container.udpBindings, by: \.containerPort) {
            let said = labels.ports[port]
            guard said?.registersUDP ?? labels.container.registersUDP ?? around.rules.registersUDP,
                said?.isIgnored != true
            else { continue }
            decided.insert("\(port)/udp")
            let sockets = bindings.map(\.socket)
            udpEndpoints[port] = around.reach.endpoint(of: sockets)
            guard udpEndpoints[port] == nil else { continue }
            addReason(
                "port \(port)/udp not registered: \(around.reach.obstacle("it is published on", sockets))", .obstacle)
        }
        return decided
    }

    private static let onlyTCP = "HAProxy forwards TCP alone; REGISTER_UDP has UDP ports registered for other programs"

    private func nothingPublished(by carrier: Docker.Container) -> String {
        if let service = carrier.serviceOfMesh {
            return "Swarm publishes the ports of \(service) in its routing mesh, and not at its containers; "
                + "publish them with mode=host"
        }
        guard !carrier.otherPorts.isEmpty else { return "it publishes no TCP port" }
        return "it publishes no TCP port, but \(Self.list(carrier.otherPorts)): \(Self.onlyTCP)"
    }

    /// The first few of the ports of other protocols.
    private static func list(_ ports: Set<String>) -> String {
        let all = ports.sorted()
        let first = all.prefix(4).joined(separator: ", ")
        return "port \(first)" + (all.count > 4 ? " and \(all.count - 4) more" : "")
    }

    private mutating func add(_ port: Port, _ sockets: [ListeningSocket], _ verb: String) {
        if let endpoint = around.reach.endpoint(of: sockets) {
            endpoints[port] = endpoint
        } else {
            addReason("port \(port) not registered: \(around.reach.obstacle(verb, sockets))", .obstacle, port)
        }
    }

    // MARK: Ports of the host

    /// A container in the host's network publishes nothing: labels name its ports, or else its image, which may be
    /// configured to listen elsewhere, so that such a port has to be seen.
    private mutating func addHostPorts() {
        let labelled = named.isEmpty ? Set([single].compactMap(\.self)) : named
        for port in wanted(labelled) { endpoints[port] = Endpoint(address: around.reach.host, port: port) }
        guard labelled.isEmpty else { return }
        for port in wanted(container.exposed) {
            if let other = around.publishers[port] {
                let text = "it is the port that container \(other) is published at"
                addReason("port \(port) not registered: \(text)", port: port)
                continue
            }
            listeningPorts.insert(port)
            guard let listeners = around.listeners.known[port] else {
                isUndecided = true
                continue
            }
            if listeners.isEmpty {
                addReason("port \(port) not registered: nothing listens on it in the host's network", port: port)
            } else {
                add(port, Array(listeners), "it listens on")
            }
        }
        guard container.exposed.isEmpty else { return }
        let text = "it is in the host's network and exposes no TCP port; a label such as SERVICE_8000_NAME names one"
        addReason("not registered: \(text)")
    }

    // MARK: Ports inside

    private mutating func addInternalPorts(of carrier: Docker.Container) {
        guard let address = internalAddress(of: carrier) else { return }
        var offered = carrier.exposed.union(carrier.bindings.map(\.containerPort))
        if carrier.id == container.id {
            offered.formUnion(named)
        } else {
            offered = named.isEmpty ? container.exposed.isEmpty ? offered : container.exposed : named
        }
        if offered.isEmpty { offered = Set([single].compactMap(\.self)) }
        for port in wanted(offered) { endpoints[port] = Endpoint(address: address, port: port) }
        guard offered.isEmpty else { return }
        addReason("not registered: it exposes no TCP port; a label such as SERVICE_8000_NAME names one")
    }

    /// The container's address in the network that label or setting choose, or in its only one.
    private mutating func internalAddress(of carrier: Docker.Container) -> IPAddress? {
        let all = carrier.networks.keys.sorted().joined(separator: ", ")
        var chosen = carrier.networks.count == 1 ? carrier.networks.first : nil
        let wishes = [(labels.whole.network, "SERVICE_NETWORK"), (around.rules.network, "INTERNAL_NETWORK")]
        if let (wish, source) = wishes.lazy.compactMap({ wish, source in wish.map { ($0, source) } }).first {
            chosen = carrier.network(named: wish)
            guard chosen != nil else {
                addReason("not registered: it is not in the network \(wish) of \(source), but in \(all)", .obstacle)
                return nil
            }
        }
        guard let chosen else {
            let text = all.isEmpty ? "it is in no network" : "it is in several networks (\(all))"
            addReason("not registered: \(text); SERVICE_NETWORK or INTERNAL_NETWORK chooses one", .obstacle)
            return nil
        }
        let addresses = chosen.value.addresses.sorted()
        guard let address = addresses.first(where: { $0.family == around.reach.host.family }) ?? addresses.first else {
            addReason("not registered: it has no address in the network \(chosen.key)", .obstacle)
            return nil
        }
        return address
    }

    // MARK: Reasons

    /// The ports that are not ignored, sorted; of the others it is said why.
    private mutating func wanted(_ ports: Set<Port>) -> [Port] {
        let isIgnored: (Port) -> Bool = { [labels] in labels.ports[$0]?.isIgnored == true }
        for port in ports.sorted() where isIgnored(port) {
            addReason("port \(port) not registered: SERVICE_\(port)_IGNORE is set", port: port)
        }
        return ports.filter { !isIgnored($0) }.sorted()
    }

    private mutating func addReason(
        _ text: String, _ kind: ContainerDecision.Reason.Kind = .reason, _ port: Port? = nil
    ) {
        reasons.append(ContainerDecision.Reason(port: port, text: text, kind: kind))
    }

    private mutating func addReason(_ text: String, port: Port) { addReason(text, .reason, port) }
}
