/// A JSON value with the place where it stands, so that a mistake in it can be shown to whoever wrote it.
package struct PlacedJSON: Equatable, Sendable {
    /// Where it begins.
    package var place: Place
    /// What it is.
    package var value: Value

    /// Makes one.
    package init(place: Place, value: Value) {
        self.place = place
        self.value = value
    }

    /// A line and a column, both counted from 1; columns count Unicode scalars.
    package struct Place: Hashable, Comparable, Sendable {
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
        package static func < (left: Place, right: Place) -> Bool {
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
        case list([PlacedJSON])
        /// The fields in their order; a name may come more than once.
        case object([Member])
    }

    /// A field of an object.
    package struct Member: Equatable, Sendable {
        /// Where its name begins.
        package var place: Place
        /// Its name.
        package var name: String
        /// What it is.
        package var value: PlacedJSON

        /// Makes one.
        package init(place: Place, name: String, value: PlacedJSON) {
            self.place = place
            self.name = name
            self.value = value
        }
    }

    /// Something that is wrong with a text.
    package struct Mistake: Error, Hashable, Sendable {
        /// Where.
        package var place: Place
        /// The field, such as `services[1].port`; empty for the text as a whole.
        package var path: String
        /// What is wrong.
        package var text: String

        /// Describes one.
        package init(place: Place, path: String, text: String) {
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

extension PlacedJSON.Mistake: CustomStringConvertible {
    /// `7:14: services[1].port: 70000 is not a port from 1 to 65535`.
    package var description: String {
        "\(place.line):\(place.column): " + (path.isEmpty ? text : "\(path): \(text)")
    }
}

extension PlacedJSON: CustomStringConvertible {
    /// How a message shows it: on one line, and not for ever long.
    package var description: String {
        switch value {
        case .null: "null"
        case .boolean, .number: scalar ?? ""
        case .text(let text): "\"\(Self.shown(text))\""
        case .list: "a list"
        case .object: "an object"
        }
    }

    private static func shown(_ text: String) -> String {
        let longest = 100
        let line = text.unicodeScalars.prefix(longest).map { scalar in
            scalar.properties.generalCategory == .control ? scalar.escaped(asASCII: true) : String(scalar)
        }
        return line.joined() + (text.unicodeScalars.count > longest ? "..." : "")
    }
}
