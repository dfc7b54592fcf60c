import Shared

/// The services that HAProxy rejects, and what stands in for them while everything else is served.
///
/// One is tried anew when what decides of it changes, and from time to time, as its rejection may have been HAProxy's own
/// trouble.
struct RejectedServices: Sendable {
    /// What stands in for a service.
    enum Fallback: Equatable, Sendable {
        /// Its section as HAProxy last accepted it, with the servers of now.
        ///
        /// Servers that HAProxy rejects as well are as they were accepted, or left out where they were not.
        case accepted(AcceptedSection, rejecting: Set<InstanceID>)
        /// Nothing.
        case leftOut
    }

    /// A service that HAProxy rejects.
    struct RejectedService: Equatable, Sendable {
        /// What was rejected.
        let listener: DesiredState.Listener
        /// What stands in for it.
        let fallback: Fallback
        /// HAProxy's words.
        let error: String
    }

    /// Between two tries of a service that has not changed.
    static let retryInterval = Duration.seconds(600)

    private var services: [ServiceName: RejectedService] = [:]
    /// When each is to be tried anew; those that are to be tried now are not in it.
    private var retry: [ServiceName: ContinuousClock.Instant] = [:]

    /// Makes an empty one.
    init() {}

    /// When the next is to be tried anew; nil for none.
    var due: ContinuousClock.Instant? { retry.values.min() }

    /// Adds services that HAProxy rejected.
    mutating func add(_ rejected: [RejectedService], at now: ContinuousClock.Instant) {
        for service in rejected {
            services[service.listener.service] = service
            retry[service.listener.service] = now + Self.retryInterval
        }
    }

    /// Has those tried anew whose time has come; returns whether there are any.
    mutating func retryDue(at now: ContinuousClock.Instant) -> Bool {
        let due = retry.filter { $1 <= now }.keys
        for service in due { retry[service] = nil }
        return !due.isEmpty
    }

    /// Listeners with what stands in for those of rejected services; services that are to be tried anew stay as they are.
    func applied(to listeners: [DesiredState.Listener], _ diagnostics: inout Set<Diagnostic>)
        -> [DesiredState.Listener]
    {
        guard !services.isEmpty else { return listeners }
        var fallbacks: [ServiceName: Fallback] = [:]
        for listener in listeners where retry[listener.service] != nil {
            guard let rejected = services[listener.service], rejected.covers(listener) else { continue }
            fallbacks[listener.service] = rejected.fallback
        }
        let applied = listeners.replacing(fallbacks)
        let served = Set(applied.map(\.service))
        for listener in listeners {
            guard let rejected = services[listener.service] else { continue }
            let isServed = rejected.fallback != .leftOut && served.contains(listener.service)
            diagnostics.insert(.refusedByHAProxy(listener.service, words: rejected.error, isServed: isServed))
        }
        return applied
    }

    /// Evicts all that is of other services than these.
    mutating func evict(except present: [Catalog.Service]) {
        guard !services.isEmpty else { return }
        let names = Set(present.map(\.name))
        services = services.filter { names.contains($0.key) }
        retry = retry.filter { names.contains($0.key) }
    }

    /// Releases those that HAProxy has accepted as they are.
    ///
    /// - Returns: whether there were any.
    mutating func release(_ accepted: DesiredState) -> Bool {
        guard !services.isEmpty else { return false }
        let recovered = accepted.listeners.filter { $0.written == nil }.map(\.service).filter { services[$0] != nil }
        for service in recovered { (services[service], retry[service]) = (nil, nil) }
        return !recovered.isEmpty
    }
}

extension RejectedServices.RejectedService {
    /// Whether what was rejected is still what the service would be.
    ///
    /// Where an accepted section stands in, servers that are not at fault may come, go and change.
    fileprivate func covers(_ next: DesiredState.Listener) -> Bool {
        guard case .accepted(_, let rejecting) = fallback else { return next == listener }
        let isAtFault = { (server: DesiredState.Server) in rejecting.contains(server.id) }
        return next.binds == listener.binds && next.options == listener.options
            && next.servers.filter(isAtFault) == listener.servers.filter(isAtFault)
    }
}

extension [DesiredState.Listener] {
    /// The listeners with what stands in for some services; where another service has its address, that is nothing.
    func replacing(_ fallbacks: [ServiceName: RejectedServices.Fallback]) -> [DesiredState.Listener] {
        guard !fallbacks.isEmpty else { return self }
        let others = Dictionary(grouping: filter { fallbacks[$0.service] == nil }.flatMap(\.binds), by: \.port)
        return compactMap { listener in
            guard let fallback = fallbacks[listener.service] else { return listener }
            return listener.replaced(by: fallback).flatMap { next in
                next.binds.contains { bind in others[bind.port]?.contains(where: bind.overlaps) == true } ? nil : next
            }
        }
    }
}

extension DesiredState.Listener {
    /// What stands in for the listener; nil for nothing.
    fileprivate func replaced(by fallback: RejectedServices.Fallback) -> DesiredState.Listener? {
        guard case .accepted(let section, let rejecting) = fallback else { return nil }
        let accepted = section.lines(of: servers.filter { rejecting.contains($0.id) })
        let left = servers.filter { !rejecting.contains($0.id) || accepted[$0.id] != nil }
        guard rejecting.isEmpty || !left.isEmpty else { return nil }
        var listener = DesiredState.Listener(
            service: service, port: section.bind.port, address: section.bind.address, otherPort: section.otherPort,
            loopback6: section.loopback6, options: sharedOptions, servers: left,
            written: Written(head: section.head, servers: accepted))
        listener.isRouted = isRouted
        return listener
    }
}

/// A service's section as it stands in a file that HAProxy has accepted.
struct AcceptedSection: Equatable, Sendable {
    /// All of it but the servers.
    let head: String
    /// Where it listens, the first of which is the main one.
    let binds: [BindAddress]
    /// Its servers.
    let servers: [ServerLine]

    /// Where it listens mainly.
    var bind: BindAddress { binds[0] }

    /// The other port of the same address.
    fileprivate var otherPort: Port? { binds.dropFirst().first { $0.address == bind.address }?.port }

    /// Those of its ports that it has at the loopback address of IPv6 besides.
    fileprivate var loopback6: [Port] {
        bind.address == .loopback6 ? [] : binds.dropFirst().filter { $0.address == .loopback6 }.map(\.port)
    }

    /// The lines of those servers that it has at the same address.
    fileprivate func lines(of wanted: [DesiredState.Server]) -> [InstanceID: ServerLine] {
        guard !wanted.isEmpty else { return [:] }
        let endpoints = Dictionary(wanted.map { ($0.id, $0.endpoint) }) { first, _ in first }
        let lines = servers.filter { endpoints[$0.id] == $0.endpoint }
        return Dictionary(lines.map { ($0.id, $0) }) { first, _ in first }
    }
}
