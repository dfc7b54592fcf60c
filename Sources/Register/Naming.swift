import Shared

/// Which services a container's ports belong to.
struct Naming {
    private let rules: Rules
    private let container: Docker.Container
    private let labels: Labels

    /// Takes what names are made of.
    init(_ rules: Rules, _ container: Docker.Container, _ labels: Labels) {
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
        guard labels.container.names != nil || !rules.isExplicit else {
            return Outcome(reason: "port \(port) not registered: EXPLICIT is on and no SERVICE_NAME label names it")
        }
        guard let base = labels.container.names ?? standard.map({ [$0] }) else {
            let image = container.image.prefix(100)
            return Outcome(
                reason: "not registered: its image \(image) has no name; set the label SERVICE_NAME", isWarning: true,
                isOfWhole: true)
        }
        guard !isPrimary else { return Outcome(names: base) }
        let names = base.compactMap { $0.suffixed(by: port) }
        guard names.count < base.count else { return Outcome(names: names) }
        let long = base.first { $0.suffixed(by: port) == nil }.map { "\($0)-\(port)" } ?? ""
        return Outcome(
            names: names, reason: "port \(port) not registered: the name \(long) is too long", isWarning: true)
    }

    /// The name that counts without a label.
    private var standard: ServiceName? {
        if rules.nameSource == .compose,
            let name = container.labels["com.docker.compose.service"].flatMap({
                ServiceName($0)
            })
        {
            return name
        }
        return ImageReference(container.image).flatMap { ServiceName($0.name) }
    }
}
