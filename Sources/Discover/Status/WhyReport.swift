import Shared

/// What `why` tells of a service or an endpoint, as `--json` prints it.
struct WhyReport: Encodable, Equatable, Sendable {
    /// What was asked for.
    var question: String
    /// Whether connections come to it.
    var routed: Bool
    /// The answer in sentences.
    var answer: [String]
    /// The services that it is about, with the endpoints that it is about.
    var services: [ServiceReport]
    /// What was taken out on purpose a short while ago.
    var withdrawn: [StatusReport.Withdrawal]
    /// Whether the registry says something of it and has no endpoint of it.
    var empty: Bool
    /// The output, where it is one.
    var output: OutputStatus?

    /// Looks for a service, an id, a service with an id, an address with a port, or a port of this host.
    ///
    /// - Parameter routes: where requests go by host and path; nil where this host serves no routes.
    init(_ text: String, in report: StatusReport, routes: RouteTable? = nil) {
        question = text
        var target = Target(text)
        services = report.services.compactMap { target.part(of: $0) }
        if let routes, let routing = report.routing, let address = RequestAddress(text),
            address.isURL || services.isEmpty && !report.withdrawn.contains(where: target.matches)
        {
            let told = RouteAnswer(address, routes, routing, report)
            (services, withdrawn, empty) = (told.services, [], told.services.isEmpty)
            (routed, answer) = (told.isRouted, told.sentences)
            return
        }
        if services.isEmpty, let port = Target(portOfThisHost: text) {
            let asking = report.services.filter { port.part(of: $0) != nil }
            // A service that bears a number for its name, and has gone, is still what is meant.
            if !asking.isEmpty || !report.withdrawn.contains(where: target.matches) {
                (target, services) = (port, asking)
            }
        }
        withdrawn = report.withdrawn.filter(target.matches)
        routed = services.contains { $0.isRouted && target.isServed(by: $0) }
        empty = report.empty.contains(text)
        output = report.outputs?.first { $0.file == text }
        answer = []
        answer = sentences(target, report)
    }

    /// The command's exit status.
    var status: Int32 {
        if let output { return output.current ? ExitStatus.success : Self.notRouted }
        if services.isEmpty && withdrawn.isEmpty && !empty { return Self.unknown }
        return routed ? ExitStatus.success : Self.notRouted
    }

    /// The exit status where it is known and gets no connections.
    static let notRouted: Int32 = 1
    /// The exit status where nothing is known of it.
    static let unknown: Int32 = 2

    /// What somebody asks for.
    enum Target: Equatable {
        /// A service or an id: ids and services have the same grammar.
        case name(String)
        /// One endpoint of one service.
        case server(service: String, id: String)
        /// An address.
        case endpoint(String)
        /// What programs on this host reach at a port; nil for any of the host's addresses.
        case listener(Port, at: IPAddress?)

        /// Reads what somebody typed.
        init(_ text: String) {
            if let endpoint = Endpoint(text) {
                self = .endpoint(endpoint.description)
                return
            }
            let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
            self = parts.count == 2 ? .server(service: parts[0], id: parts[1]) : .name(text)
        }

        /// Reads a port of this host: `8200`, `:8200`, `localhost:8200`, `127.0.0.1:8200`; nil for anything else.
        init?(portOfThisHost text: String) {
            if let endpoint = Endpoint(text) {
                guard endpoint.address.isLoopback || endpoint.address.isUnspecified else { return nil }
                self = .listener(endpoint.port, at: endpoint.address.isUnspecified ? nil : endpoint.address)
                return
            }
            let lowercased = text.lowercased()
            let prefix = ["localhost:", "*:", ":"].first { lowercased.hasPrefix($0) } ?? ""
            guard let port = Port(text: lowercased.dropFirst(prefix.count)) else { return nil }
            self = .listener(port, at: nil)
        }

        /// Whether it is about all of a service.
        func isWhole(_ service: String) -> Bool {
            if case .listener = self { return true }
            return self == .name(service)
        }

        /// Whether a service's listener is what is meant; of endpoints there may be any.
        func isServed(by service: ServiceReport) -> Bool {
            guard case .listener(let port, let address) = self else { return true }
            return service.listeners.lazy.compactMap { BindAddress($0) }.contains { bind in
                bind.port == port && (address.map { bind.overlaps(BindAddress(address: $0, port: port)) } ?? true)
            }
        }

        /// The service with those of its endpoints that are meant; nil where none is.
        func part(of service: ServiceReport) -> ServiceReport? {
            if self == .name(service.name) { return service }
            if case .listener(let port, _) = self {
                return isServed(by: service) || service.port == port.number ? service : nil
            }
            var part = service
            part.endpoints = service.endpoints.filter { matches($0, of: service.name) }
            return part.endpoints.isEmpty ? nil : part
        }

        private func matches(_ endpoint: EndpointReport, of service: String) -> Bool {
            switch self {
            case .name(let text): isID(endpoint.id, text) || endpoint.container == text
            case .server(let name, let id): service == name && isID(endpoint.id, id)
            case .endpoint(let text): endpoint.endpoint == text
            case .listener: false
            }
        }

        /// Docker's ids are longer than those of the registry.
        private func isID(_ id: String, _ text: String) -> Bool {
            id == text || id.utf8.count == 12 && text.utf8.count > 12 && text.hasPrefix(id)
        }

