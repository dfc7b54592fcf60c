import Shared

extension Docker {
    /// What a container's HEALTHCHECK says of it.
    enum Health: Hashable, Sendable {
        /// It has neither passed yet nor failed often enough.
        case starting
        /// It passes.
        case healthy
        /// It has failed as often in a row as makes it unhealthy, or more often.
        case unhealthy(failures: Int)

        /// Parses the engine's word; nil if there is no HEALTHCHECK: `none`, and Podman's empty text.
        init?(word: String, failures: Int) {
            switch word {
            case "starting": self = .starting
            case "healthy": self = .healthy
            case "unhealthy": self = .unhealthy(failures: failures)
            default: return nil
            }
        }
    }
}

extension Docker.Health: CustomStringConvertible {
    /// The engine's word, with how often it has failed in a row.
    var description: String {
        switch self {
        case .starting: "starting"
        case .healthy: "healthy"
        case .unhealthy(let failures): "unhealthy, \(failures) failed in a row"
        }
    }
}

extension Docker {
    /// How a container is asked to stop: its image's `STOPSIGNAL`, or what `docker run --stop-signal` says.
    struct StopSignal: Hashable, Sendable {
        /// The signal's number.
        let number: Int32

        /// What containers get that say nothing.
        static let standard = StopSignal(number: 15)

        /// Parses `SIGINT`, `INT`, `SIGRTMIN+3` or a number; nil for what is no signal.
        init?(_ text: String) {
            if let number = Int32(text) {
                guard (1...64).contains(number) else { return nil }
                self.number = number
                return
            }
            let upper = text.uppercased()
            let name = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
            if let number = Self.numbers[name] {
                self.number = number
            } else if name.hasPrefix("RTMIN+"), let offset = Int32(name.dropFirst(6)), (1...30).contains(offset) {
                number = 34 + offset
            } else {
                return nil
            }
        }

        private init(number: Int32) { self.number = number }

        /// Whether this signal, sent to the container, is the beginning of its end.
        ///
        /// SIGKILL always is.
        func isMeant(by signal: Int32) -> Bool { signal == number || signal == 9 }

        /// The names of signal(7) that have the same number on every machine that runs Docker.
        private static let numbers: [String: Int32] = [
            "HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "USR1": 10, "USR2": 12, "PIPE": 13, "ALRM": 14,
            "TERM": 15, "CONT": 18, "STOP": 19, "TSTP": 20, "WINCH": 28, "PWR": 30, "RTMIN": 34,
        ]
    }
}

extension Docker {
    /// Whose network a container uses: the argument of `docker run --network`.
    enum NetworkMode: Hashable, Sendable {
        /// Networks of its own.
        case own
        /// The host's.
        case host
        /// None at all.
        case none
        /// That of another container, by its full id.
        case container(String)

        /// Parses the engine's word: a network's name, `host`, `none` or `container:<id>`.
        init(_ text: String) {
            let prefix = "container:"
            if text == "host" {
                self = .host
            } else if text == "none" {
                self = .none
            } else if text.hasPrefix(prefix) {
                self = .container(String(text.dropFirst(prefix.count)))
            } else {
                self = .own
            }
        }
    }

    /// A container's addresses in one network.
    struct NetworkAddresses: Hashable, Sendable {
        /// The container's own: at most one of each family.
        var addresses: Set<IPAddress> = []
        /// The way out, which is the host's address in a network that is a bridge.
        var gateways: Set<IPAddress> = []

        /// The networks in the engine's answer, by name; invalid addresses are left out.
        static func byName(_ wire: [String: WireNetwork?]?) -> [String: NetworkAddresses] {
            (wire ?? [:]).mapValues { network in
                NetworkAddresses(
                    addresses: Set([network?.IPAddress, network?.GlobalIPv6Address].compactMap(address)),
                    gateways: Set([network?.Gateway, network?.IPv6Gateway].compactMap(address)))
            }
        }

        /// Where there is none, the engine writes an empty text, or leaves it out.
        private static func address(_ text: String?) -> IPAddress? {
            text.flatMap { IPAddress($0) }.flatMap { $0.isUnspecified ? nil : $0 }
        }
    }
}

extension Docker.Container {
    /// Its network of this name, which may be the short one of the Compose file; nil where it is not in it.
    func network(named name: String) -> (key: String, value: Docker.NetworkAddresses)? {
        let project = labels["com.docker.compose.project"]
        let names = [name] + (project.map { ["\($0)_\(name)"] } ?? [])
        return names.lazy.compactMap { name in networks[name].map { (name, $0) } }.first
    }

    /// Whether it started after another one, by both start times: its network is then not the other one's.
    func started(after other: Docker.Container) -> Bool {
        let (own, others) = (Self.comparable(started), Self.comparable(other.started))
        return own.second != others.second ? own.second > others.second : own.fraction > others.fraction
    }

    /// RFC 3339 with a fraction of any length: the seconds as text, and nine digits.
    private static func comparable(_ time: String) -> (second: Substring, fraction: String) {
        let fraction = time.dropFirst(20).prefix { $0.isASCII && $0.isNumber }
        return (time.prefix(19), String(fraction) + String(repeating: "0", count: max(0, 9 - fraction.count)))
    }
}

extension Docker.Container {
    /// The purpose of a container that is no service.
    enum Helper: Hashable, Sendable {
        /// `docker compose run` started it, with the labels of a service.
        case oneOff
        /// It is a step of the classic `docker build`, with the labels of the image that is being built.
        case buildStep
        /// It holds the network of a pod (Podman, Kubernetes).
        case pod

        /// How it goes on after "not registered".
        var text: String {
            switch self {
            case .oneOff: "it is a one-off container of docker compose run"
            case .buildStep: "it is a step of docker build"
            case .pod: "it is the infrastructure container of a pod"
            }
        }
    }

    /// What it is for, where that is no service.
    var helper: Helper? {
        if isBuildStep { return .buildStep }
        if labels["com.docker.compose.oneoff"]?.lowercased() == "true" { return .oneOff }
        return isOfPod ? .pod : nil
    }

    /// Podman names these `<pod>-infra`, and their image differs with the version; newer ones have none.
    private var isOfPod: Bool {
        if labels["io.kubernetes.docker.type"] == "podsandbox" { return true }
        let podID = name.hasSuffix("-infra") ? name.dropLast("-infra".count) : ""
        if podID.utf8.count == 12, podID.allSatisfy(\.isHexDigit) { return true }
        guard let image = ImageReference(image) else { return false }
        return image.name == "podman-pause" || ["k8s.gcr.io/pause", "registry.k8s.io/pause"].contains(image.repository)
    }

    /// The service of Docker Swarm whose ports the routing mesh publishes; nil where that is none.
    var serviceOfMesh: String? { networks["ingress"] == nil ? nil : labels["com.docker.swarm.service.name"] }
}

extension Docker.Binding: CustomStringConvertible {
    /// Host address and port, as `docker port` writes them.
    var description: String {
        guard let hostAddress else { return "*:\(hostPort)" }
        return Endpoint(address: hostAddress, port: hostPort).description
    }
}
