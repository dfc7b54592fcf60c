import FoundationEssentials
import Shared

/// What is in service on this host, as other programs get it.
///
/// It has the services that docker-discover serves here with the endpoints that take connections: held ones are in it,
/// those that HAProxy's checks find down are not.
struct OutputCatalog: Sendable {
    /// The revision of the registry that it shows.
    var revision: Int64 = 0
    /// This host's name.
    var host = ""
    /// This host's zone.
    var zone: Zone?
    /// The services by name.
    var services: [OutputService] = []
    /// The routes that are served here, by name.
    var routes: [OutputRoute] = []
    /// Plain keys with their values.
    var keys: [String: String] = [:]

    /// What one output has of it.
    func view(of output: OutputDefinition) -> OutputCatalog {
        var view = self
        if !output.services.isEmpty {
            view.services = services.filter { service in output.services.contains { $0.matches(service.name) } }
        }
        view.keys = keys.filter { key, _ in output.keys.contains { key.hasPrefix($0) } }
        return view
    }

    /// Whether there is nothing in it.
    var isEmpty: Bool { services.isEmpty && keys.isEmpty }

    /// Whether another one says the same, at whatever revision.
    func saysTheSame(as other: OutputCatalog) -> Bool {
        host == other.host && zone == other.zone && keys == other.keys && routes == other.routes
            && services.elementsEqual(other.services) { $0 === $1 || $0.json == $1.json }
    }

    /// All of it as one JSON object with sorted names, a line for each service.
    func json() throws -> [UInt8] {
        let encoder = JSONEncoder.oneLine
        var text = Array("{\"host\":".utf8)
        text += try encoder.encode(host)
        text += Array(",\"keys\":".utf8)
        text += try encoder.encode(keys)
        text += Array(",\"revision\":\(revision),\"routes\":".utf8)
        text += try encoder.encode(routes)
        text += Array(",\"services\":[".utf8)
        for (number, service) in services.enumerated() {
            text += Array((number == 0 ? "\n" : ",\n").utf8)
            text += service.json
        }
        text += Array("\n],\"zone\":".utf8)
        text += try encoder.encode(zone?.description)
        text += Array("}\n".utf8)
        return text
    }
}

/// One service of the catalog.
///
/// It never changes; catalogs share it, so that what did not change is not put together again.
final class OutputService: Sendable {
    /// One endpoint that takes connections.
    struct Endpoint: Encodable, Equatable, Sendable {
        /// What tells it from others of the service.
        var id: String
        /// The address.
        var address: String
        /// The port.
        var port: UInt16
        /// Its share, 0 to 256; 100 where nobody says otherwise.
        var weight: Int
        /// Whether it is used only when no other one works.
        var backup: Bool
        /// The zone that it is in.
        var zone: String?
        /// Its tags.
        var tags: [String]
        /// The container's name.
        var container: String?
        /// The name of its host.
        var host: String?
        /// The image of its container.
        var image: String?
    }

    /// The name.
    let name: ServiceName
    /// Where programs on this host reach it through HAProxy; nil for what HAProxy does not forward.
    let port: Port?
    /// What HAProxy understands of its connections: `http`, `tcp`, or ``udp``, of which it forwards nothing.
    let mode: String
    /// All tags of its endpoints.
    let tags: [String]
    /// The endpoints by id.
    let endpoints: [Endpoint]
    /// The service as a JSON object in one line.
    let json: [UInt8]

    /// Puts a service together.
    init(name: ServiceName, port: Port?, mode: String, endpoints: [Endpoint]) {
        (self.name, self.port, self.mode, self.endpoints) = (name, port, mode, endpoints)
        tags = Set(endpoints.flatMap(\.tags)).sorted()
        let fields = Fields(endpoints: endpoints, mode: mode, name: name.text, port: port?.number, tags: tags)
        json = (try? JSONEncoder.oneLine.encode(fields)).map { [UInt8]($0) } ?? []
    }

    private struct Fields: Encodable {
        var endpoints: [Endpoint]
        var mode: String
        var name: String
        var port: UInt16?
        var tags: [String]

        private enum CodingKeys: String, CodingKey { case endpoints, mode, name, port, tags }

        // A field is never missing.
        func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(endpoints, forKey: .endpoints)
            try fields.encode(mode, forKey: .mode)
            try fields.encode(name, forKey: .name)
            try fields.encode(port, forKey: .port)
            try fields.encode(tags, forKey: .tags)
        }
    }

    /// The mode of services that are reached over UDP alone.
    static let udp = "udp"
}

extension OutputService.Endpoint {
    /// Where it is reached, with an IPv6 address in brackets.
    var hostAndPort: String { address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)" }
}

