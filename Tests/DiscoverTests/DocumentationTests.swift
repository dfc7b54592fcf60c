import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("docker-discover's documentation")
struct DiscoverDocumentationTests {
    private let options = DiscoverConfiguration.options

    @Test func `the README's table of settings is the code's`() throws {
        let table = options.markdownTable.split(separator: "\n").map(String.init)
        #expect(try Documentation("README.md").table(below: "### docker-discover") == table)
    }

    @Test func `the help tells every setting with its variable and default`() {
        for setting in options.settings {
            #expect(options.help.contains(setting.flag), "\(setting.flag)")
            #expect(options.help.contains(setting.variable), "\(setting.variable)")
            if let fallback = setting.fallback { #expect(options.help.contains("[\(fallback)]"), "\(setting.flag)") }
        }
    }
}
