import Shared

/// The services that HAProxy refuses, and what stands in for them while everything else is served.
///
/// One is tried anew when what decides of it changes, and from time to time, as its refusal may have been HAProxy's own
/// trouble.
struct RejectedServices: Sendable {
    /// What stands in for a service.
    enum Fallback: Equatable, Sendable {
        /// Its section as HAProxy has accepted it last, with the servers of now.
        case head(AcceptedSection)
        /// The whole section as HAProxy has accepted it last, with those of its servers that are still there.
        case whole(AcceptedSection)
        /// Nothing.
        case out
    }

    /// A service that is refused.
    struct RejectedService: Equatable, Sendable {
        /// What was refused.
        let refused: DesiredState.Listener
        /// What stands in for it.
        let form: Fallback
        /// HAProxy's words.
        let words: String
    }

    /// Between two tries of a service that has not changed.
    static let retryInterval = Duration.seconds(600)

    private var patients: [ServiceName: RejectedService] = [:]
    /// When each is to be tried anew; those that are to be tried now are not in it.
    private var retry: [ServiceName: ContinuousClock.Instant] = [:]

    /// Makes an empty one.
    init() {}

    /// When the next is to be tried anew; nil for none.
    var due: ContinuousClock.Instant? { retry.values.min() }

    /// Adds services that HAProxy rejected.
    mutating func add(_ refused: [RejectedService], at now: ContinuousClock.Instant) {
        for patient in refused {
            patients[patient.refused.service] = patient
            retry[patient.refused.service] = now + Self.retryInterval
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
        guard !patients.isEmpty else { return listeners }
        let standIns = listeners.compactMap { listener in
            patient(for: listener).map { (listener.service, $0.form) }
        }
        let applied = listeners.replacing(Dictionary(standIns) { first, _ in first })
        let served = Set(applied.map(\.service))
        for listener in listeners {
            guard let patient = patients[listener.service] else { continue }
            let isServed = patient.form != .out && served.contains(listener.service)
            diagnostics.insert(.refusedByHAProxy(listener.service, words: patient.words, isServed: isServed))
        }
        return applied
    }

    /// Evicts all that is of other services than these.
    mutating func evict(except services: [Catalog.Service]) {
        guard !patients.isEmpty else { return }
        let present = Set(services.map(\.name))
        patients = patients.filter { present.contains($0.key) }
        retry = retry.filter { present.contains($0.key) }
    }

    /// Releases those that HAProxy has accepted as they are.
    ///
    /// - Returns: whether there were any.
    mutating func release(_ accepted: DesiredState) -> Bool {
        guard !patients.isEmpty else { return false }
        let recovered = accepted.listeners.filter { $0.written == nil }.map(\.service).filter { patients[$0] != nil }
        for service in recovered { (patients[service], retry[service]) = (nil, nil) }
        return !recovered.isEmpty
    }

    /// The patient that a listener is; nil where it is to be tried.
    private func patient(for listener: DesiredState.Listener) -> RejectedService? {
        guard let patient = patients[listener.service], patient.covers(listener), retry[listener.service] != nil
        else { return nil }
        return patient
    }
}

extension RejectedServices.RejectedService {
    /// Whether what was refused is still what the service would be.
    ///
    /// Where only the head of its section was at fault, servers may change.
    fileprivate func covers(_ listener: DesiredState.Listener) -> Bool {
        guard case .head = form else { return listener == refused }
        return listener.bind == refused.bind && listener.options == refused.options
    }
}

extension [DesiredState.Listener] {
    /// The listeners with something else for some services; a form whose place another service has is nothing.
    func replacing(_ forms: [ServiceName: RejectedServices.Fallback]) -> [DesiredState.Listener] {
        guard !forms.isEmpty else { return self }
        let others = filter { forms[$0.service] == nil }.map(\.bind)
        return compactMap { listener in
            guard let form = forms[listener.service] else { return listener }
            return listener.replaced(by: form).flatMap { next in
                others.contains { $0.overlaps(next.bind) } ? nil : next
            }
        }
    }
}

extension DesiredState.Listener {
    /// What stands in for the listener; nil for nothing.
    fileprivate func replaced(by form: RejectedServices.Fallback) -> DesiredState.Listener? {
        let section: AcceptedSection
        let lines: [ServerLine]?
        switch form {
        case .out: return nil
        case .head(let written): (section, lines) = (written, nil)
        case .whole(let written):
            let places = Dictionary(servers.map { ($0.id, $0.endpoint) }) { first, _ in first }
            let left = written.servers.filter { places[$0.id] == $0.endpoint }
            guard !left.isEmpty else { return nil }
            (section, lines) = (written, left)
        }
        return DesiredState.Listener(
            service: service, port: section.bind.port, address: section.bind.address, options: sharedOptions,
            servers: servers, written: Written(head: section.head, servers: lines))
    }
}

/// A service's section as it stands in a file that HAProxy has accepted.
struct AcceptedSection: Equatable, Sendable {
    /// All of it but the servers.
    let head: String
    /// Where it listens.
    let bind: BindAddress
    /// Its servers.
    let servers: [ServerLine]
}
