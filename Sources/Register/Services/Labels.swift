import Shared

/// What a container's `SERVICE_…` labels and environment variables say; where both say something, the label wins.
///
/// Names are matched without regard to case. A wrong value is reported and counts as absent, so that its field falls
/// back to the default and everything else stays as it is.
struct Labels: Equatable, Sendable {
    /// What is said of one port, or of the container as a whole.
    struct Fields: Equatable, Sendable {
        /// The names of the services that it belongs to; nil where nothing is said.
        var names: [ServiceName]?
        /// Whether a label names no valid service.
        ///
        /// What it is about is left out: under any other name it would get the requests of another service.
        var isMisnamed = false
        /// Whether it is not to be registered.
        var isIgnored = false
        /// Whether UDP ports are registered; nil where nothing is said.
        var registersUDP: Bool?
        /// What client hosts read of it.
        var options = ServiceOptions()
        /// Free words for other programs.
        var tags: [String]?
        /// How the agent itself checks it before it is registered, and afterwards.
        var registerCheck = RegistrationCheck()
    }

    /// What is said of the container.
    private(set) var container = Fields()
    /// What is said of single container ports.
    private(set) var ports: [Port: Fields] = [:]
    /// What is said of the container as such.
    private(set) var whole = ContainerFields()
    /// What was read, by the label's name in capitals: the label as it was written, and its value.
    private(set) var said: [String: Said] = [:]
    /// What was wrong, in the order of the labels' names.
    private(set) var problems: [Problem] = []

    /// A label that is wrong.
    struct Problem: Equatable, Sendable {
        /// Its name, its value and what would be right.
        var text: String
        /// Whether it names a service, so that what it is about is left out.
        var isOfName = false
        /// The container's port that it is about; nil for the container as a whole.
        var port: Port?
    }

    /// A label or variable as somebody wrote it.
    struct Said: Equatable, Sendable {
        /// Its name.
        var label: String
        /// Its value.
        var value: String
        /// Whether it is an environment variable, rather than a label.
        var isVariable: Bool
        /// The container's port that it is about; nil for the container as a whole.
        var port: Port?
        /// What came of it.
        var outcome = Outcome.means("", counts: "")
    }

    /// What came of a label.
    enum Outcome: Equatable, Sendable {
        /// It means this, and counts as this value.
        case means(String, counts: String)
        /// It counts as absent, for this reason.
        case isWrong(String)
    }

    /// Reads all labels and variables of a container.
    init(labels: [String: String], environment: [String: String]) {
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) where Self.isKnown(name) {
            said[name.uppercased()] = Said(label: name, value: value, isVariable: true)
        }
        for (name, value) in labels.sorted(by: { $0.key > $1.key }) where name.uppercased().hasPrefix(Self.prefix) {
            said[name.uppercased()] = Said(label: name, value: value, isVariable: false)
        }
        for (name, said) in said.sorted(by: { $0.key < $1.key }) {
            let field = String(name.dropFirst(Self.prefix.count))
            let (number, ofPort) = Self.splitPort(field) ?? ("", field)
            let (port, outcome) = (Port(text: number), read(field, said.value))
            self.said[name]?.outcome = outcome
            self.said[name]?.port = port
            guard case .isWrong(let reason) = outcome else { continue }
            let isOfName = ofPort == LabelDefinition.name && (number.isEmpty || port != nil)
            let text = "\(said.label)=\(said.value.prefix(100)) is not understood; \(reason)"
            problems.append(Problem(text: text, isOfName: isOfName, port: port))
        }
    }

    /// What all labels begin with.
    static let prefix = "SERVICE_"

    /// Whether a variable is one of ours: applications have `SERVICE_…` variables of their own.
    private static func isKnown(_ variable: String) -> Bool {
        let name = variable.uppercased()
        guard name.hasPrefix(prefix) else { return false }
        let field = String(name.dropFirst(prefix.count))
        guard let (_, ofPort) = splitPort(field) else {
            return LabelDefinition.named[field] != nil || RegistratorLabel.named[field] != nil
        }
        return LabelDefinition.named[ofPort]?.isOfPort == true || RegistratorLabel.named[ofPort] != nil
    }

    /// Splits `8000_NAME` into port and field; nil if it does not begin with a number.
    private static func splitPort(_ field: some StringProtocol) -> (port: Substring, field: String)? {
        let field = Substring(field)
        guard let underscore = field.firstIndex(of: "_") else { return nil }
        let number = field[..<underscore]
        guard !number.isEmpty, number.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
        return (number, String(field[field.index(after: underscore)...]))
    }

    private mutating func read(_ field: String, _ value: String) -> Outcome {
        if let (number, field) = Self.splitPort(field) {
            guard let port = Port(text: number) else { return .isWrong("\(number) is not \(Port.grammar)") }
            guard let label = LabelDefinition.named[field] else {
                let prefix = "\(Self.prefix)\(number)_"
                return .isWrong(unknown(field, value, among: LabelDefinition.portNames, prefix: prefix))
            }
            guard label.isOfPort else { return .isWrong("\(Self.prefix)\(field) cannot be said of one port") }
            let before = ports[port] ?? Fields()
            var fields = before
            let known = label.set(value, &fields, &whole)
            if known != nil || fields != before { ports[port] = fields }
            guard let known else { return .isWrong("expected \(label.grammar)\(label.otherwise)") }
            return .means("of port \(port): \(label.description)", counts: known)
        }
        guard let label = LabelDefinition.named[field] else {
            return .isWrong(unknown(field, value, among: LabelDefinition.all.map(\.name), prefix: Self.prefix))
        }
        guard let known = label.set(value, &container, &whole) else {
            return .isWrong("expected \(label.grammar)\(label.otherwise)")
        }
        return .means(label.description, counts: known)
    }

    private func unknown(_ field: String, _ value: String, among names: [String], prefix: String) -> String {
        if let label = RegistratorLabel.named[field] { return label.advice(value, prefix) }
        // Nobody reads hundreds of suggestions, and each one is compared with all names.
        guard problems.count < Self.mostSuggestions else { return "there is no such label" }
        let nearest = Suggestion.nearest(to: field, among: names.map { $0.lowercased() })
        return "there is no such label" + (nearest.map { "; did you mean \(prefix)\($0.uppercased())?" } ?? "")
    }

    private static let mostSuggestions = 32
}

extension Labels {
    /// What is said of a port: its own labels, then the container's as far as they are about this port.
    ///
    /// - Parameter isPrimary: whether it carries the service's bare name, which the container's labels are about.
    func fields(of port: Port, isPrimary: Bool) -> Fields {
        let own = ports[port] ?? Fields()
        var fields = isPrimary ? container : Fields()
        if !isPrimary {
            for field in ServiceOptions.fields where field.scope == .host {
                field.copy(container.options, &fields.options)
            }
        }
        (fields.names, fields.isMisnamed) = (own.names, own.isMisnamed)
        fields.isIgnored = own.isIgnored
        fields.options = fields.options.overridden(by: own.options)
        fields.tags = own.tags ?? container.tags
        fields.registerCheck = fields.registerCheck.overridden(by: own.registerCheck)
        return fields
    }
}

extension Labels {
    /// Whether a label names the container, or one of its ports, also with a name that is wrong.
    var areNaming: Bool { ([container] + ports.values).contains { $0.names != nil || $0.isMisnamed } }
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
