// The fields have the names that they have in the JSON.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Shared

// The JSON of the Engine API, as far as it is read. Nothing outside of this folder sees the wire types.

struct WireError: Decodable {
    let message: String?
}

struct WireInfo: Decodable {
    let ID: String?
    let Name: String?
    let DockerRootDir: String?
}

struct WireListed: Decodable {
    struct Port: Decodable, Hashable {
        let IP: String?
        let PrivatePort: Int?
        let PublicPort: Int?
        let `Type`: String?
    }
    let Id: String
    let Image: String?
    let State: String?
    let Status: String?
    let Names: [String]?
    let Labels: [String: String]?
    let Ports: [Port]?
    let HostConfig: WireHostConfig?
    let NetworkSettings: Networks?

    struct Networks: Decodable {
        let Networks: [String: WireNetwork?]?
    }
}

struct WireHostConfig: Decodable {
    struct Log: Decodable {
        let `Type`: String?
    }
    let NetworkMode: String?
    let LogConfig: Log?
}

struct WireNetwork: Decodable {
    let IPAddress: String?
    let GlobalIPv6Address: String?
    let Gateway: String?
    let IPv6Gateway: String?
}

/// A value of which only the presence matters.
struct WireAnything: Decodable {
    init(from decoder: any Decoder) {}
}

struct WireContainer: Decodable {
    struct Settings: Decodable {
        let Image: String?
        let Labels: [String: String]?
        let Env: [String]?
        let StopSignal: String?
        let StopTimeout: Int?
        let ExposedPorts: [String: WireAnything]?
    }
    struct Health: Decodable {
        let Status: String?
        let FailingStreak: Int?
    }
    struct Status: Decodable {
        let Status: String?
        let Running: Bool?
        let Paused: Bool?
        let Restarting: Bool?
        let StartedAt: String?
        let Health: Health?
    }
    struct Binding: Decodable {
        let HostIp: String?
        let HostPort: String?
    }
    struct Network: Decodable {
        let Ports: [String: [Binding]?]?
        let Networks: [String: WireNetwork?]?
    }
    let Id: String
    let Name: String?
    let Image: String?
    let Config: Settings?
    let State: Status?
    let HostConfig: WireHostConfig?
    let NetworkSettings: Network?
}

struct WireEvent: Decodable {
    struct Actor: Decodable {
        let ID: String?
        let Attributes: [String: String]?
    }
    let `Type`: String?
    let Action: String?
    let Actor: Actor?
}

extension Docker {
    /// A line of the container list: enough to see whether a container has to be inspected (again).
    struct Listed: Hashable, Sendable {
        /// The full id.
        var id: String
        /// The name without the leading slash.
        var name: String
        /// The image as the engine shows it.
        var image: String
        /// The engine's word for its state.
        var state: String
        /// Names, image, labels, ports and health, in one comparable text.
        var fingerprint: String
        /// Whose network it uses.
        var network: NetworkMode
        /// The networks that it is in, by name.
        var networks: [String: NetworkAddresses]

        /// Converts what the engine sent.
        init(_ wire: WireListed) {
            id = wire.Id
            name = String((wire.Names?.first ?? "").drop { $0 == "/" })
            image = wire.Image ?? ""
            state = wire.State ?? ""
            let ports = (wire.Ports ?? []).map {
                "\($0.IP ?? "")/\($0.PrivatePort ?? 0)/\($0.PublicPort ?? 0)/\($0.Type ?? "")"
            }
            let labels = (wire.Labels ?? [:]).map { "\($0.key)=\($0.value)" }
            network = NetworkMode(wire.HostConfig?.NetworkMode ?? "")
            networks = NetworkAddresses.byName(wire.NetworkSettings?.Networks)
            // "Up 2 hours (healthy)": the time goes on, what stands in parentheses says that the health has changed.
            let health = (wire.Status ?? "").drop { $0 != "(" }
            fingerprint =
                "\((wire.Names ?? []).sorted()) \(wire.Image ?? "") \(labels.sorted()) \(ports.sorted()) \(health)"
        }

        /// Whether it runs, rather than being paused or restarting.
        var isRunning: Bool { state == ContainerRef.running }

        /// Which container it is; nil if its id is invalid.
        var subject: ContainerRef? {
            InstanceID(containerID: id).map { ContainerRef(id: $0, name: name, image: image, state: state) }
        }
    }

    /// An event, reduced to which container may have changed.
    struct Event: Hashable, Sendable {
        /// The full id of the container; nil where the event does not say.
        var container: String?
        /// Whether the container itself changed, rather than a network that it is in.
        var isOfContainer: Bool
        /// The signal that it was sent; nil where the event is another.
        var signal: Int32?
        /// Whether the container has begun a life.
        var isStart: Bool

