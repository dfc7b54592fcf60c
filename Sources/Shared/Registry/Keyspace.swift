/// The names of the registry's keys below one prefix.
///
/// | key | value |
/// |---|---|
/// | `<prefix>/<service>/<id>` | ``Endpoint`` |
/// | `<prefix>/<service>/<id>/meta` | ``Meta`` |
/// | `<prefix>/<service>/<id>/config` | ``ServiceConfig``, of one endpoint |
/// | `<prefix>/<service>/config` | ``ServiceConfig`` |
/// | `<prefix>/<service>/port` | a listener port in decimal |
/// | `<prefix>-ports/<service>` | ``PortClaim`` |
/// | `<prefix>-routes/<name>` | ``Route`` |
package struct Keyspace: Hashable, Sendable {
    /// The prefix with a slash at both ends, such as `/backends/`.
    package let prefix: String

    /// Which service keeps which port: `<prefix>-ports/<service>`.
    package let claims: String

    /// Which requests go to which service: `<prefix>-routes/<name>`.
    ///
    /// Of all that is beside the prefix this alone is after `<prefix>-ports/`, so that one range of keys has the routes
    /// and the endpoints.
    package let routes: String

    /// The prefix that both agents use unless told otherwise.
    package static let standard = "/backends"

    /// Takes a prefix such as `/backends`; nil unless it begins with a slash and all its parts are names.
    package init?(prefix: String) {
        let trimmed = prefix.last == "/" ? prefix.dropLast() : prefix[...]
        let parts = trimmed.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count >= 2, parts[0].isEmpty, parts.dropFirst().allSatisfy(NameGrammar.accepts) else { return nil }
        self.prefix = trimmed + "/"
        claims = trimmed + "-ports/"
        routes = trimmed + "-routes/"
    }

    /// Where the docker-registers of one engine say that they run: `<prefix>-agents/<engine>/<instance>`.
    ///
    /// It is beside the prefix, as nobody who follows the endpoints has to hear of it.
    package func agents(of engine: String) -> String { "\(agents)\(engine)/" }

    /// What the records of all docker-registers begin with.
    package var agents: String { "\(beside)-agents/" }

    /// Where docker-discovers say that they run, and what they applied: `<prefix>-consumers/<instance>`.
    package var consumers: String { "\(beside)-consumers/" }

    /// Which containers are drained: `<prefix>-drained/<container>`.
    package var drained: String { "\(beside)-drained/" }

    private var beside: Substring { prefix.dropLast() }

    /// A key of the contract, taken apart.
    package enum Key: Hashable, Sendable {
        case entry(ServiceName, InstanceID)
        case meta(ServiceName, InstanceID)
        case endpointConfig(ServiceName, InstanceID)
        case config(ServiceName)
        case port(ServiceName)
        case claim(ServiceName)
        case route(RouteName)

        /// The service that it speaks of; nil for a route.
        package var service: ServiceName? {
            switch self {
            case .entry(let service, _), .meta(let service, _), .endpointConfig(let service, _), .config(let service),
                .port(let service), .claim(let service):
                service
            case .route: nil
            }
        }
    }

    /// Why a key below the prefix is not one of the contract's.
    package enum KeyProblem: Error, Equatable, Sendable {
        /// Bytes that are not UTF-8, or not below the prefix.
        case foreign
        /// A shape that this version does not know. It is ignored.
        case unknown
        /// A service name that breaks the grammar.
        case badService(String)
        /// An instance id that breaks the grammar.
        case badInstance(String)
        /// A route's name that breaks the grammar.
        case badRoute(String)
    }

    /// Takes a key apart.
    package func parse(_ key: some Sequence<UInt8>) throws(KeyProblem) -> Key {
        // Bytes are compared: as texts, other letters would be equal to those of the prefix.
        let bytes = Array(key)
        if bytes.starts(with: claims.utf8) {
            let name = String(decoding: bytes.dropFirst(claims.utf8.count), as: UTF8.self)
            guard let service = ServiceName(name) else { throw .badService(name) }
            return .claim(service)
        }
        if bytes.starts(with: routes.utf8) {
            let text = String(decoding: bytes.dropFirst(routes.utf8.count), as: UTF8.self)
            guard let name = RouteName(text) else { throw .badRoute(text) }
            return .route(name)
        }
        guard bytes.starts(with: prefix.utf8),
            let text = String(validating: bytes.dropFirst(prefix.utf8.count), as: UTF8.self)
        else { throw .foreign }
        let parts = text.utf8.split(separator: UInt8(ascii: "/"), maxSplits: 3, omittingEmptySubsequences: false)
            .map { Substring($0) }
        guard parts.count == 2 || parts.count == 3 && (parts[2] == "meta" || parts[2] == "config") else {
            throw .unknown
        }
        guard let service = ServiceName(parts[0]) else { throw .badService(String(parts[0])) }
        switch (parts.count, parts[1]) {
        case (2, "config"): return .config(service)
        case (2, "port"): return .port(service)
        default:
            guard let id = InstanceID(parts[1]) else { throw .badInstance(String(parts[1])) }
            guard parts.count == 3 else { return .entry(service, id) }
            return parts[2] == "meta" ? .meta(service, id) : .endpointConfig(service, id)
        }
    }

    /// The text of a key.
    package func text(of key: Key) -> String {
        switch key {
        case .entry(let service, let id): "\(prefix)\(service)/\(id)"
        case .meta(let service, let id): "\(prefix)\(service)/\(id)/meta"
        case .endpointConfig(let service, let id): "\(prefix)\(service)/\(id)/config"
        case .config(let service): "\(prefix)\(service)/config"
        case .port(let service): "\(prefix)\(service)/port"
        case .claim(let service): "\(claims)\(service)"
        case .route(let name): "\(routes)\(name)"
        }
    }
}
