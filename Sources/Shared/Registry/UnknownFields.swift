import FoundationEssentials

/// The fields of a JSON object that this version does not know, each with the one that may be meant.
///
/// The registry contract has readers ignore them, as a newer agent may have written them; to a person who has misspelt one
/// they are worth a word.
package enum UnknownFields {
    /// The most that are named.
    private static let most = 5

    /// Those of a ``ServiceConfig``.
    package static func ofConfig(_ json: some Sequence<UInt8>) -> [String] {
        problems(json, known: ServiceOptions.fields.map(\.name) + ["confirm"])
    }

    /// Those of a ``Meta``.
    package static func ofMeta(_ json: some Sequence<UInt8>) -> [String] {
        problems(json, known: ServiceOptions.fields.map(\.name) + Meta.ownFields)
    }

    private static func problems(_ json: some Sequence<UInt8>, known: [String]) -> [String] {
        guard let names = try? JSONDecoder().decode(Names.self, from: Data(json)).names else { return [] }
        return problems(Set(names), known: known)
    }

    /// Those among names.
    static func problems(_ names: Set<String>, known: [String]) -> [String] {
        let unknown = names.subtracting(known).sorted()
        let told = unknown.prefix(most).map { name in
            // People may write the name of a label.
            let typed = name.lowercased()
            let meant = typed.hasPrefix("service_") ? typed.dropFirst("service_".count) : typed[...]
            return "\(name.prefix(64)): there is no such field" + Suggestion.text(for: String(meant), among: known)
        }
        let more = unknown.count - told.count
        return told + (more > 0 ? ["\(more) further unknown fields"] : [])
    }

    private struct Names: Decodable {
        let names: [String]

        init(from decoder: any Decoder) throws {
            names = try LenientDecoder(decoder).names
        }
    }
}
