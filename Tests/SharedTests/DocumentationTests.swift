import FoundationEssentials
import Shared
import TestSupport
import Testing

@Suite("Documentation")
struct DocumentationTests {
    @Test func `every link into the project leads somewhere`() throws {
        let texts = try Documentation.all()
        #expect(texts.contains { $0.path == "README.md" && !$0.links.isEmpty })
        for text in texts {
            for link in text.links {
                #expect(FileManager.default.fileExists(atPath: text.target(of: link)), "\(text.path): \(link)")
            }
        }
    }

    @Test func `the changelog has the version that the programs tell`() throws {
        let lines = try Documentation("CHANGELOG.md").lines
        #expect(lines.contains { $0.hasPrefix("## \(Version.current)") })
    }
}