/// One route of the catalog.
struct OutputRoute: Encodable, Equatable, Sendable {
    /// A condition, and who gets the requests for which it holds.
    struct When: Encodable, Equatable, Sendable {
        var condition: String
        var to: String
    }

    /// The text that everybody is told instead; nil where it is open.
    var closed: String?
    /// The hosts.
    var hosts: [String]
    /// Whether a service's label asks for it, which then is its name.
    var label: Bool
    /// `prefix` or `exact`.
    var match: String
    /// The name.
    var name: String
    /// The path.
    var path: String
    /// Whether the path is taken off.
    var strip: Bool
    /// The services with their weights.
    var to: [String: Double]
    /// What is looked at before ``to``.
    var when: [When]

    /// Describes one.
    init(_ claim: RouteClaim) {
        let route = claim.route
        switch claim.id {
        case .named(let name): (self.name, label) = (name.text, false)
        case .label(let service, _): (name, label) = (service.text, true)
        }
        (hosts, path, match) = (route.hosts.map(\.text), route.path.description, route.match.rawValue)
        (strip, closed) = (route.strips, route.closed)
        let weights = (route.to?.weights ?? []).map { ($0.service.text, Double($0.thousandths) / 1000) }
        to = Dictionary(weights) { first, _ in first }
        when = route.when.map { When(condition: $0.condition.description, to: $0.to.text) }
    }
}

/// Puts catalogs together; services that did not change stay what they were.
struct OutputCatalogBuilder: Sendable {
    private struct Known {
        let listener: DesiredState.Listener
        let source: Catalog.Service?
        let down: Set<InstanceID>
        let service: OutputService
    }

    private var known: [ServiceName: Known] = [:]
    private var table = RouteTableBuilder()

    /// Makes one that knows no service.
    init() {}

    /// The routes that get requests here.
    mutating func routes(of desired: DesiredState) -> [OutputRoute] {
        guard let inputs = desired.routeInputs else { return [] }
        _ = table.table(of: inputs)
        let served = table.all.filter { claim in
            !claim.route.isUnusable && claim.keys.contains { table.claims(of: $0).first?.id == claim.id }
        }
        return served.map(OutputRoute.init)
    }

    /// The services that should run here, without the endpoints that are down.
    mutating func services(of desired: DesiredState, down: [ServiceName: Set<InstanceID>]) -> [OutputService] {
        let sources = Dictionary(desired.services.map { ($0.name, $0) }) { first, _ in first }
        var next: [ServiceName: Known] = [:]
        for listener in desired.listeners where listener.hasPort {
            let (name, down) = (listener.service, down[listener.service] ?? [])
            let source = sources[name]
            if let known = known[name], known.source === source, known.down == down, known.listener == listener {
                next[name] = known
            } else {
                let service = OutputService(listener, source, without: down)
                next[name] = Known(listener: listener, source: source, down: down, service: service)
            }
        }
        known = next
        let listened = desired.listeners.compactMap { next[$0.service]?.service }
        let others = desired.services.compactMap { next[$0.name] == nil ? OutputService(overUDP: $0) : nil }
        return others.isEmpty ? listened : (listened + others).sorted { $0.name < $1.name }
    }
}

extension OutputService {
    fileprivate convenience init(
        _ listener: DesiredState.Listener, _ source: Catalog.Service?, without down: Set<InstanceID>
    ) {
        let instances = Dictionary((source?.instances ?? []).map { ($0.id, $0) }) { first, _ in first }
        let endpoints = listener.servers.filter { !down.contains($0.id) }.map { server in
            Endpoint(server, instances[server.id]?.meta ?? Meta())
        }
        self.init(
            name: listener.service, port: listener.port, mode: listener.options.mode.rawValue,
            endpoints: endpoints.sorted { $0.id < $1.id })
    }

    /// A service that is reached over UDP; nil for others.
    fileprivate convenience init?(overUDP service: Catalog.Service) {
        guard service.overTCP == nil, let resolved = ResolvedService(service, zone: nil) else { return nil }
        let endpoints = zip(resolved.servers, service.instances).map { Endpoint($0, $1.meta) }
        self.init(name: service.name, port: nil, mode: Self.udp, endpoints: endpoints)
    }
}

extension OutputService.Endpoint {
    /// Puts an endpoint together of what HAProxy is told of it, and what it says of itself.
    fileprivate init(_ server: DesiredState.Server, _ meta: Meta) {
        self.init(
            id: server.id.text, address: server.endpoint.address.text, port: server.endpoint.port.number,
            weight: server.keywords.weight, backup: server.keywords.isBackup, zone: meta.options.zone?.description,
            tags: meta.tags ?? [], container: meta.container, host: meta.host, image: meta.image)
    }
}
