/// Rows of cells as lines with aligned columns, for a person to read.
///
/// What a cell has from outside cannot break out of its line, nor command a terminal.
package struct TextTable: Sendable {
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
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            let line = row.enumerated().map { column, cell in
                cell + String(repeating: " ", count: widths[column] - cell.count)
            }.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }

    /// A text on one line, with names in place of what a terminal would obey.
    package static func shown(_ text: String) -> String {
        text.unicodeScalars.map { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator: scalar.escaped(asASCII: true)
            default: String(scalar)
            }
        }.joined()
    }
}
