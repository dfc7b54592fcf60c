import Shared

/// One label: its name without `SERVICE_`, its grammar and what it means; the README's table is made of these.
struct Label: Sendable {
    /// The name in capitals, without `SERVICE_`.
    let name: String
    /// Whether it may also be said of one port: `SERVICE_<port>_NAME`.
    let isOfPort: Bool
    /// What a value may be, for messages.
    let expected: String
    /// What counts where nothing is said, for the documentation.
    let standard: String
    /// What it means, for the documentation.
    let meaning: String
    /// Takes a value, and gives it back as it was understood; nil where it is not what is ``expected``.
    let set: @Sendable (String, inout Labels.Fields, inout Labels.ContainerFields) -> String?

    /// All labels, in the order of the documentation.
    static let all: [Label] = names + options + checks + containers

    /// The labels by name.
    static let named = Dictionary(all.map { ($0.name, $0) }) { first, _ in first }

    /// The names of those that may be said of one port.
    static let portNames = all.filter(\.isOfPort).map(\.name)

    /// The README's table.
    static var markdownTable: String {
        let rows = all.map { label in
            let cells = [
                "`\(Labels.prefix)\(label.name)`", label.isOfPort ? "yes" : "", label.expected, label.standard,
                label.meaning,
            ]
            return "| " + cells.joined(separator: " | ") + " |"
        }
        let head = ["| label | of a port | allowed | default | what it says |", "|---|---|---|---|---|"]
        return (head + rows).joined(separator: "\n")
    }
}

extension Label {
    private static let names: [Label] = [
        Label(
            name: "NAME", isOfPort: true,
            expected: "up to \(mostNames) names, separated by commas: \(ServiceName.expected)",
            standard: "the last part of the image's name",
            meaning: "the service's name; several names make the container a part of several services"
        ) { text, fields, _ in
            let names = text.split(separator: ",", omittingEmptySubsequences: false)
                .map { ServiceName($0.trimmingSpaces()) }
            guard !names.isEmpty, names.count <= mostNames, !names.contains(nil) else { return nil }
            let known = Array(Set(names.compactMap(\.self))).sorted()
            fields.names = known
            return known.map(\.text).joined(separator: ", ")
        },
        Label(
            name: "IGNORE", isOfPort: true, expected: Truth.expected, standard: "false",
            meaning: "whether the container, or the port, is left out"
        ) { text, fields, _ in
            guard let isOn = Truth.of(text) else { return nil }
            fields.isIgnored = isOn
            return "\(isOn)"
        },
        Label(
            name: "TAGS", isOfPort: true, expected: "words, separated by commas, at most \(longestTags) bytes",
            standard: "none", meaning: "kept in the entry's meta for whoever reads it; they mean nothing to the agents"
        ) { text, fields, _ in
            guard text.utf8.count <= longestTags else { return nil }
            let tags = text.split(separator: ",").map { String($0.trimmingSpaces()) }.filter { !$0.isEmpty }
            fields.tags = tags
            return tags.isEmpty ? "none" : tags.joined(separator: ", ")
        },
    ]

    private static let options: [Label] = ServiceOptions.fields.map { field in
        Label(
            name: field.name.uppercased(), isOfPort: true, expected: field.expected, standard: field.standard,
            meaning: field.meaning
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
