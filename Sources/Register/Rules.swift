import Shared

/// What is registered, and under which names, as far as settings say it.
struct Rules: Equatable, Sendable {
    /// Where a name comes from that no label gives.
    enum NameSource: String, CaseIterable, Sendable {
        /// The last part of the image's name.
        case image
        /// The name of the service in the Compose file; of other containers, that of the image.
        case compose
    }

    /// Whether only containers and ports with a name label are registered.
    var isExplicit = false
    /// Where names come from.
    var nameSource = NameSource.image
    /// The zone of all endpoints that no label puts elsewhere.
    var zone: Zone?
    /// Whether containers are registered at their own addresses, rather than at the host's.
    var isInternal = false
    /// The network whose address that is, for containers in several that no label chooses from.
    var network: String?
}

extension Rules {
    private static let explicit = Setting(
        flag: "--explicit", variable: "EXPLICIT",
        help: "register only containers and ports that a SERVICE_NAME or SERVICE_<port>_NAME label names")
    private static let nameFrom = Setting(
        flag: "--name-from", variable: "NAME_FROM", placeholder: "SOURCE", fallback: "image",
        help: "where a service's name comes from without a label: image, or compose (the service in the Compose file)")
    private static let zoneSetting = Setting(
        flag: "--zone", variable: "ZONE", placeholder: "NAME",
        help: "where this host is, such as eu-1a; consumers with the same ZONE prefer its endpoints")

    private static let internalSetting = Setting(
        flag: "--internal", variable: "INTERNAL",
        help: "register the containers' own addresses and ports instead of this host's and the published ones")
    private static let internalNetwork = Setting(
        flag: "--internal-network", variable: "INTERNAL_NETWORK", placeholder: "NAME",
        help: "with INTERNAL: the network whose address is registered, where no SERVICE_NETWORK label chooses one")

    /// All of them, in the order of the help.
    static let settings = [explicit, nameFrom, zoneSetting, internalSetting, internalNetwork]

    /// Reads them; nil where something is wrong, which is then recorded.
    init?(_ reading: inout Reading) {
        isExplicit = reading.isOn(Self.explicit)
        zone = reading.value(Self.zoneSetting, "a name: \(ServiceName.expected)") { Zone($0) }
        isInternal = reading.isOn(Self.internalSetting)
        network = reading.value(Self.internalNetwork, "the name of a network") {
            (1...256).contains($0.utf8.count) ? $0 : nil
        }
        guard let source: NameSource = reading.choice(Self.nameFrom) else { return nil }
        nameSource = source
    }
}
