import Shared

/// A text with places for what is known only on the host: `/infrastructure/db/{host}/ip`.
///
/// A placeholder is a word in braces: `{host}`, `{address}`, or a constant of the file. Braces around anything else
/// mean themselves, so that JSON may be written as it is.
struct KeyTemplate: Hashable, Sendable {
    private enum Part: Hashable {
        case literal(String)
        case host
        case address
    }

    private var parts: [Part] = []

    /// A word in braces that has no meaning.
    struct UnknownPlaceholder: Error, Equatable {
        /// The word.
        var name: String
        /// Those that there are.
        var known: [String]
    }

    /// Parses a text, and inserts the constants.
    init(_ text: String, constants: [String: String]) throws(UnknownPlaceholder) {
        var rest = text[...]
        while let opening = rest.firstIndex(of: "{") {
            append(rest[..<opening])
            let name = rest[rest.index(after: opening)...].prefix { Self.isOfName($0) }
            let end = rest.index(opening, offsetBy: name.count + 1)
            guard !name.isEmpty, end < rest.endIndex, rest[end] == "}" else {
                append("{")
                rest = rest[rest.index(after: opening)...]
                continue
            }
            switch String(name) {
            case "host": parts.append(.host)
            case "address": parts.append(.address)
            case let name:
                guard let value = constants[name] else {
                    throw UnknownPlaceholder(name: name, known: Self.reserved + constants.keys.sorted())
                }
                append(value[...])
            }
            rest = rest[rest.index(after: end)...]
        }
        append(rest)
    }

    /// The placeholders that no constant may be named like.
    static let reserved = ["host", "address"]

    /// Whether a constant may be named so.
    static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count) && text.allSatisfy(isOfName) && !reserved.contains(text)
    }

    /// What a constant's name may be, for messages.
    static let expectedName = "letters, digits, '_' and '-', at most 64, and neither host nor address"

    private static func isOfName(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber || "_-".contains(character))
    }

    private mutating func append(_ text: some StringProtocol) {
        if case .literal(let before)? = parts.last {
            parts[parts.count - 1] = .literal(before + text)
        } else if !text.isEmpty {
            parts.append(.literal(String(text)))
        }
    }

    /// The text on a host.
    func text(on owner: Owner) -> String {
        parts.map { part in
            switch part {
            case .literal(let text): text
            case .host: owner.hostWord
            case .address: owner.address.text
            }
        }.joined()
    }

    /// What it begins with on every host.
    var beginning: String { if case .literal(let text)? = parts.first { text } else { "" } }

    /// Whether it is the same on every host.
    var isConstant: Bool { parts.isEmpty || parts == [.literal(beginning)] }

    /// What it consists of besides host and address, with an `x` for each of these.
    var shape: String {
        parts.map { if case .literal(let text) = $0 { text } else { "x" } }.joined()
    }

    /// Its maximum length in bytes.
    var mostBytes: Int {
        parts.reduce(0) { sum, part in
            switch part {
            case .literal(let text): sum + text.utf8.count
            case .host: sum + Owner.longestHost
            // An IPv6 address with an IPv4 address in it.
            case .address: sum + 45
            }
        }
    }
}
