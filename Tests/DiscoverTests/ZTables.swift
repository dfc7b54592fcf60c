import FoundationEssentials
import Shared
import Testing

@testable import Discover

@Suite("ZTables2")
struct ZTables2 {
    @Test func tables() throws {
        let o = DiscoverSettings.options
        try Data(o.markdownTable.utf8).write(to: URL(filePath: "/tmp/tab-disc-settings"))
        try Data(o.markdownCommands.utf8).write(to: URL(filePath: "/tmp/tab-disc-commands"))
    }
}
