import FoundationEssentials
import Shared
import TestSupport
import Testing

@Suite("Documentation")
struct DocumentationTests {
    @Test func `every link into the project leads to a file, and to a heading in it`() throws {
        let texts = try Documentation.all()
        #expect(texts.contains { $0.path == "README.md" && !$0.links.isEmpty })
        let anchors = Dictionary(uniqueKeysWithValues: texts.map { ($0.path, $0.anchors) })
        for text in texts {
            for link in text.links {
                let target = text.target(of: link)
                let file = "\(Laboratory.projectFolder)/\(target)"
                #expect(FileManager.default.fileExists(atPath: file), "\(text.path): \(link)")
                if let anchor = link.anchor {
                    #expect(anchors[target]?.contains(anchor) == true, "\(text.path): \(link)")
                }
            }
        }
    }

    @Test func `every page can be reached from the README`() throws {
        let texts = Dictionary(uniqueKeysWithValues: try Documentation.all().map { ($0.path, $0) })
        var reached: Set<String> = []
        var next = ["README.md"]
        while let path = next.popLast() {
            guard let text = texts[path], reached.insert(path).inserted else { continue }
            next += text.links.map { text.target(of: $0) }
        }
        #expect(reached == Set(texts.keys))
    }

    @Test func `the changelog has the version that the programs tell`() throws {
        let lines = try Documentation("CHANGELOG.md").lines
        #expect(lines.contains { $0.hasPrefix("## \(Version.current)") })
    }
}
