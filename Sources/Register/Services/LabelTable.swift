import Shared

/// One label: its name without `SERVICE_`, its grammar and what it means; the README's table is made of these.
struct LabelDefinition: Sendable {
    /// The name in capitals, without `SERVICE_`.
    let name: String
    /// Whether it may also be said of one port: `SERVICE_<port>_NAME`.
    let isOfPort: Bool
    /// What a value may be, for messages and the documentation.
    let grammar: String
    /// What counts where nothing is configured, for the documentation.
    let defaultText: String
    /// What it means, for the documentation.
    let description: String
    /// What is so where the value is wrong, if that is not the default.
    var otherwise = ""
    /// Sets a value, and gives it back as it was understood; nil where it is not what is ``grammar``.
    let set: @Sendable (String, inout Labels.Fields, inout Labels.ContainerFields) -> String?

    /// All labels, in the order of the documentation.
    static let all: [LabelDefinition] = names + options + checks + containers

    /// The labels by name.
    static let named = Dictionary(all.map { ($0.name, $0) }) { first, _ in first }

    /// The name of the one that names services.
    static let name = "NAME"

    /// The names of those that may be said of one port.
    static let portNames = all.filter(\.isOfPort).map(\.name)

    /// The README's table.
    static var markdownTable: String {
        let rows = all.map { label in
            let cells = [
                "`\(Labels.prefix)\(label.name)`", label.isOfPort ? "yes" : "", label.grammar, label.defaultText,
                label.description,
            ]
            return "| " + cells.joined(separator: " | ") + " |"
        }
        let head = ["| label | per port | values | default | description |", "|---|---|---|---|---|"]
        return (head + rows).joined(separator: "\n")
    }
}

extension LabelDefinition {
    private static let names: [LabelDefinition] = [
        LabelDefinition(
            name: name, isOfPort: true,
            grammar: "up to \(mostNames) names, separated by commas: \(ServiceName.grammar)",
            defaultText: "the last part of the image's name",
            description: "the service's name; several names make the container a part of several services"
        ) { text, fields, _ in
            let names = text.split(separator: ",", omittingEmptySubsequences: false)
                .map { ServiceName($0.trimmingSpaces()) }
            fields.isMisnamed = names.isEmpty || names.count > mostNames || names.contains(nil)
            guard !fields.isMisnamed else { return nil }
            let known = Array(Set(names.compactMap(\.self))).sorted()
            fields.names = known
            return known.map(\.text).joined(separator: ", ")
        },
        LabelDefinition(
            name: "IGNORE", isOfPort: true, grammar: BooleanText.grammar, defaultText: "false",
            description: "whether the container, or the port, is left out", otherwise: "; it counts as true"
        ) { text, fields, _ in
            let isOn = BooleanText.of(text)
            // Who writes it wants something left out, whatever the word for that.
            fields.isIgnored = isOn ?? true
            return isOn?.description
        },
        LabelDefinition(
            name: "UDP", isOfPort: true, grammar: BooleanText.grammar, defaultText: "`REGISTER_UDP`",
            description: "whether the container's published UDP ports, or this one, are registered"
        ) { text, fields, _ in
            guard let isOn = BooleanText.of(text) else { return nil }
            fields.registersUDP = isOn
            return isOn.description
        },
        LabelDefinition(
            name: "TAGS", isOfPort: true, grammar: "words, separated by commas, at most \(longestTags) bytes",
            defaultText: "none",
            description: "stored in the entry's meta for other programs; the agents ignore them"
        ) { text, fields, _ in
            guard text.utf8.count <= longestTags else { return nil }
            let tags = text.split(separator: ",").map { String($0.trimmingSpaces()) }.filter { !$0.isEmpty }
            fields.tags = tags
            return tags.isEmpty ? "none" : tags.joined(separator: ", ")
        },
    ]

    private static let options: [LabelDefinition] = ServiceOptions.fields.map { field in
        LabelDefinition(
            name: field.name.uppercased(), isOfPort: true, grammar: field.grammar, defaultText: field.defaultText,
            description: field.description
        ) { text, fields, _ in field.set(text, &fields.options) ? field.text(fields.options) : nil }
    }

    /// Bytes of the tags of one port: they are in every entry's meta.
    private static let longestTags = 1024
    /// Names of one port.
    private static let mostNames = 16
}

extension Substring {
    /// The text without spaces around it.
    fileprivate func trimmingSpaces() -> Substring {
        let start = drop { $0 == " " }
        guard let last = start.lastIndex(where: { $0 != " " }) else { return start }
        return start[...last]
    }
}

extension LabelDefinition {
    /// The labels about the agent's own checks.
    static let checks: [LabelDefinition] = [
        LabelDefinition(
            name: "REGISTER_CHECK", isOfPort: true, grammar: ServiceCheck.grammar, defaultText: "none",
            description: "what docker-register tries itself before it registers the port, and while it is registered"
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
    static let containers: [LabelDefinition] = [
        LabelDefinition(
            name: "PRIMARY_PORT", isOfPort: false, grammar: Port.grammar, defaultText: "the lowest",
            description: "which of several ports carries the service's bare name"
        ) { text, _, container in
            guard let port = Port(text: text) else { return nil }
            container.primaryPort = port
            return port.description
        },
        LabelDefinition(
            name: "HEALTH", isOfPort: false, grammar: "docker or ignore", defaultText: "docker",
            description: "whether a container with a HEALTHCHECK is registered only while it is healthy"
        ) { text, _, container in
            guard let health = Labels.Health(rawValue: text.lowercased()) else { return nil }
            container.health = health
            return health.rawValue
        },
        LabelDefinition(
            name: "NETWORK", isOfPort: false, grammar: "the name of one of its networks",
            defaultText: "`INTERNAL_NETWORK`", description: "with `INTERNAL`: the network whose address is registered"
        ) { text, _, container in
            guard (1...256).contains(text.utf8.count) else { return nil }
            container.network = text
            return text
        },
    ]

    private static func time(
        _ name: String, _ range: ClosedRange<Duration>, _ defaultText: String, _ description: String,
        _ set: @escaping @Sendable (inout Labels.Fields, Duration) -> Void
    ) -> LabelDefinition {
        let (least, most) = (DurationText.text(range.lowerBound), DurationText.text(range.upperBound))
        let expected = "a time from \(least) to \(most), such as 15s or 500ms"
        return LabelDefinition(
            name: name, isOfPort: true, grammar: expected, defaultText: defaultText, description: description
        ) {
            text, fields, _ in
            guard let time = DurationText.parse(text), range.contains(time) else { return nil }
            set(&fields, time)
            return DurationText.text(time)
        }
    }

    private static func count(
        _ name: String, _ defaultText: String, _ description: String,
        _ set: @escaping @Sendable (inout Labels.Fields, Int) -> Void
    ) -> LabelDefinition {
        let expected = "a whole number from 1 to 100"
        return LabelDefinition(
            name: name, isOfPort: true, grammar: expected, defaultText: defaultText, description: description
        ) {
            text, fields, _ in
            guard let number = Int(text), (1...100).contains(number) else { return nil }
            set(&fields, number)
            return number.description
        }
    }
}
