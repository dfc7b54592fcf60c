/// A JSON value with the place where it stands, so that a mistake in it can be shown to whoever wrote it.
package struct LocatedJSON: Equatable, Sendable {
    /// Where it begins.
    package var place: Location
    /// What it is.
    package var value: Value

    /// Makes one.
    package init(place: Location, value: Value) {
        self.place = place
        self.value = value
    }

    /// A line and a column, both counted from 1; columns count Unicode scalars.
    package struct Location: Hashable, Comparable, Sendable {
        /// The line.
        package var line: Int
        /// The column.
        package var column: Int

        /// Names a place.
        package init(line: Int, column: Int) {
            self.line = line
            self.column = column
        }

        /// Orders as one reads.
        package static func < (left: Location, right: Location) -> Bool {
            (left.line, left.column) < (right.line, right.column)
        }
    }

    /// The kinds of values.
    package indirect enum Value: Equatable, Sendable {
        case null
        case boolean(Bool)
        /// A number as it was written: `5432`, `1.5e3`.
        case number(String)
        case text(String)
        case list([LocatedJSON])
        /// The fields in their order; a name may come more than once.
        case object([Member])
    }

    /// A field of an object.
    package struct Member: Equatable, Sendable {
        /// Where its name begins.
        package var place: Location
        /// Its name.
        package var name: String
        /// What it is.
        package var value: LocatedJSON

        /// Makes one.
        package init(place: Location, name: String, value: LocatedJSON) {
            self.place = place
            self.name = name
            self.value = value
        }
    }

    /// Something that is wrong with a text.
    package struct Diagnostic: Error, Hashable, Sendable {
        /// Where.
        package var place: Location
        /// The field, such as `services[1].port`; empty for the text as a whole.
        package var path: String
        /// What is wrong.
        package var text: String

        /// Describes one.
        package init(place: Location, path: String, text: String) {
            self.place = place
            self.path = path
            self.text = text
        }
    }

    /// The text of a number, a switch or a string; nil for anything else.
    package var scalar: String? {
        switch value {
        case .boolean(let isOn): String(isOn)
        case .number(let text), .text(let text): text
        case .null, .list, .object: nil
        }
    }
}

extension LocatedJSON.Diagnostic: CustomStringConvertible {
    /// `7:14: services[1].port: 70000 is not a port from 1 to 65535`.
    package var description: String {
        "\(place.line):\(place.column): " + (path.isEmpty ? text : "\(path): \(text)")
    }
}

extension LocatedJSON: CustomStringConvertible {
    /// How a message shows it: on one line, and not for ever long.
    package var description: String {
        switch value {
        case .null: "null"
        case .boolean, .number: scalar ?? ""
        case .text(let text): "\"\(OneLine.text(text, longest: 100))\""
        case .list: "a list"
        case .object: "an object"
        }
    }
}

