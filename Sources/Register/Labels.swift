import Shared

/// What a container's `SERVICE_…` labels and environment variables say; where both say something, the label wins.
///
/// Names are matched without regard to case. A wrong value is reported and counts as absent, so that its field falls
/// back to the default and everything else stays as it is.
struct Labels: Equatable, Sendable {
    /// What is said of one port, or of the container as a whole.
    struct Fields: Equatable, Sendable {
        /// The service's name.
        var name: ServiceName?
        /// Whether it is not to be registered.
        var isIgnored = false
        /// The port that the service listens on at consumers.
        var listenerPort: Port?
        /// Free words for consumers.
        var tags: [String]?
    }

    /// What is said of the container.
    private(set) var container = Fields()
    /// What is said of single container ports.
    private(set) var ports: [Port: Fields] = [:]
    /// The container port that carries the service's bare name.
    private(set) var primaryPort: Port?
    /// What was wrong, each with the label's name, its value and what would be right.
    private(set) var problems: [String] = []

    /// Reads all labels and variables of a container.
    init(labels: [String: String], environment: [String: String]) {
        var said: [String: (label: String, value: String)] = [:]
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) where Self.isKnown(name) {
            said[name.uppercased()] = (name, value)
        }
        for (name, value) in labels.sorted(by: { $0.key > $1.key }) where name.uppercased().hasPrefix(Self.prefix) {
            said[name.uppercased()] = (name, value)
        }
        for (name, (label, value)) in said.sorted(by: { $0.key < $1.key }) {
            read(String(name.dropFirst(Self.prefix.count)), label, value)
        }
    }

    private static let prefix = "SERVICE_"
    private static let portFields: Set<String> = ["NAME", "IGNORE", "PORT", "TAGS"]
    private static let containerFields = portFields.union(["PRIMARY_PORT"])

    /// Whether a variable is one of ours: applications have `SERVICE_…` variables of their own.
    private static func isKnown(_ variable: String) -> Bool {
        let name = variable.uppercased()
        guard name.hasPrefix(prefix) else { return false }
        let field = String(name.dropFirst(prefix.count))
        return containerFields.contains(field) || splitPort(field).map { portFields.contains($0.field) } == true
    }

    /// Splits `8000_NAME` into port and field; nil where no number stands in front.
    private static func splitPort(_ field: String) -> (port: Substring, field: String)? {
        guard let underscore = field.firstIndex(of: "_") else { return nil }
        let number = field[..<underscore]
        guard !number.isEmpty, number.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
        return (number, String(field[field.index(after: underscore)...]))
    }

    private mutating func read(_ field: String, _ label: String, _ value: String) {
        if let (number, field) = Self.splitPort(field) {
            guard let port = Port(text: number), Self.portFields.contains(field) else {
                return report(
                    label, value, "SERVICE_<port>_ followed by \(Self.portFields.sorted().joined(separator: ", "))")
            }
            if let expected = Self.read(field, value, into: &ports[port, default: Fields()]) {
                report(label, value, expected)
            }
        } else if field == "PRIMARY_PORT" {
            primaryPort = Port(text: value)
            if primaryPort == nil { report(label, value, Port.expected) }
        } else if Self.portFields.contains(field) {
            if let expected = Self.read(field, value, into: &container) { report(label, value, expected) }
        } else {
            report(
                label, value, "one of \(Self.containerFields.sorted().map { Self.prefix + $0 }.joined(separator: ", "))"
            )
        }
    }

    /// Reads one field; where the value is wrong, returns what would be right.
    private static func read(_ field: String, _ value: String, into fields: inout Fields) -> String? {
        switch field {
        case "NAME":
            fields.name = ServiceName(value)
            return fields.name == nil ? ServiceName.expected : nil
        case "IGNORE":
            guard let isOn = truth(value) else { return "true or false" }
            fields.isIgnored = isOn
        case "PORT":
            fields.listenerPort = Port(text: value)
            return fields.listenerPort == nil ? Port.expected : nil
        default:
            guard value.utf8.count <= longestTags else { return "at most \(longestTags) bytes" }
            fields.tags = value.split(separator: ",").map { String($0.trimmingSpaces()) }.filter { !$0.isEmpty }
        }
        return nil
    }

    /// Bytes of the tags of one port: they are in every entry's meta.
    private static let longestTags = 1024

    /// What a value of a switch means; empty counts as on, as a label without value is meant so.
    private static func truth(_ value: String) -> Bool? {
        switch value.lowercased() {
        case "", "1", "true", "yes", "on": true
        case "0", "false", "no", "off": false
        default: nil
        }
    }

    private mutating func report(_ label: String, _ value: String, _ expected: String) {
        problems.append("\(label)=\(value.prefix(100)) is not understood; expected \(expected)")
    }
}

extension Substring {
    /// The text without spaces around it.
    fileprivate func trimmingSpaces() -> Substring {
        let start = drop { $0 == " " }
        guard let last = start.lastIndex(where: { $0 != " " }) else { return start }
        return start[...last]
    }
}
