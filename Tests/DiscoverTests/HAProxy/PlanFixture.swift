import Shared

@testable import Discover

/// A configuration as tests write it down: `web: 1=10.0.0.5:80 2=10.0.0.6:80*50`, where `*` gives the weight; a service
/// listens where its first server does, or where `@` says.
struct PlanFixture {
    let plan: DesiredState

    init(_ sections: [String], _ adjust: (inout ServerOptions) -> Void = { _ in }) {
        plan = DesiredState(listeners: sections.map { Self.listener($0, adjust) }.sorted { $0.service < $1.service })
    }

    var configuration: HAProxyConfiguration { HAProxyConfiguration(plan, .sample) }

    /// What runs where a worker has loaded it.
    var running: RunningConfig { RunningConfig(worker: 1, loaded: configuration) }

    private static func listener(_ text: String, _ adjust: (inout ServerOptions) -> Void) -> DesiredState.Listener {
        let words = text.split(separator: " ")
        let title = words[0].dropLast().split(separator: "@")
        let servers = words.dropFirst().map { word in
            let parts = word.split(separator: "=")
            let value = parts[1].split(separator: "*")
            var keywords = ServerOptions()
            if value.count > 1 { keywords.weight = Int(value[1]) ?? 100 }
            adjust(&keywords)
            return DesiredState.Server(id: instance(parts[0]), endpoint: endpoint(value[0]), keywords: keywords)
        }
        let place = title.count > 1 ? port(Int(title[1]) ?? 0) : servers[0].endpoint.port
        return DesiredState.Listener(service: service(String(title[0])), port: place, servers: servers)
    }
}

/// An instance that a test names.
func instance(_ name: some StringProtocol) -> InstanceID {
    guard let id = InstanceID(name) else { preconditionFailure("\(name) is no instance") }
    return id
}

/// An endpoint that a test names.
func endpoint(_ text: some StringProtocol) -> Endpoint {
    guard let endpoint = Endpoint(text) else { preconditionFailure("\(text) is no endpoint") }
    return endpoint
}

/// A server that a test names, such as `web/1`.
func server(_ text: String) -> EntryID {
    let parts = text.split(separator: "/")
    return EntryID(service: service(String(parts[0])), id: instance(parts[1]))
}