/// Reads JSON as RFC 8259 has it, and keeps the place of every value.
///
/// JSONDecoder tells no places, and takes the last of two fields with one name without a word.
package struct LocatedJSONParser {
    private typealias Diagnostic = LocatedJSON.Diagnostic

    private let bytes: [UInt8]
    private var index = 0
    private var place = LocatedJSON.Location(line: 1, column: 1)

    /// Lists and objects within each other: each level is a call on the stack.
    private static let deepest = 32

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Reads a text that is one value; throws the first mistake.
    package static func parse(_ text: some Collection<UInt8>) throws(LocatedJSON.Diagnostic) -> LocatedJSON {
        let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]
        let bytes = Array(text.starts(with: byteOrderMark) ? text.dropFirst(byteOrderMark.count) : text[...])
        try checkEncoding(bytes)
        var parser = LocatedJSONParser(bytes)
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.next == nil else { throw parser.mistake("here the text should end") }
        return value
    }

    private static func checkEncoding(_ bytes: [UInt8]) throws(LocatedJSON.Diagnostic) {
        guard String(validating: bytes, as: UTF8.self) == nil else { return }
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let wrong = lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0
        throw Diagnostic(
            place: LocatedJSON.Location(line: wrong + 1, column: 1), path: "", text: "this line is not UTF-8")
    }

    // MARK: Values

    private mutating func value(depth: Int) throws(LocatedJSON.Diagnostic) -> LocatedJSON {
        skipSpace()
        let start = place
        guard depth < Self.deepest else { throw mistake("more than \(Self.deepest) levels of lists and objects") }
        let value: LocatedJSON.Value
        switch next {
        case UInt8(ascii: "{"): value = .object(try members(depth: depth))
        case UInt8(ascii: "["): value = .list(try elements(depth: depth))
        case UInt8(ascii: "\""): value = .text(try text())
        case let byte? where byte == UInt8(ascii: "-") || Self.isDigit(byte): value = .number(try number())
        default: value = try word()
        }
        return LocatedJSON(place: start, value: value)
    }

    private mutating func elements(depth: Int) throws(LocatedJSON.Diagnostic) -> [LocatedJSON] {
        var elements: [LocatedJSON] = []
        advance()
        skipSpace()
        if take("]") { return [] }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if take("]") { return elements }
            guard take(",") else { throw mistake("expected ',' or ']'") }
        }
    }

    private mutating func members(depth: Int) throws(LocatedJSON.Diagnostic) -> [LocatedJSON.Member] {
        var members: [LocatedJSON.Member] = []
        advance()
        skipSpace()
        if take("}") { return [] }
        while true {
            skipSpace()
            let start = place
            guard next == UInt8(ascii: "\"") else { throw mistake("expected a field's name in double quotes") }
            let name = try text()
            skipSpace()
            guard take(":") else { throw mistake("expected ':' after the field's name") }
            members.append(LocatedJSON.Member(place: start, name: name, value: try value(depth: depth + 1)))
            skipSpace()
            if take("}") { return members }
            guard take(",") else { throw mistake("expected ',' or '}'") }
        }
    }

    private mutating func word() throws(LocatedJSON.Diagnostic) -> LocatedJSON.Value {
        let words: [(StaticString, LocatedJSON.Value)] = [
            ("true", .boolean(true)), ("false", .boolean(false)), ("null", .null),
        ]
        for (word, value) in words where bytes[index...].starts(with: word.description.utf8) {
            for _ in word.description.utf8 { advance() }
            return value
        }
        throw mistake("expected a value")
    }

    private mutating func number() throws(LocatedJSON.Diagnostic) -> String {
        let start = index
        _ = take("-")
        if !take("0") { try digits() }
        if take(".") { try digits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits()
        }
        return String(decoding: bytes[start..<index], as: UTF8.self)
    }

    private mutating func digits() throws(LocatedJSON.Diagnostic) {
        guard let first = next, Self.isDigit(first) else { throw mistake("expected a digit") }
        while let byte = next, Self.isDigit(byte) { advance() }
    }

    // MARK: Texts

    private mutating func text() throws(LocatedJSON.Diagnostic) -> String {
        var text: [UInt8] = []
        advance()
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                advance()
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): text += String(Character(try escaped())).utf8
            case ..<0x20: throw mistake("a line break or control character within a text; it is written as \\n or such")
            default:
                text.append(byte)
                advance()
            }
        }
        throw mistake("the file ends within a text")
    }

    private mutating func escaped() throws(LocatedJSON.Diagnostic) -> Unicode.Scalar {
        let start = place
        advance()
        let letters: [UInt8: Unicode.Scalar] = [
            UInt8(ascii: "\""): "\"", UInt8(ascii: "\\"): "\\", UInt8(ascii: "/"): "/", UInt8(ascii: "b"): "\u{8}",
            UInt8(ascii: "f"): "\u{c}", UInt8(ascii: "n"): "\n", UInt8(ascii: "r"): "\r", UInt8(ascii: "t"): "\t",
        ]
        if let scalar = next.flatMap({ letters[$0] }) {
            advance()
            return scalar
        }
        guard take("u") else { throw mistake("no such escape; write \\\\ for a backslash", at: start) }
        var code = try hexadecimal()
        if (0xd800..<0xdc00).contains(code), take("\\"), take("u") {
            let low = try hexadecimal()
            guard (0xdc00..<0xe000).contains(low) else { throw mistake("half of a surrogate pair", at: start) }
            code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw mistake("half of a surrogate pair", at: start) }
        return scalar
    }

    private mutating func hexadecimal() throws(LocatedJSON.Diagnostic) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = next.flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }) else {
                throw mistake("expected four hexadecimal digits after \\u")
            }
            code = code << 4 | UInt32(digit)
            advance()
        }
        return code
    }

    // MARK: Bytes

    private var next: UInt8? { index < bytes.count ? bytes[index] : nil }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private mutating func advance() {
        guard let byte = next else { return }
        index += 1
        let isContinuation = next.map { $0 & 0xc0 == 0x80 } ?? false
        if byte == UInt8(ascii: "\n") {
            place = LocatedJSON.Location(line: place.line + 1, column: 1)
        } else if !isContinuation {
            place.column += 1
        }
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: scalar) else { return false }
        advance()
        return true
    }

    private mutating func skipSpace() {
        while let byte = next, " \t\r\n".utf8.contains(byte) { advance() }
    }

    private func mistake(_ text: String, at place: LocatedJSON.Location? = nil) -> LocatedJSON.Diagnostic {
        let isOver = next == nil && place == nil
        return Diagnostic(place: place ?? self.place, path: "", text: isOver ? "\(text), but here the file ends" : text)
    }
}
