import Shared
import TestSupport
import Testing

@testable import Register

@Suite("docker-register's documentation")
struct RegisterDocumentationTests {
    @Test func `the README's table of settings is the code's`() throws {
        let table = RegisterConfiguration.options.markdownTable.split(separator: "\n").map(String.init)
        #expect(try Documentation("README.md").table(below: "### docker-register") == table)
    }

    @Test func `the help tells every setting with its variable and default`() {
        let options = RegisterConfiguration.options
        for setting in options.settings {
            #expect(options.help.contains(setting.flag), "\(setting.flag)")
            #expect(options.help.contains(setting.variable), "\(setting.variable)")
            if let fallback = setting.fallback { #expect(options.help.contains("[\(fallback)]"), "\(setting.flag)") }
        }
    }

    @Test func `the README's table of labels has each label that is understood, and no other`() throws {
        let rows = try Documentation("README.md").table(below: "### Labels").dropFirst(2)
        let documented = rows.compactMap { $0.split(separator: "`").dropFirst().first.map(String.init) }
        #expect(documented.sorted() == Self.labels.sorted())
    }

    /// The labels as the program itself names them to whoever misspells one.
    private static var labels: [String] {
        let problems = Labels(labels: ["SERVICE_NONSENSE": "", "SERVICE_1_NONSENSE": ""], environment: [:]).problems
        return problems.flatMap { problem -> [String] in
            let expected = String(problem.split(separator: "; expected ").last ?? "")
            let ofPort = expected.split(separator: " followed by ")
            guard ofPort.count == 2 else { return words(expected.split(separator: "one of ").last ?? "") }
            return words(ofPort[1]).map { ofPort[0] + $0 }
        }
    }

    private static func words(_ list: Substring) -> [String] {
        list.split(separator: ", ").map(String.init)
    }
}
