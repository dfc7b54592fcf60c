import Shared

/// How the agent itself checks a port before it registers it, and while it is registered.
///
/// nil means that nothing is said.
struct RegisterCheck: Hashable, Sendable {
    /// What is tried; nil or ``ServiceCheck/none`` for no check.
    var check: ServiceCheck?
    /// Between two checks.
    var interval: Duration?
    /// The limit of one check.
    var timeout: Duration?
    /// How many checks in a row have to pass before the port is registered.
    var rise: Int?
    /// How many failures in a row withdraw it.
    var fall: Int?

    /// This check, with what `other` says instead where it says something.
    func overridden(by other: RegisterCheck) -> RegisterCheck {
        RegisterCheck(
            check: other.check ?? check, interval: other.interval ?? interval, timeout: other.timeout ?? timeout,
            rise: other.rise ?? rise, fall: other.fall ?? fall)
    }
}

extension Labels {
    /// What is said of a container as such, rather than of its ports.
    struct ContainerFields: Equatable, Sendable {
        /// The container port that carries the service's bare name; nil for the lowest.
        var primaryPort: Port?
        /// The network whose address is registered with `--internal`; nil for the setting's.
        var network: String?
        /// Whether its HEALTHCHECK decides.
        var health = Health.docker
    }

    /// What a container's HEALTHCHECK is used for.
    enum Health: String, CaseIterable, Sendable {
        /// It is registered while it is healthy.
        case docker
        /// It is registered whatever its state of health.
        case ignore
    }
}

extension Label {
    /// The labels about the agent's own checks.
    static let checks: [Label] = [
        Label(
            name: "REGISTER_CHECK", isOfPort: true, expected: ServiceCheck.expected, standard: "none",
            meaning: "what docker-register tries itself before it registers the port, and while it is registered"
        ) { text, fields, _ in
            guard let check = ServiceCheck(text) else { return nil }
            fields.registerCheck.check = check
            return check.description
        },
        time("REGISTER_CHECK_INTERVAL", .milliseconds(100)...(.seconds(3600)), "2s", "between two of its checks") {
            $0.registerCheck.interval = $1
        },
        time("REGISTER_CHECK_TIMEOUT", .milliseconds(50)...(.seconds(60)), "1s", "the limit of one of its checks") {
            $0.registerCheck.timeout = $1
        },
        count("REGISTER_CHECK_RISE", "1", "how many of its checks in a row have to pass before it registers the port") {
            $0.registerCheck.rise = $1
        },
        count("REGISTER_CHECK_FALL", "3", "how many of its checks in a row have to fail before it withdraws it") {
            $0.registerCheck.fall = $1
        },
    ]

    /// The labels about a container as such.
    static let containers: [Label] = [
        Label(
            name: "PRIMARY_PORT", isOfPort: false, expected: Port.expected, standard: "the lowest",
            meaning: "which of several ports carries the service's bare name"
        ) { text, _, container in
            guard let port = Port(text: text) else { return nil }
            container.primaryPort = port
            return port.description
        },
        Label(
            name: "HEALTH", isOfPort: false, expected: "docker or ignore", standard: "docker",
            meaning: "whether a container with a HEALTHCHECK is registered only while it is healthy"
        ) { text, _, container in
            guard let health = Labels.Health(rawValue: text.lowercased()) else { return nil }
            container.health = health
            return health.rawValue
        },
        Label(
            name: "NETWORK", isOfPort: false, expected: "the name of one of its networks",
            standard: "`INTERNAL_NETWORK`", meaning: "with `INTERNAL`: the network whose address is registered"
        ) { text, _, container in
            guard (1...256).contains(text.utf8.count) else { return nil }
            container.network = text
            return text
        },
    ]

    private static func time(
        _ name: String, _ range: ClosedRange<Duration>, _ standard: String, _ meaning: String,
        _ take: @escaping @Sendable (inout Labels.Fields, Duration) -> Void
    ) -> Label {
        let (least, most) = (DurationText.text(range.lowerBound), DurationText.text(range.upperBound))
        let expected = "a time from \(least) to \(most), such as 15s or 500ms"
        return Label(name: name, isOfPort: true, expected: expected, standard: standard, meaning: meaning) {
            text, fields, _ in
            guard let time = DurationText.parse(text), range.contains(time) else { return nil }
            take(&fields, time)
            return DurationText.text(time)
        }
    }

    private static func count(
        _ name: String, _ standard: String, _ meaning: String,
        _ take: @escaping @Sendable (inout Labels.Fields, Int) -> Void
    ) -> Label {
        let expected = "a whole number from 1 to 100"
        return Label(name: name, isOfPort: true, expected: expected, standard: standard, meaning: meaning) {
            text, fields, _ in
            guard let number = Int(text), (1...100).contains(number) else { return nil }
            take(&fields, number)
            return number.description
        }
    }
}
