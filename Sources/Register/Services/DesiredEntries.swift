import Shared

/// The entries that containers and the services file ask for, ready or not, and why a container has none.
struct DesiredEntries: Sendable {
    /// All of them.
    private(set) var entries: [EntryID: DesiredEntry] = [:]
    /// What decides of each of them whether it may be there now.
    private(set) var gates: [EntryID: ReadinessGate] = [:]
    /// What was decided about each container, in the order of their ids.
    private(set) var decisions: [ContainerDecision] = []

    /// Those of the services file.
    private(set) var services: [EntryID: DesiredEntry] = [:]

    /// What was decided about all containers.
    var reasons: [ContainerDecision.Reason] { decisions.flatMap(\.reasons) }

    /// Why containers that run have no entries, in the words of a withdrawal.
    private(set) var withdrawalReasons: [InstanceID: String] = [:]

    /// The ports of the host of which it matters whether a program listens on them.
    private(set) var listeningPorts: Set<Port> = []
    /// Containers of which that is not known yet; what is published of them stays.
    private(set) var undecided: Set<InstanceID> = []

    private let rules: RegistrationPolicy
    private let drained: Set<InstanceID>
    /// What is said of each container already.
    private var said: [InstanceID: Set<ContainerDecision.Reason>] = [:]

    /// Decides for all containers of the host.
    ///
    /// - Parameters:
    ///   - services: what is registered besides containers.
    ///   - drained: those that somebody has drained.
    ///   - listeners: what is known of the ports of the host that matter.
    ///   - unreadable: containers that run, and of which nothing is known.
    init(
        of containers: [Docker.Container], services: [StaticService] = [], owner: Owner,
        rules: RegistrationPolicy = RegistrationPolicy(),
        drained: Set<InstanceID> = [], listeners: ListeningPorts = ListeningPorts(), unreadable: Set<InstanceID> = []
    ) {
        self.rules = rules
        self.drained = drained
        let context = EndpointResolver.AddressContext(
            containers, host: owner.address, rules, listeners, unreadable: unreadable)
        for container in containers.sorted(by: { $0.id < $1.id }) {
            add(container, owner, context)
        }
        for service in services { add(service, owner) }
        warnOfMixedImages(containers)
    }

    private mutating func add(_ service: StaticService, _ owner: Owner) {
        guard let entry = service.entry(by: owner, zone: rules.zone), entries[entry.id] == nil else { return }
        services[entry.id] = entry
        entries[entry.id] = entry
        gates[entry.id] = ReadinessGate(service, entry.endpoint, isDrained: drained.contains(entry.id.id))
    }

    /// Warns of services that are fed by different repositories: `a/web` and `b/web` are both `web`.
    private mutating func warnOfMixedImages(_ containers: [Docker.Container]) {
        let byID = Dictionary(containers.map { ($0.id, $0) }) { first, _ in first }
        for (service, ids) in Dictionary(grouping: entries.keys.sorted(), by: \.service)
            .sorted(by: { $0.key < $1.key })
        {
            let images = ids.compactMap { byID[$0.id].flatMap { ImageReference($0.image)?.repository } }
            guard Set(images).count > 1, let container = ids.last.flatMap({ byID[$0.id] }) else { continue }
            let list = Set(images).sorted().joined(separator: ", ")
            let text = "service \(service) is fed by different images: \(list); SERVICE_NAME tells them apart"
            addReason(container, text, .warning)
        }
    }

    private mutating func add(
        _ container: Docker.Container, _ owner: Owner, _ context: EndpointResolver.AddressContext
    ) {
        let labels = Labels(labels: container.labels, environment: container.environment)
        decisions.append(ContainerDecision(on: container, labels))
        for problem in labels.problems { addReason(container, problem) }
        withdrawalReasons[container.id] = "no longer published"
        guard !labels.container.isIgnored else { return addReason(container, "not registered: SERVICE_IGNORE is set") }
        guard !drained.contains(container.id) else {
            withdrawalReasons[container.id] = "drained"
            return addReason(container, "not registered: it was drained; docker-register undrain takes that back")
        }
        if let helper = container.helper, helper == .buildStep || !labels.areNaming {
            let advice = helper == .buildStep ? "" : "; a SERVICE_NAME label registers it all the same"
            return addReason(container, "not registered: \(helper.text)\(advice)")
        }
        let resolver = EndpointResolver(of: container, labels, in: context)
        for reason in resolver.reasons { addReason(container, reason.text, reason.kind, reason.port) }
        listeningPorts.formUnion(resolver.listeningPorts)
        if resolver.isUndecided { undecided.insert(container.id) }
        warnOfLabelsWithoutPort(container, labels, resolver)
        for (port, endpoint) in resolver.udpEndpoints.sorted(by: { $0.key < $1.key }) {
            addUDP(container, port, endpoint, labels, owner)
        }
        guard let primary = primary(of: resolver.endpoints.keys, container, labels) else { return }
        for (port, endpoint) in resolver.endpoints.sorted(by: { $0.key < $1.key }) {
            let names = ServiceNaming(rules, container, labels).names(of: port, isPrimary: port == primary)
            if let reason = names.reason {
                addReason(
                    container, reason, names.isWarning ? .obstacle : .reason, names.isOfWhole ? nil : port)
            }
            for service in names.names {
                let fields = labels.fields(of: port, isPrimary: port == primary)
                add(container, port, endpoint, to: service, labels, fields, owner)
            }
        }
    }

