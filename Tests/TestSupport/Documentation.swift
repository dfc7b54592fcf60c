import FoundationEssentials

/// A text in Markdown that belongs to the project.
package struct Documentation: Sendable {
    /// Its path below the project's folder.
    package let path: String
    /// Its lines.
    package let lines: [String]

    /// Reads it.
    package init(_ path: String) throws {
        self.path = path
        let text = try Data(contentsOf: URL(filePath: "\(Laboratory.projectFolder)/\(path)"))
        lines = String(decoding: text, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            .map(String.init)
    }

    /// The rows of the first table below a heading, down to the next heading.
    package func table(below heading: String) -> [String] {
        lines.drop { $0 != heading }.dropFirst().prefix { !$0.hasPrefix("#") }
            .drop { !$0.hasPrefix("|") }.prefix { $0.hasPrefix("|") }.map(\.self)
    }

    /// What stands below a heading, down to the next one.
    package func section(_ heading: String) -> String {
        lines.drop { $0 != heading }.dropFirst().prefix { !$0.hasPrefix("#") }.joined(separator: "\n")
    }

    /// A link to another place in the project, or in the same text.
    package struct Link: Sendable, CustomStringConvertible {
        /// The file; empty for the same text.
        package let file: String
        /// The heading in it; nil for its beginning.
        package let anchor: String?

        /// As it stands in the text.
        package var description: String { file + (anchor.map { "#\($0)" } ?? "") }
    }

    /// The places in the project that it links to.
    package var links: [Link] {
        // Each link and picture is "](place)", in HTML "src" or "srcset".
        let starts = ["](", "src=\"", "srcset=\""]
        let rests = lines.flatMap { line in starts.flatMap { line.components(after: $0) } }
        let places: [String] = rests.map { rest in String(rest.prefix { !")\" ".contains($0) }) }
        return places.filter { !$0.isEmpty && !$0.contains("://") }.map { place in
            let file = place.prefix { $0 != "#" }
            return Link(file: String(file), anchor: file == place ? nil : String(place.dropFirst(file.count + 1)))
        }
    }

    /// What links to its headings are called, by the rule of GitHub.
    package var anchors: Set<String> {
        var isCode = false
        var anchors: Set<String> = []
        for line in lines {
            if line.hasPrefix("```") { isCode.toggle() }
            guard !isCode, line.hasPrefix("#") else { continue }
            let words = line.drop { $0 == "#" }.dropFirst().lowercased()
                .filter { $0.isLetter || $0.isNumber || "-_ ".contains($0) }
            anchors.insert(String(words.map { $0 == " " ? "-" : $0 }))
        }
        return anchors
    }

    /// All texts of the project.
    package static func all() throws -> [Documentation] {
        let files = FileManager.default
        let top = try files.contentsOfDirectory(atPath: Laboratory.projectFolder)
        let below = try files.subpathsOfDirectory(atPath: "\(Laboratory.projectFolder)/docs").map { "docs/\($0)" }
        return try (top + below).filter { $0.hasSuffix(".md") }.sorted().map(Documentation.init)
    }

    /// The file that a link leads to, below the project's folder.
    package func target(of link: Link) -> String {
        guard !link.file.isEmpty else { return path }
        let folder = path.split(separator: "/").dropLast().map(String.init)
        let parts = link.file.split(separator: "/").reduce(into: folder) { parts, part in
            if part == ".." { _ = parts.popLast() } else if part != "." { parts.append(String(part)) }
        }
        return parts.joined(separator: "/")
    }
}

extension String {
    /// What follows each occurrence of a text.
    fileprivate func components(after text: String) -> [Substring] {
        var rest = self[...]
        var found: [Substring] = []
        while let range = rest.firstRange(of: text) {
            rest = rest[range.upperBound...]
            found.append(rest)
        }
        return found
    }
}
