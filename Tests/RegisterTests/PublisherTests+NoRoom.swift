import Shared
import TestSupport
import Testing

@testable import Register

extension PublisherTests {
    @Test func `an etcd without room still takes entries out of service`() async throws {
        var publisher = publisher()
        let (web, db, new) = (try registration("web"), try registration("db", 1), try registration("new", 2))
        try await desire(web, db, by: &publisher)
        try await server.raiseNoSpace(true)
        // What is to be put fails, and what is to go goes.
        await #expect(throws: Etcd.Error.self) { try await desire(db, new, by: &publisher) }
        var keys = try await keys()
        #expect(keys[Self.entryKey] == nil && keys[Self.metaKey]?.value == web.meta)
        try await desire(by: &publisher)
        keys = try await self.keys()
        #expect(keys.keys.allSatisfy { $0.hasSuffix("/meta") })
        #expect(log.all.count { $0.contains("withdrawing without keeping the reasons") } == 1)
        #expect(log.all.count { $0.contains("msg=\"withdrawn\"") && $0.contains("service=web") } == 1)
        try await server.raiseNoSpace(false)
        try await desire(by: &publisher)
        #expect(Meta(json: try #require(try await self.keys()[Self.metaKey]).value)?.withdrawn != nil)
        #expect(log.contain("reasons of withdrawals are kept"))
    }

    @Test func `a stop withdraws everything from an etcd without room`() async throws {
        var publisher = publisher()
        try await desire(try registration("web"), try registration("db", 1), by: &publisher)
        try await server.raiseNoSpace(true)
        try await publisher.publisher.withdrawEverything(because: "test")
        #expect(try await keys().keys.allSatisfy { $0.hasSuffix("/meta") })
    }
}
