import Shared

extension HAProxyConfiguration {
    /// What tells where sections begin that are not docker-discover's.
    static let extraMark = "# Sections from "

    /// The lines that an operator adds at a place, below a comment that names their file.
    static func added(_ additions: Additions, at place: Addition.Place) -> String {
        guard let addition = additions[place] else { return "" }
        return ([mark(of: addition, at: place)] + addition.lines).map { $0 + "\n" }.joined()
    }

    private static func mark(of addition: Addition, at place: Addition.Place) -> String {
        place == .extra ? extraMark + addition.path : "    # From \(addition.path)"
    }

    /// HAProxy's words about this file, with the lines of additions named as their own files count them.
    ///
    /// HAProxy names a line as `[/path/haproxy.cfg.new:12]`.
    func explain(_ words: String, _ additions: Additions) -> String {
        var told = ""
        var rest = words[...]
        while let open = rest.firstIndex(of: "["), let close = rest[open...].firstIndex(of: "]") {
            let inside = rest[rest.index(after: open)..<close]
            let number = inside.split(separator: ":").last.flatMap { Int($0) }
            let place = number.flatMap { origin(ofLine: $0, additions) } ?? String(inside)
            told += "\(rest[..<open])[\(place)]"
            rest = rest[close...].dropFirst()
        }
        return told + rest
    }

    /// The file and line from which a line of this file comes; nil for docker-discover's own.
    private func origin(ofLine number: Int, _ additions: Additions) -> String? {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for place in Addition.Place.allCases {
            guard let addition = additions[place],
                let begin = lines.firstIndex(of: Self.mark(of: addition, at: place)[...])
            else { continue }
            // Lines count from one, so that of the comment is `begin + 1`.
            let line = number - begin - 1
            if (1...max(addition.lines.count, 1)).contains(line) { return "\(addition.path):\(line)" }
        }
        return nil
    }
}
