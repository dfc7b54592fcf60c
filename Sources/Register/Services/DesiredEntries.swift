import Shared

/// From containers to entries: what should be in the registry, and why something is not.
struct DesiredEntries: Sendable {
    /// The entries that should be there.
    private(set) var registrations: [EntryID: DesiredEntry] = [:]
    /// What decides of each of them whether it may be there now.
    private(set) var gates: [EntryID: ReadinessGate] = [:]
    /// What becomes of each container, in the order of their ids.
    private(set) var verdicts: [ContainerDecision] = []

    /// The entries that should be there because the services file says so.
    private(set) var statics: [EntryID: DesiredEntry] = [:]

    /// What is to be said of all of them.
    var remarks: [ContainerDecision.Reason] { verdicts.flatMap(\.remarks) }

    /// Why containers that run have no entries, in the words of a withdrawal.
    private(set) var reasons: [InstanceID: String] = [:]

    /// The ports of the host of which it matters whether something listens on them.
    private(set) var awaited: Set<Port> = []
    /// Containers of which that is not known yet; what is published of them stays.
    private(set) var undecided: Set<InstanceID> = []

    private let rules: RegistrationPolicy
    private let drained: Set<InstanceID>

    /// Decides for all containers of the host.
    ///
    /// - Parameters:
    ///   - statics: what is registered besides containers.
    ///   - drained: those that somebody has drained.
    ///   - listeners: what is known of the ports of the host that matter.
    ///   - unreadable: containers that run, and of which nothing is known.
    init(
        of containers: [Docker.Container], statics: [StaticService] = [], owner: Owner,
        rules: RegistrationPolicy = RegistrationPolicy(),
        drained: Set<InstanceID> = [], listeners: ListeningPorts = ListeningPorts(), unreadable: Set<InstanceID> = []
    ) {
        self.rules = rules
        self.drained = drained
        let surroundings = EndpointResolver.AddressContext(
            containers, host: owner.address, rules, listeners, unreadable: unreadable)
        for container in containers.sorted(by: { $0.id < $1.id }) {
            add(container, owner, surroundings)
        }
        for service in statics { add(service, owner) }
        remarkMixedImages(containers)
    }

    private mutating func add(_ service: StaticService, _ owner: Owner) {
        guard let registration = service.registration(by: owner, zone: rules.zone),
            registrations[registration.slot] == nil
        else { return }
        statics[registration.slot] = registration
        registrations[registration.slot] = registration
        gates[registration.slot] = ReadinessGate(service, registration.endpoint)
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

    private mutating func add(
        _ container: Docker.Container, _ owner: Owner, _ surroundings: EndpointResolver.AddressContext
    ) {
        let labels = Labels(labels: container.labels, environment: container.environment)
        verdicts.append(ContainerDecision(on: container, labels))
        for problem in labels.problems { remark(container, problem, .warning) }
        reasons[container.id] = "no longer published"
        guard !labels.container.isIgnored else { return remark(container, "not registered: SERVICE_IGNORE is set") }
        guard !drained.contains(container.id) else {
            reasons[container.id] = "drained"
            return remark(container, "not registered: it was drained; docker-register undrain takes that back")
        }
        let addressing = EndpointResolver(of: container, labels, in: surroundings)
        for told in addressing.remarks { remark(container, told.text, told.kind, told.port) }
        awaited.formUnion(addressing.awaited)
        if addressing.isUndecided { undecided.insert(container.id) }
        remarkLabelsOfNoPort(container, labels, addressing)
        guard let primary = primary(of: addressing.endpoints.keys, container, labels) else { return }
        for (port, endpoint) in addressing.endpoints.sorted(by: { $0.key < $1.key }) {
            let names = ServiceNaming(rules, container, labels).names(of: port, isPrimary: port == primary)
            if let reason = names.reason {
                remark(
                    container, reason, names.isWarning ? .obstacle : .reason, names.isOfWhole ? nil : port)
            }
            for service in names.names {
                add(container, port, endpoint, to: service, labels, isPrimary: port == primary, owner)
            }
        }
    }

    /// Warns of labels of a port that the container does not have: mostly the host's port instead of its own.
    ///
    /// Variables may be the application's own.
    private mutating func remarkLabelsOfNoPort(
        _ container: Docker.Container, _ labels: Labels, _ addressing: EndpointResolver
    ) {
        let there = Set(addressing.endpoints.keys).union(addressing.remarks.compactMap(\.port))
        guard !there.isEmpty, container.network == .own else { return }
        let known = there.union(container.exposed).union(container.bindings.map(\.containerPort))
        for (_, said) in labels.said.sorted(by: { $0.key < $1.key }) where !said.isVariable {
            guard case .means = said.outcome, let port = said.port, !known.contains(port) else { continue }
            let ports = known.sorted().prefix(8).map(\.description).joined(separator: ", ")
            remark(container, "\(said.label) does nothing: its ports are \(ports)", .warning)
        }
    }

    private mutating func add(
        _ container: Docker.Container, _ port: Port, _ endpoint: Endpoint, to service: ServiceName, _ labels: Labels,
        isPrimary: Bool, _ owner: Owner
    ) {
        let slot = EntryID(service: service, id: container.id)
        guard registrations[slot] == nil else {
            let text = "port \(port) not registered: another port of it is \(service) too"
            return remark(container, text, .obstacle, port)
        }
        let fields = labels.fields(of: port, isPrimary: isPrimary)
        guard let json = try? meta(of: port, container, fields, owner).json() else { return }
        let registration = DesiredEntry(slot: slot, endpoint: endpoint, meta: json)
        registrations[slot] = registration
        gates[slot] = ReadinessGate(container, port, endpoint, fields, labels.whole)
        verdicts[verdicts.count - 1].entries.append(ContainerDecision.Entry(port: port, registration: registration))
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
        _ container: Docker.Container, _ text: String, _ kind: ContainerDecision.Reason.Kind = .reason,
        _ port: Port? = nil
    ) {
        guard let index = verdicts.lastIndex(where: { $0.subject.id == container.id }) else { return }
        let remark = ContainerDecision.Reason(port: port, text: text, kind: kind)
        if !verdicts[index].remarks.contains(remark) { verdicts[index].remarks.append(remark) }
    }
}

/// An entry that should be in the registry.
struct DesiredEntry: Hashable, Sendable {
    /// Which entry.
    var slot: EntryID
    /// Its value.
    var endpoint: Endpoint
    /// The JSON of its meta.
    var meta: [UInt8]

    /// The value as bytes.
    var value: [UInt8] { Array(endpoint.description.utf8) }
}
