/// One line of the log as text, in which no value can break out of its place.
///
/// - logfmt: `level=info msg="registered" service=whoami endpoint=10.0.0.1:80`; a value is quoted where it must be.
/// - json: one object a line; integers, ports and truth values stay what they are, everything else is a string.
struct LogEncoding: Sendable {
    /// The longest value, in bytes of UTF-8; of a longer one the beginning is written, then `...` and its whole size.
    static let longestValue = 1_024

    private let format: Logger.Format
    private let program: String?

    /// Makes the encoding; `program` becomes a field of every line.
    init(format: Logger.Format, program: String?) {
        self.format = format
        self.program = program
    }

    /// The line without its newline.
    func line(time: String?, level: Logger.Level, message: StaticString, fields: Logger.Fields) -> String {
        var parts: [String] = []
        if let time { parts.append(part("time", time)) }
        parts.append(part("level", level.rawValue))
        if let program { parts.append(part("program", program)) }
        parts.append(part("msg", message.description, alwaysQuoted: true))
        for (name, value) in fields {
            if let value { parts.append(part(name, value)) }
        }
        return switch format {
        case .logfmt: parts.joined(separator: " ")
        case .json: "{" + parts.joined(separator: ",") + "}"
        }
    }

    private func part(_ name: String, _ value: any CustomStringConvertible, alwaysQuoted: Bool = false) -> String {
        let text = Self.cut(value.description)
        switch format {
        case .logfmt:
            let bare = !alwaysQuoted && Self.isBare(text)
            return Self.bareName(name) + "=" + (bare ? text : Self.quoted(text))
        case .json:
            let isLiteral = value is any BinaryInteger || value is Port || value is Bool
            return Self.quoted(name) + ":" + (isLiteral ? text : Self.quoted(text))
        }
    }

    private static func cut(_ text: String) -> String {
        let size = text.utf8.count
        guard size > longestValue else { return text }
        var end = text.utf8.index(text.startIndex, offsetBy: longestValue)
        while end.samePosition(in: text.unicodeScalars) == nil { text.utf8.formIndex(before: &end) }
        return "\(text[..<end])... (\(size) bytes)"
    }

    private static func isBare(_ text: String) -> Bool {
        !text.isEmpty && text.unicodeScalars.allSatisfy { $0 != " " && $0 != "=" && escape($0) == nil }
    }

    /// A name is a constant of the program; one with a blank in it would still not split a line.
    private static func bareName(_ name: String) -> String {
        isBare(name) ? name : String(name.map { isBare(String($0)) ? $0 : "_" })
    }

    /// The text in quotes, escaped as JSON wants it, which logfmt readers understand as well.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            if let escape = escape(scalar) {
                result += escape
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// What stands for a scalar that would end a value or a line, or that a terminal would obey; nil for any other.
    private static func escape(_ scalar: Unicode.Scalar) -> String? {
        switch scalar {
        case "\"": return "\\\""
        case "\\": return "\\\\"
        case "\n": return "\\n"
        case "\r": return "\\r"
        case "\t": return "\\t"
        case " "..."~": return nil
        default: break
        }
        switch scalar.properties.generalCategory {
        // Format scalars reverse what a reader sees (U+202E), separators end lines for some viewers (U+2028).
        case .control, .format, .lineSeparator, .paragraphSeparator:
            return UTF16.encode(scalar).map { $0.map { "\\u" + hexadecimal($0) }.joined() }
        default: return nil
        }
    }

    private static func hexadecimal(_ unit: UInt16) -> String {
        let digits = String(unit, radix: 16)
        return String(repeating: "0", count: 4 - digits.count) + digits
    }
}
