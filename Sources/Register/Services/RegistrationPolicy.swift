import Shared

/// What is registered, and under which names, as far as settings say it.
struct RegistrationPolicy: Equatable, Sendable {
    /// Where a name comes from that no label gives.
    enum NameSource: String, CaseIterable, Sendable {
        /// The last part of the image's name.
        case image
        /// The name of the service in the Compose file; of other containers, that of the image.
        case compose
        /// The same with the name of the Compose project in front: `shop-frontend`.
        case composeProject = "compose-project"
    }

    /// Whether only containers and ports with a name label are registered.
    var isExplicit = false
    /// Where names come from.
    var nameSource = NameSource.image
    /// The zone of all endpoints that no label puts elsewhere.
    var zone: Zone?
    /// Whether containers are registered at their own addresses, rather than at the host's.
    var isInternal = false
    /// Whether published UDP ports are registered where no label says otherwise.
    var registersUDP = false
    /// The network whose address that is, for containers in several that no label chooses from.
    var network: String?
}

extension RegistrationPolicy {
    private static let explicit = Setting(
        flag: "--explicit", variable: "EXPLICIT",
        help: "register only containers and ports that a SERVICE_NAME or SERVICE_<port>_NAME label names")
    private static let nameFrom = Setting(
        flag: "--name-from", variable: "NAME_FROM", placeholder: "SOURCE", fallback: "image",
        help: "where a service's name comes from without a label: image, compose (the service in the Compose file), or "
            + "compose-project (project and service, such as shop-frontend)")
    private static let zoneSetting = Setting(
        flag: "--zone", variable: "ZONE", placeholder: "NAME",
        help: "zone of this host, such as eu-1a; client hosts with the same ZONE prefer its endpoints")

    private static let internalSetting = Setting(
        flag: "--internal", variable: "INTERNAL",
        help: "register the containers' own addresses and ports instead of this host's and the published ones")
    private static let internalNetwork = Setting(
        flag: "--internal-network", variable: "INTERNAL_NETWORK", placeholder: "NAME",
        help: "with INTERNAL: the network whose address is registered, where no SERVICE_NETWORK label chooses one")

    private static let udp = Setting(
        flag: "--register-udp", variable: "REGISTER_UDP",
        help: "register published UDP ports too, as SERVICE-PORT-udp: HAProxy does not forward them, outputs have them")

    /// All of them, in the order of the help.
    static let settings = [explicit, nameFrom, zoneSetting, internalSetting, internalNetwork, udp]

    /// Reads them; nil where something is wrong, which is then recorded.
    init?(_ reading: inout ParsedSettings) {
        isExplicit = reading.isOn(Self.explicit)
        zone = reading.value(Self.zoneSetting, "a name: \(ServiceName.grammar)") { Zone($0) }
        isInternal = reading.isOn(Self.internalSetting)
        registersUDP = reading.isOn(Self.udp)
        network = reading.value(Self.internalNetwork, "the name of a network") {
            (1...256).contains($0.utf8.count) ? $0 : nil
        }
        guard let source: NameSource = reading.choice(Self.nameFrom) else { return nil }
        nameSource = source
    }
}

/// Which services a container's ports belong to.
struct ServiceNaming {
    private let rules: RegistrationPolicy
    private let container: Docker.Container
    private let labels: Labels

    /// Collects what names are made of.
    init(_ rules: RegistrationPolicy, _ container: Docker.Container, _ labels: Labels) {
        self.rules = rules
        self.container = container
        self.labels = labels
    }

    /// What came of it.
    struct Outcome: Equatable {
        /// The services, sorted.
        var names: [ServiceName] = []
        /// Why there are none, or fewer than were asked for.
        var reason: String?
        /// Whether somebody has to change something.
        var isWarning = false
        /// Whether the reason is about the container as a whole.
        var isOfWhole = false
    }

    /// The services of a port: those of its own label, or the container's, with `-<port>` where it is not the primary.
    func names(of port: Port, isPrimary: Bool) -> Outcome {
        if let own = labels.ports[port]?.names { return Outcome(names: own) }
        // Why is said of the label.
        if labels.ports[port]?.isMisnamed == true || labels.container.isMisnamed { return Outcome() }
        guard labels.container.names != nil || container.helper == nil else {
            return Outcome(
                reason: "port \(port) not registered: no label names it, and \(container.helper?.text ?? "")")
        }
        guard labels.container.names != nil || !rules.isExplicit else {
            return Outcome(reason: "port \(port) not registered: EXPLICIT is on and no SERVICE_NAME label names it")
        }
        guard let base = labels.container.names ?? standard.map({ [$0] }) else {
            return Outcome(
                reason: "not registered: \(unnamed); set the label SERVICE_NAME", isWarning: true, isOfWhole: true)
        }
        guard !isPrimary else { return Outcome(names: base) }
        let names = base.compactMap { $0.suffixed(by: port) }
        guard names.count < base.count else { return Outcome(names: names) }
        let long = base.first { $0.suffixed(by: port) == nil }.map { "\($0)-\(port)" } ?? ""
        return Outcome(
            names: names, reason: "port \(port) not registered: the name \(long) is too long", isWarning: true)
    }

    /// The name that counts without a label; nil where that is no valid one.
    private var standard: ServiceName? {
        if let composed { return ServiceName(composed) }
        return ImageReference(container.image).flatMap { ServiceName($0.name) }
    }

    /// The name of the Compose file, where names come from there; nil for a container that is not of one.
    private var composed: String? {
        guard rules.nameSource != .image, let service = container.labels["com.docker.compose.service"] else {
            return nil
        }
        guard rules.nameSource == .composeProject else { return service }
        return container.labels["com.docker.compose.project"].map { "\($0)-\(service)" } ?? service
    }

    private var unnamed: String {
        if let composed { return "\(composed.prefix(100)) of the Compose file is no valid service name" }
        return "its image \(container.image.prefix(100)) has no name"
    }
}
