/// Rows of cells as lines with aligned columns, for a person to read.
///
/// What a cell has from outside cannot break out of its line, nor command a terminal.
package struct TextTable: Sendable {
    /// The longest cell that widens its column, in characters: one would fill all rows with blanks otherwise.
    private static let widest = 200

    private var rows: [[String]]

    /// Begins with the names of the columns.
    package init(_ head: [String]) {
        rows = [head]
    }

    /// Adds a row with as many cells as there are columns.
    package mutating func add(_ cells: [String]) {
        rows.append(cells.map(Self.shown))
    }

    /// The lines, each without blanks at its end.
    package var lines: [String] {
        // Tables have thousands of rows where there are thousands of endpoints.
        let lengths = rows.map { $0.map(Self.length) }
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            lengths.lazy.compactMap { column < $0.count ? $0[column] : nil }.filter { $0 <= Self.widest }.max() ?? 0
        }
        return zip(rows, lengths).map { row, lengths in
            let last = row.lastIndex { $0.contains { $0 != " " } } ?? 0
            return zip(row.prefix(last + 1), lengths).enumerated().map { column, cell in
                column == last
                    ? Self.trimmed(cell.0) : cell.0 + String(repeating: " ", count: max(widths[column] - cell.1, 0))
            }.joined(separator: "  ")
        }
    }

    private static func trimmed(_ cell: String) -> String {
        cell.last == " " ? String(cell.reversed().drop { $0 == " " }.reversed()) : cell
    }

    private static func length(_ cell: String) -> Int { isPlain(cell) ? cell.utf8.count : cell.count }

    /// Whether a text consists of printable ASCII, as nearly all of them do.
    private static func isPlain(_ text: String) -> Bool { text.utf8.allSatisfy { (0x20...0x7e).contains($0) } }

    /// A text on one line, with names in place of what a terminal would obey.
    package static func shown(_ text: String) -> String {
        guard !isPlain(text) else { return text }
        return text.unicodeScalars.map { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator: scalar.escaped(asASCII: true)
            default: String(scalar)
            }
        }.joined()
    }
}
