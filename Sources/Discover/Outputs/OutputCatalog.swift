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
        host == other.host && zone == other.zone && keys == other.keys
            && services.elementsEqual(other.services) { $0 === $1 || $0.json == $1.json }
    }

    /// All of it as one JSON object with sorted names, a line for each service.
    func json() throws -> [UInt8] {
        let encoder = JSONEncoder.oneLine
        var text = Array("{\"host\":".utf8)
        text += try encoder.encode(host)
        text += Array(",\"keys\":".utf8)
        text += try encoder.encode(keys)
        text += Array(",\"revision\":\(revision),\"services\":[".utf8)
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
    /// Where programs on this host reach it through HAProxy.
    let port: Port
    /// What HAProxy understands of its connections.
    let mode: String
    /// All tags of its endpoints.
    let tags: [String]
    /// The endpoints by id.
    let endpoints: [Endpoint]
    /// The service as a JSON object in one line.
    let json: [UInt8]

    /// Puts a service together.
    init(name: ServiceName, port: Port, mode: String, endpoints: [Endpoint]) {
        (self.name, self.port, self.mode, self.endpoints) = (name, port, mode, endpoints)
        tags = Set(endpoints.flatMap(\.tags)).sorted()
        let fields = Fields(endpoints: endpoints, mode: mode, name: name.text, port: port.number, tags: tags)
        json = (try? JSONEncoder.oneLine.encode(fields)).map { [UInt8]($0) } ?? []
    }

    private struct Fields: Encodable {
        var endpoints: [Endpoint]
        var mode: String
        var name: String
        var port: UInt16
        var tags: [String]
    }
}

extension OutputService.Endpoint {
    /// Where it is reached, with an IPv6 address in brackets.
    var hostAndPort: String { address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)" }
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

    /// Makes one that knows no service.
    init() {}

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
        return desired.listeners.compactMap { next[$0.service]?.service }
    }
}

extension OutputService {
    fileprivate convenience init(
        _ listener: DesiredState.Listener, _ source: Catalog.Service?, without down: Set<InstanceID>
    ) {
        let instances = Dictionary((source?.instances ?? []).map { ($0.id, $0) }) { first, _ in first }
        let endpoints = listener.servers.filter { !down.contains($0.id) }.map { server in
            let meta = instances[server.id]?.meta ?? Meta()
            return Endpoint(
                id: server.id.text, address: server.endpoint.address.text, port: server.endpoint.port.number,
                weight: server.keywords.weight, backup: server.keywords.isBackup,
                zone: meta.options.zone?.description, tags: meta.tags ?? [], container: meta.container,
                host: meta.host, image: meta.image)
        }
        self.init(
            name: listener.service, port: listener.port, mode: listener.options.mode.rawValue,
            endpoints: endpoints.sorted { $0.id < $1.id })
    }
}
