import Shared

extension Addressing {
    /// What it is decided from besides the container itself.
    struct Surroundings: Sendable {
        /// What counts as reachable on this host.
        let reach: Reach
        /// What is registered, as far as settings say it.
        let rules: Rules
        /// The running containers.
        let containers: [InstanceID: Docker.Container]
        /// Where programs of this host listen.
        let listeners: Listeners
        /// Which container the engine publishes at a port of this host, by name: what listens there is the engine.
        let publishers: [Port: String]

        /// Running containers of which nothing is known.
        let unreadable: Set<InstanceID>

        /// Takes all that is known of the host.
        init(
            _ containers: [Docker.Container], host: IPAddress, _ rules: Rules, _ listeners: Listeners,
            unreadable: Set<InstanceID> = []
        ) {
            self.unreadable = unreadable
            let gateways = containers.flatMap { $0.networks.values }.reduce(into: Set()) { $0.formUnion($1.gateways) }
            reach = Reach(host: host, gateways: gateways)
            self.rules = rules
            self.containers = Dictionary(containers.map { ($0.id, $0) }) { first, _ in first }
            self.listeners = listeners
            let published = containers.flatMap { container in container.bindings.map { ($0.hostPort, container.name) } }
            publishers = Dictionary(published, uniquingKeysWith: min)
        }

        /// The container that a network mode names, by its id or its name.
        func container(_ name: String) -> Docker.Container? {
            if let id = InstanceID(containerID: name), let container = containers[id] { return container }
            return containers.values.filter { $0.name == name }.min { $0.id < $1.id }
        }
    }
}
