import Shared

/// One key of the registry, taken apart once when it arrives.
///
/// It never changes; states of the registry share it.
final class RegistryRecord: Sendable {
    /// What a key and its value mean.
    enum Content: Equatable, Sendable {
        case entry(ServiceName, InstanceID, Endpoint)
        case meta(ServiceName, InstanceID, CompactMeta)
        indirect case endpointConfig(ServiceName, InstanceID, ServiceConfig)
        indirect case config(ServiceName, ServiceConfig)
        case port(ServiceName, Port)
        case claim(ServiceName, PortClaim)
        /// Nil where the value is no object.
        indirect case route(RouteName, Route?)
        /// Not of the contract: it counts as absent. Nil where the key does not say of which service.
        case nothing(ServiceName?)
    }

    /// The key as etcd stores it; a value that means nothing, and may be large, is not kept.
    let keyValue: Etcd.KeyValue

    /// What it means.
    let content: Content

    /// What is wrong with it.
    let problems: [Diagnostic]

    /// Takes a key apart; whatever is wrong with it becomes a problem.
    init(_ keyValue: Etcd.KeyValue, in keyspace: Keyspace, sharing pool: inout MetaPool) {
        do {
            let key = try keyspace.parse(keyValue.key)
            (content, problems) = Self.read(keyValue, of: key, &pool)
        } catch {
            (content, problems) = (.nothing(nil), [.badKey(key: Self.name(keyValue), why: Self.explain(error))])
        }
        var kept = keyValue
        if !Self.hasMeaning(content) { kept.value = [] }
        self.keyValue = kept
    }

    private init(_ keyValue: Etcd.KeyValue, like other: RegistryRecord) {
        self.keyValue = keyValue
        (content, problems) = (other.content, other.problems)
    }

    /// The record with revisions that are lower by a number, so that they are below those of a new store.
    func older(by revisions: Int64) -> RegistryRecord {
        guard revisions != 0 else { return self }
        var moved = keyValue
        moved.createRevision -= revisions
        moved.modRevision -= revisions
        return RegistryRecord(moved, like: self)
    }
}

extension RegistryRecord: Equatable {
    /// Whether two are the same key with the same value, as old.
    static func == (left: RegistryRecord, right: RegistryRecord) -> Bool {
        left === right || left.keyValue == right.keyValue && left.content == right.content
    }
}

extension RegistryRecord {
    /// Which service it speaks of; nil where the key does not say.
    var service: ServiceName? {
        switch content {
        case .entry(let service, _, _), .meta(let service, _, _), .endpointConfig(let service, _, _),
            .config(let service, _), .port(let service, _), .claim(let service, _):
            service
        case .nothing(let service): service
        case .route: nil
        }
    }

    /// Whether it counts.
    var hasMeaning: Bool { Self.hasMeaning(content) }

    private static func hasMeaning(_ content: Content) -> Bool {
        switch content {
        case .nothing, .route(_, nil): false
        default: true
        }
    }

    /// The route that it is; nil for anything else.
    var routeName: RouteName? { if case .route(let name, _) = content { name } else { nil } }

    /// The revision at which it asked for a confirmation; 0 where it does not.
    var revisionToConfirm: Int64 {
        let asks =
            switch content {
            case .meta(_, _, let meta): meta.asksConfirmation
            case .endpointConfig(_, _, let config), .config(_, let config): config.asksConfirmation
            case .route(_, let route): route?.asksConfirmation ?? false
            case .entry, .port, .claim, .nothing: false
            }
        return asks ? keyValue.modRevision : 0
    }

    private typealias ParsedSettings = (Content, [Diagnostic])

    private static func read(
        _ keyValue: Etcd.KeyValue, of key: Keyspace.Key, _ pool: inout MetaPool
    ) -> ParsedSettings {
        let value = keyValue.value
        func refused(_ expected: String) -> ParsedSettings {
            (
                .nothing(key.service),
                [.badValue(key: name(keyValue), value: Diagnostic.excerpt(value), expected: expected)]
            )
        }
        func accepted(_ content: Content, wrong fields: [String] = []) -> ParsedSettings {
            (content, fields.map { .badField(key: name(keyValue), field: $0) })
        }
        switch key {
        case .entry(let service, let id):
            guard let endpoint = endpoint(value) else { return refused(Endpoint.grammar) }
            return accepted(.entry(service, id, endpoint))
        case .meta(let service, let id):
            guard let meta = Meta(json: value) else { return refused("a JSON object") }
            // What has no lease a person has written; agents may be newer than this one.
            let unknown = keyValue.lease == 0 ? UnknownFields.ofMeta(value) : []
            return accepted(.meta(service, id, CompactMeta(meta, sharing: &pool)), wrong: meta.problems + unknown)
        case .endpointConfig(let service, let id):
            guard let config = ServiceConfig(json: value)?.ofEndpoint else { return refused("a JSON object") }
            return accepted(
                .endpointConfig(service, id, config), wrong: config.problems + UnknownFields.ofConfig(value))
        case .route(let route):
            guard let read = Route(json: value) else {
                let (_, problems) = refused("a JSON object")
                return (.route(route, nil), problems)
            }
            return accepted(.route(route, read), wrong: read.problems)
        case .config(let service):
            guard let config = ServiceConfig(json: value) else { return refused("a JSON object") }
            return accepted(.config(service, config), wrong: config.problems + UnknownFields.ofConfig(value))
        case .port(let service):
            guard let port = text(value).flatMap({ Port(text: $0) }) else { return refused(Port.grammar) }
            return accepted(.port(service, port))
        case .claim(let service):
            guard let claim = PortClaim(json: value) else { return refused(PortClaim.grammar) }
            return accepted(.claim(service, claim))
        }
    }

    /// The key for messages: with room for the longest one of the contract below any usual prefix.
    private static func name(_ keyValue: Etcd.KeyValue) -> String { Diagnostic.excerpt(keyValue.key, longest: 320) }

    /// Where a client can connect; HAProxy takes `0.0.0.0` for "the address the client asked for", which is itself.
    private static func endpoint(_ value: [UInt8]) -> Endpoint? {
        guard let endpoint = text(value).flatMap({ Endpoint($0) }), !endpoint.address.isUnspecified,
            !endpoint.address.isMulticast
        else { return nil }
        return endpoint
    }

    private static func text(_ value: [UInt8]) -> String? {
        String(validating: value, as: UTF8.self)
    }

    private static func explain(_ problem: Keyspace.KeyProblem) -> String {
        switch problem {
        case .foreign: "the key is not UTF-8 text below the prefix"
        case .unknown: "the key has a shape that this version does not know"
        case .badService: "the service's name must be \(ServiceName.grammar)"
        case .badRoute: "the route's name must be \(ServiceName.grammar)"
        case .badInstance: "the instance's id must be \(ServiceName.grammar), and neither 'config' nor 'port'"
        }
    }
}