        /// Converts what the engine sent.
        init(_ wire: WireEvent) {
            isOfContainer = wire.Type != "network"
            isStart = isOfContainer && wire.Action == "start"
            container = isOfContainer ? wire.Actor?.ID : wire.Actor?.Attributes?["container"]
            if isOfContainer, wire.Action == "kill" { signal = wire.Actor?.Attributes?["signal"].flatMap { Int32($0) } }
        }
    }
}

extension WireContainer {
    /// The container, as far as it matters whether it runs.
    func inspected() throws(Docker.Error) -> Docker.Inspected {
        let id = try id()
        if let container = try container() { return .running(container) }
        return .idle(Docker.ContainerRef(id: id, name: name, image: image, state: State?.Status ?? ""))
    }

    /// The container as the agent knows it; nil where it does not run, or is paused.
    func container() throws(Docker.Error) -> Docker.Container? {
        guard State?.Running == true, State?.Paused != true, State?.Restarting != true else { return nil }
        let id = try id()
        let environment = (Config?.Env ?? []).compactMap { line -> (String, String)? in
            guard let equals = line.firstIndex(of: "=") else { return nil }
            return (String(line[..<equals]), String(line[line.index(after: equals)...]))
        }
        return Docker.Container(
            id: id, name: name, image: image,
            labels: Config?.Labels ?? [:], environment: Dictionary(environment) { _, last in last },
            started: State?.StartedAt ?? "", bindings: bindings("tcp"),
            health: Docker.Health(word: State?.Health?.Status ?? "", failures: State?.Health?.FailingStreak ?? 0),
            stopSignal: Config?.StopSignal.flatMap { Docker.StopSignal($0) } ?? .standard,
            stopTimeout: stopTimeout,
            network: Docker.NetworkMode(HostConfig?.NetworkMode ?? ""),
            networks: Docker.NetworkAddresses.byName(NetworkSettings?.Networks), exposed: exposed,
            udpBindings: bindings("udp"), otherPorts: otherPorts, isBuildStep: isBuildStep)
    }

    /// The classic builder marks its containers with nothing; it runs an image by its whole id, and keeps no log.
    private var isBuildStep: Bool {
        Config?.Image?.hasPrefix("sha256:") == true && HostConfig?.LogConfig?.Type == "none"
    }

    private func id() throws(Docker.Error) -> InstanceID {
        guard let id = InstanceID(containerID: Id) else {
            throw .malformed(route: "/containers/\(Id.prefix(80))/json", reason: "the id is not hexadecimal")
        }
        return id
    }

    /// A negative number has the engine wait for ever: a day is taken for that.
    private var stopTimeout: Duration {
        let seconds = Config?.StopTimeout ?? 10
        return .seconds(seconds < 0 ? 86_400 : min(seconds, 86_400))
    }

    private var name: String { String((Name ?? "").drop { $0 == "/" }) }

    /// What the user typed; the whole id of the image where that was a part of it.
    private var image: String {
        let typed = Config?.Image ?? ""
        let id = Image ?? ""
        let isPartOfID = typed.utf8.count >= 4 && id.hasPrefix("sha256:\(typed)")
        return isPartOfID ? id : typed
    }

    /// The published ports of a protocol.
    ///
    /// Entries that make no sense are left out.
    private func bindings(_ protocolName: String) -> Set<Docker.Binding> {
        var bindings: Set<Docker.Binding> = []
        for (key, published) in NetworkSettings?.Ports ?? [:] {
            guard let containerPort = Self.port(key, protocolName) else { continue }
            for binding in published ?? [] {
                let address = binding.HostIp ?? ""
                guard let hostPort = Port(text: binding.HostPort ?? ""),
                    address.isEmpty || IPAddress(address) != nil
                else { continue }
                bindings.insert(
                    Docker.Binding(
                        containerPort: containerPort, hostAddress: IPAddress(address), hostPort: hostPort))
            }
        }
        return bindings
    }

    /// What is published besides TCP ports.
    private var otherPorts: Set<String> {
        Set((NetworkSettings?.Ports ?? [:]).filter { !($1 ?? []).isEmpty && !$0.hasSuffix("/tcp") }.keys)
    }

    /// The exposed TCP ports: those of the image and of `--expose`, and what the engine lists besides.
    private var exposed: Set<Port> {
        let keys = (Config?.ExposedPorts ?? [:]).keys.map(\.self) + (NetworkSettings?.Ports ?? [:]).keys
        return Set(keys.compactMap { Self.port($0, "tcp") })
    }

    /// The port of `8000/tcp`; nil for other protocols, and for what makes no sense.
    private static func port(_ key: String, _ protocolName: String) -> Port? {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count == 2 && parts[1] == protocolName ? Port(text: parts[0]) : nil
    }
}
