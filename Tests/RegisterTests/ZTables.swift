import FoundationEssentials
import Shared
import Testing

@testable import Register

@Suite("ZTables")
struct ZTables {
    @Test func tables() throws {
        let o = RegisterSettings.options
        try Data(o.markdownTable.utf8).write(to: URL(filePath: "/tmp/tab-reg-settings"))
        try Data(o.markdownCommands.utf8).write(to: URL(filePath: "/tmp/tab-reg-commands"))
        try Data(LabelDefinition.markdownTable.utf8).write(to: URL(filePath: "/tmp/tab-labels"))
    }
}
