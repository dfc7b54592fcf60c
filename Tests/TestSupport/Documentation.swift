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

    /// The places in the project that it links to.
    package var links: [String] {
        lines.flatMap { line in
            // Each link and picture is "](place)", in HTML "src" or "srcset".
            let places = ["](", "src=\"", "srcset=\""].flatMap { line.components(after: $0) }
            return places.map { $0.prefix { !")\"# ".contains($0) } }.map(String.init)
        }.filter { !$0.isEmpty && !$0.contains("://") }
    }

    /// All texts of the project.
    package static func all() throws -> [Documentation] {
        let files = FileManager.default
        let top = try files.contentsOfDirectory(atPath: Laboratory.projectFolder)
        let below = try files.subpathsOfDirectory(atPath: "\(Laboratory.projectFolder)/docs").map { "docs/\($0)" }
        return try (top + below).filter { $0.hasSuffix(".md") }.sorted().map(Documentation.init)
    }

    /// Where a link leads, below the project's folder.
    package func target(of link: String) -> String {
        let folder = path.split(separator: "/").dropLast().map(String.init)
        let parts = link.split(separator: "/").reduce(into: folder) { parts, part in
            if part == ".." { _ = parts.popLast() } else if part != "." { parts.append(String(part)) }
        }
        return "\(Laboratory.projectFolder)/\(parts.joined(separator: "/"))"
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