        /// Whether a withdrawal is of what is meant.
        func matches(_ gone: StatusReport.Withdrawal) -> Bool {
            switch self {
            case .name(let text): gone.service == text || isID(gone.id, text) || gone.container == text
            case .server(let service, let id): gone.service == service && isID(gone.id, id)
            case .endpoint, .listener: false
            }
        }
    }
}

extension WhyReport {
    private func sentences(_ target: Target, _ report: StatusReport) -> [String] {
        var lines = services.flatMap { $0.sentences(isWhole: target.isWhole($0.name)) }
        lines += withdrawn.map { gone in
            "\(gone.service)/\(gone.id)" + (gone.container.map { " of container \($0)" } ?? "") + " was withdrawn"
                + (gone.at.map { " at \($0)" } ?? "") + ": \(gone.reason)."
        }
        if let output { lines += output.sentences }
        if services.isEmpty, withdrawn.isEmpty, output == nil { lines += strange(target, report) }
        if let lost = report.etcd.lost {
            lines.append("etcd unreachable since \(lost.time) (\(lost.error)): newer changes are not known.")
        }
        if report.haproxy.none != true, let silence = report.haproxy.silence {
            lines.append("HAProxy does not answer: \(silence).")
        }
        return lines
    }

    /// What is said of what nobody knows.
    private func strange(_ target: Target, _ report: StatusReport) -> [String] {
        guard report.etcd.revision != nil else { return ["Nothing is known of the registry."] }
        let key = report.etcd.prefix
        let place = "below \(key), at revision \(report.etcd.revision ?? 0)"
        if case .listener(let port, _) = target {
            let isStats = BindAddress(report.haproxy.stats)?.port == port
            return [
                isStats
                    ? "Port \(port) is that of HAProxy's stats page."
                    : "No service listens on port \(port) or asks for it (\(place))."
            ]
        }
        var lines =
            report.empty.contains(question)
            ? ["\(question) has no endpoint, only what an operator says of it (\(place))."]
            : ["\(question) is not in the registry (\(place))."]
        lines += report.problems.filter { $0.of.contains(question) }.map(\.sentence)
        lines.append(
            "On the host of its container, `docker-register why CONTAINER` tells why it is not registered.")
        return lines
    }
}

extension OutputStatus {
    /// What is said of it.
    fileprivate var sentences: [String] {
        var lines = ["\(file) is \(words)" + (written.map { ", written at \($0)" } ?? "") + "."]
        if let failure { lines.append("Since \(failure.time) it cannot be brought up to date: \(failure.error).") }
        return lines + problems.map { "\($0)." }
    }
}

extension ServiceReport {
    /// What is said of it; of all of it, or of the endpoints that are meant.
    fileprivate func sentences(isWhole: Bool) -> [String] {
        var lines = [standing]
        lines += problems.map(\.sentence)
        if !config.isEmpty {
            let said = config.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
            lines.append("An operator's config overrides: \(said).")
        }
        if isWhole {
            let serving = endpoints.count { $0.state == .serving }
            lines.append("\(serving) of \(endpoints.count) endpoints get connections.")
        }
        lines += endpoints.flatMap { $0.sentences(of: name) }
        return lines
    }

    private var standing: String {
        let wish = claim.map { ", as its claim of revision \($0.revision) says; it asks for \($0.wish)" } ?? ""
        let all = listeners.isEmpty ? "no port" : listeners.joined(separator: ", ")
        let place = all + (claim?.port == port ? "" : wish)
        switch state {
        case .served: return "\(name) is served at \(place), mode \(mode), balance \(balance), check \(check)."
        case .pending: return "\(name) is to be served at \(place), and HAProxy does not listen there yet."
        case .outputsOnly where mode == OutputService.udp:
            return "\(name) is UDP, which HAProxy does not forward: it has no listener, and is in the outputs."
        case .outputsOnly: return "\(name) is in the outputs; no HAProxy runs here."
        case .unknown: return "\(name) should be served at \(place)."
        case .leftOut:
            return "\(name) is not served: it has no listener. It asks for port \(port) (by its \(portFrom))."
        }
    }
}

extension EndpointReport {
    /// What is said of it.
    fileprivate func sentences(of service: String) -> [String] {
        let name = "\(service)/\(id) at \(endpoint)"
        let extras = weight.map { $0 == 100 ? "" : ", weight \($0)" } ?? ""
        let said = haproxy.map { ", HAProxy says \($0.status)\(extras)" } ?? ""
        var lines =
            reasons.isEmpty
            ? ["\(name) gets connections\(said)."] : reasons.map { "\(name) gets no connections: \($0)." }
        if backup == true, reasons.isEmpty { lines.append("It is a backup, and none of the others works.") }
        if let heldWords { lines.append("\(name): \(heldWords), or until `docker-discover release \(service)`.") }
        return lines + [origin].compactMap(\.self)
    }

    /// Where it comes from.
    private var origin: String? {
        guard let key else { return nil }
        var parts = ["  from \(key)"]
        if let createRevision { parts.append("created at revision \(createRevision)") }
        if let modRevision, modRevision != createRevision { parts.append("changed at revision \(modRevision)") }
        if let container { parts.append("container \(container)") }
        if let image { parts.append("image \(image)") }
        if let host { parts.append("host \(host)") }
        if let owner { parts.append("put by \(owner)") }
        parts.append(lease.map { "lease \($0)" } ?? "no lease")
        if let check = haproxy?.lastCheck { parts.append("last check \(check)") }
        return parts.joined(separator: ", ")
    }
}

extension WhyReport {
    /// What `why` prints for people.
    var text: String { answer.map { OneLine.text($0) + "\n" }.joined() }
}
