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
        rows.append(cells.map { OneLine.text($0) })
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

    private static func length(_ cell: String) -> Int { OneLine.isPlain(cell) ? cell.utf8.count : cell.count }

}

/// Texts from outside, made fit for one line of a message or a table.
package enum OneLine {
    /// The text with escapes in place of what would break the line or command a terminal.
    ///
    /// - Parameter longest: in Unicode scalars; of a longer text the beginning is shown, then `...`.
    package static func text(_ text: String, longest: Int = .max) -> String {
        let isLong = longest < .max && text.unicodeScalars.count > longest
        guard isLong || !isPlain(text) else { return text }
        return text.unicodeScalars.prefix(longest).map { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator: scalar.escaped(asASCII: true)
            default: String(scalar)
            }
        }.joined() + (isLong ? "..." : "")
    }

    /// Whether a text consists of printable ASCII, as nearly all of them do.
    static func isPlain(_ text: String) -> Bool { text.utf8.allSatisfy { (0x20...0x7e).contains($0) } }
}
