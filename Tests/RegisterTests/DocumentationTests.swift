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

    @Test func `the README's table of labels is the code's`() throws {
        let table = Label.markdownTable.split(separator: "\n").map(String.init)
        #expect(try Documentation("README.md").table(below: "## Labels") == table)
    }
}
