import Shared

/// What is known of one container, as `--json` prints it.
struct ContainerReport: Encodable, Equatable, Sendable {
    /// A label or variable that was read.
    struct Label: Encodable, Equatable, Sendable {
        /// As it was written.
        var name: String
        /// As it was written.
        var value: String
        /// `label` or `variable`.
        var source: String
        /// The value as it counts: without blanks, in its usual form.
        var counts: String?
        /// What it means.
        var decides: String?
        /// Why it counts as absent.
        var problem: String?
    }

    /// A port of the container.
    struct Port: Encodable, Equatable, Sendable {
        /// The port inside of the container.
        var port: UInt16
        /// Where the host publishes it.
        var published: [String]
        /// The services that it is registered for.
        var services: [String]
        /// Why it is not registered, or not for all.
        var reasons: [String]
    }

    /// What should be in the registry for one port, and what is.
    struct Entry: Encodable, Equatable, Sendable {
        /// Whether it is there.
        enum State: String, Encodable, Sendable {
            /// It is, as it should be.
            case registered
            /// Something else is.
            case differs
            /// Nothing is.
            case missing
            /// etcd has not said, not even once.
            case unknown
            /// This docker-register stands by, and another one registers.
            case yielded
        }

        /// The port inside of the container.
        var port: UInt16?
        /// The service.
        var service: String
        /// Whether it is there.
        var state: State
        /// The key of the entry; that of its meta has `/meta` behind it.
        var key: String
        /// The value that it should have.
        var endpoint: String
        /// The meta that it should have.
        var meta: String
        /// Why it may not be there now.
        var reason: String?
        /// The value that it has instead.
        var foundEndpoint: String?
        /// The meta that it has instead.
        var foundMeta: String?
        /// The revision that put it.
        var revision: Int64?
        /// When this agent put it, RFC 3339.
        var since: String?
    }

    /// The short id.
    var id: String
    /// The name.
    var name: String
    /// The image as the user typed it.
    var image: String
    /// The engine's word for its state.
    var state: String
    /// What its HEALTHCHECK says; nil where it has none.
    var health: String?
    /// The labels and variables that were read.
    var labels: [Label]
    /// The TCP ports that are published, or that something was decided about.
    var ports: [Port]
    /// What should be in the registry, by service.
    var entries: [Entry]
    /// Why something is not registered.
    var reasons: [String]
    /// What somebody should change.
    var warnings: [String]

    /// Makes the report about a container.
    init(_ decision: ContainerDecision, _ snapshot: Snapshot) {
        id = decision.subject.id.text
        name = decision.subject.name
        image = decision.subject.image
        state = decision.subject.state
        health = decision.container?.health?.description
        let ports = Self.ports(decision)
        self.ports = ports
        labels = Self.labels(decision, ports: Set(ports.map(\.port)))
        entries = decision.entries.map { Entry($0.entry, port: $0.port, snapshot) }.sorted {
            $0.service < $1.service
        }
        reasons = decision.reasons.filter { $0.kind != .warning }.map(\.text)
        warnings = decision.reasons.filter { $0.kind == .warning }.map(\.text)
        addLeftovers(decision, snapshot)
    }

    /// Notes what is in the registry without being wanted: until it is withdrawn, or because nothing is known.
    private mutating func addLeftovers(_ decision: ContainerDecision, _ snapshot: Snapshot) {
        let wanted = Set(decision.entries.map(\.entry.id))
        for (id, found) in (snapshot.registered ?? [:]).sorted(by: { $0.key < $1.key })
        where id.id == decision.subject.id && found.value != nil && !wanted.contains(id) {
            let key = snapshot.store.keyspace.text(of: .entry(id.service, id.id))
            warnings.append("registered nevertheless: \(key)")
        }
    }

    private static func labels(_ decision: ContainerDecision, ports: Set<UInt16>) -> [Label] {
        (decision.labels?.said ?? [:]).sorted { $0.key < $1.key }.map { _, said in
            var label = Label(name: said.label, value: said.value, source: said.isVariable ? "variable" : "label")
            switch said.outcome {
            case .means(let meaning, let value):
                label.decides = meaning
                label.counts = value
                if let port = said.port, !ports.contains(port.number) {
                    label.problem = "port \(port) is not published"
                }
            case .isWrong(let reason): label.problem = "not understood; \(reason)"
            }
            return label
        }
    }

    private static func ports(_ decision: ContainerDecision) -> [Port] {
        let bindings = Dictionary(grouping: decision.container?.bindings ?? [], by: \.containerPort)
        let ports = Set(bindings.keys).union(decision.entries.map(\.port)).union(decision.reasons.compactMap(\.port))
        return ports.sorted().map { port in
            let ofPort = decision.reasons.filter { $0.port == port && $0.kind != .warning }
            let services = decision.entries.filter { $0.port == port }.map(\.entry.id.service.text)
            let ofAll = services.isEmpty ? decision.reasons.filter { $0.port == nil && $0.kind != .warning } : []
            return Port(
                port: port.number, published: (bindings[port] ?? []).map(\.description).sorted(),
                services: services, reasons: (ofPort + ofAll).map(\.text))
        }
    }
}

extension ContainerReport.Entry {
    /// Compares what should be with what is.
    init(_ entry: DesiredEntry, port: Port?, _ snapshot: Snapshot) {
        let found = snapshot.registered?[entry.id]
        self.port = port?.number
        service = entry.id.service.text
        key = snapshot.store.keyspace.text(of: .entry(entry.id.service, entry.id.id))
        endpoint = entry.endpoint.description
        meta = String(decoding: entry.meta, as: UTF8.self)
        reason = snapshot.desired.notReady[entry.id]?.withdrawalReason
        guard snapshot.leader == nil else {
            state = .yielded
            return
        }
        guard snapshot.registered != nil else {
            state = .unknown
            return
        }
        guard let found, let value = found.value else {
            state = .missing
            return
        }
        revision = found.put?.revision
        since = found.put?.time
        if value != entry.value { foundEndpoint = String(decoding: value, as: UTF8.self) }
        if found.meta != entry.meta { foundMeta = String(decoding: found.meta ?? [], as: UTF8.self) }
        state = foundEndpoint == nil && foundMeta == nil ? .registered : .differs
    }
}
