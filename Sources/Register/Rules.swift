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

    /// All of them, in the order of the help.
    static let settings = [explicit, nameFrom, zoneSetting]

    /// Reads them; nil where something is wrong, which is then recorded.
    init?(_ reading: inout Reading) {
        isExplicit = reading.isOn(Self.explicit)
        zone = reading.value(Self.zoneSetting, "a name: \(ServiceName.expected)") { Zone($0) }
        guard let source: NameSource = reading.choice(Self.nameFrom) else { return nil }
        nameSource = source
    }
}
