import Testing

@testable import Discover

@Suite("ExistingHAProxy")
struct ExistingHAProxyFileTests {
    @Test func `what docker-discover wrote may be replaced, and what is empty`() {
        let own = HAProxyConfiguration(.empty, .sample).text
        for text in [own, "", "\n  \n", "# mine now\n" + own] { #expect(ConfigFile.isOurs(Array(text.utf8))) }
    }

    @Test(
        arguments: [
            "global\n    daemon\n", "# docker-discover-1\n", "global\n    description my-docker-discover-1\n",
            String(repeating: " ", count: 5000) + "global\n", "\u{0}",
        ])
    func `what somebody else wrote may not`(text: String) {
        #expect(!ConfigFile.isOurs(Array(text.utf8)))
    }
}