    /// Warns of labels of a port that the container does not have: mostly the host's port instead of its own.
    ///
    /// Variables may be the application's own.
    private mutating func warnOfLabelsWithoutPort(
        _ container: Docker.Container, _ labels: Labels, _ resolver: EndpointResolver
    ) {
        let there = Set(resolver.endpoints.keys).union(resolver.udpEndpoints.keys).union(
            resolver.reasons.compactMap(\.port))
        guard !there.isEmpty, container.network == .own else { return }
        let known = there.union(container.exposed).union(
            container.bindings.union(container.udpBindings).map(\.containerPort))
        for (_, said) in labels.said.sorted(by: { $0.key < $1.key }) where !said.isVariable {
            guard case .means = said.outcome, let port = said.port, !known.contains(port) else { continue }
            let ports = known.sorted().prefix(8).map(\.description).joined(separator: ", ")
            addReason(container, "\(said.label) does nothing: its ports are \(ports)", .warning)
        }
    }

    /// Adds a UDP port to the services `<name>-<port>-udp`: HAProxy has no part in it, so that options of listeners and
    /// checks say nothing.
    private mutating func addUDP(
        _ container: Docker.Container, _ port: Port, _ endpoint: Endpoint, _ labels: Labels, _ owner: Owner
    ) {
        let named = ServiceNaming(rules, container, labels).names(of: port, isPrimary: true)
        if let reason = named.reason { addReason(container, reason, named.isWarning ? .obstacle : .reason) }
        var fields = labels.fields(of: port, isPrimary: false)
        for field in ServiceOptions.fields where field.scope == .service {
            field.copy(ServiceOptions(), &fields.options)
        }
        fields.registerCheck = RegistrationCheck()
        for name in named.names {
            if let service = ServiceName("\(name)-\(port)-udp") {
                add(container, port, endpoint, to: service, labels, fields, owner, isUDP: true)
            } else {
                addReason(
                    container, "port \(port)/udp not registered: the name \(name)-\(port)-udp is too long", .obstacle)
            }
        }
    }

    private mutating func add(
        _ container: Docker.Container, _ port: Port, _ endpoint: Endpoint, to service: ServiceName, _ labels: Labels,
        _ fields: Labels.Fields, _ owner: Owner, isUDP: Bool = false
    ) {
        let id = EntryID(service: service, id: container.id)
        guard entries[id] == nil else {
            let text = "port \(port) not registered: another port of it is \(service) too"
            return addReason(container, text, .obstacle, port)
        }
        var meta = meta(of: port, container, fields, owner)
        meta.isUDP = isUDP
        guard let json = try? meta.json() else { return }
        let entry = DesiredEntry(id: id, endpoint: endpoint, meta: json, source: .container)
        entries[id] = entry
        gates[id] = ReadinessGate(container, port, endpoint, fields, labels.whole)
        decisions[decisions.count - 1].entries.append(ContainerDecision.Entry(port: port, entry: entry))
    }

    /// The port that carries the bare name; nil where there is none.
    private mutating func primary(
        of ports: some Collection<Port>, _ container: Docker.Container, _ labels: Labels
    ) -> Port? {
        guard let marked = labels.whole.primaryPort else { return ports.min() }
        if ports.contains(marked) { return marked }
        addReason(container, "SERVICE_PRIMARY_PORT=\(marked) is not a registered port of it", .warning)
        return ports.min()
    }

    private func meta(
        of port: Port, _ container: Docker.Container, _ fields: Labels.Fields, _ owner: Owner
    ) -> Meta {
        var meta = Meta()
        meta.options = fields.options
        if fields.options.hasNoPort != true { meta.options.port = fields.options.port ?? port }
        meta.options.zone = fields.options.zone ?? rules.zone
        meta.container = container.name
        meta.image = container.image
        meta.host = owner.host
        meta.owner = owner.text
        meta.created = container.started
        meta.tags = fields.tags
        return meta
    }

    private mutating func addReason(
        _ container: Docker.Container, _ text: String, _ kind: ContainerDecision.Reason.Kind = .reason,
        _ port: Port? = nil
    ) {
        guard let index = decisions.lastIndex(where: { $0.subject.id == container.id }) else { return }
        let reason = ContainerDecision.Reason(port: port, text: text, kind: kind)
        if said[container.id, default: []].insert(reason).inserted { decisions[index].reasons.append(reason) }
    }

    /// A wrong name leaves out what it is about; any other wrong label costs its field alone.
    private mutating func addReason(_ container: Docker.Container, _ problem: Labels.Problem) {
        guard problem.isOfName else { return addReason(container, problem.text, .warning) }
        let what = problem.port.map { "port \($0) not registered" } ?? "not registered"
        addReason(container, "\(what): \(problem.text)", .mistake, problem.port)
    }
}

/// An entry that should be in the registry.
struct DesiredEntry: Hashable, Sendable {
    /// Which entry.
    var id: EntryID
    /// Its value.
    var endpoint: Endpoint
    /// The JSON of its meta.
    var meta: [UInt8]
    /// What it is about.
    var source: EntrySource

    /// The value as bytes.
    var value: [UInt8] { Array(endpoint.description.utf8) }
}

/// What an entry is about.
enum EntrySource: Hashable, Sendable {
    /// A container.
    case container
    /// What the services file lists.
    case servicesFile

    /// That of a registered entry: of containers alone the meta has the name.
    init(of meta: Meta) { self = meta.container == nil ? .servicesFile : .container }

    /// Why an entry goes of which nothing else is known.
    var endReason: String {
        switch self {
        case .container: "container stopped"
        case .servicesFile: "no longer in the services file"
        }
    }
}
