import Shared
import Testing

@testable import Discover

@Suite("Registry losses")
struct LostEntryTests {
    @Test func `what goes with its lease is lost, and what is withdrawn or unleased is not`() {
        var story = RegistryStory("web/1", "web/2", "web/3")
        story.watch([.put("db/1", "10.0.0.9:5432", lease: 0), .put("db/2", "10.0.0.9:5433", lease: 0)])
        story.withdraw("web/1")
        story.watch([.delete("db/1")])
        #expect(story.state.lost == [])
        story.expire("web/2", "web/3")
        #expect(story.state.lost == ["web/2", "web/3"])
        #expect(Set(story.state.losses.values.map(\.cause)) == [.lease])
        #expect(story.state.losses.values.map(\.records.count) == [2, 2])
        story.register(["web/2"])
        #expect(story.state.lost == ["web/3"])
        story.watch([.put("web/3/meta", #"{"withdrawn":"drained"}"#)])
        #expect(story.state.lost == [])
    }

    @Test(arguments: [true, false])
    func `a withdrawal is told in any order, and its meta may be gone before anybody looks`(isMetaFirst: Bool) {
        let tombstone = RegistryStory.Change.put("web/1/meta", #"{"withdrawn":"container stopped"}"#)
        let both = [tombstone, .delete("web/1")]
        var story = RegistryStory("web/1", "web/2")
        story.catchUp([isMetaFirst ? both : both.reversed(), [.delete("web/1/meta")]])
        #expect(story.state.lost == [])
        // Registered again after a withdrawal, it can be lost.
        story.catchUp([
            [.put("web/2/meta", #"{"withdrawn":"paused"}"#), .delete("web/2")],
            [.put("web/2", "10.0.0.1:80"), .put("web/2/meta", "{}")], [.delete("web/2"), .delete("web/2/meta")],
        ])
        #expect(story.state.lost == ["web/2"])
    }

    @Test func `what goes alone while its meta stays under the same lease is withdrawn, with no room for the reason`() {
        var story = RegistryStory("web/1", "web/2", "web/3")
        story.watch([.delete("web/1")])
        story.miss([.delete("web/2")])
        #expect(story.state.lost == [])
        // A meta that somebody wrote by hand stays, and says nothing of that.
        story.watch([.put("web/3/meta", "{}", lease: 0)])
        story.watch([.delete("web/3")])
        #expect(story.state.lost == ["web/3"])
    }

    @Test func `a listing after an absence tells losses by what is missing`() {
        var story = RegistryStory("web/1", "web/2", "web/3", "web/4")
        story.miss(
            [.delete("web/1"), .delete("web/1/meta")],
            [.delete("web/2"), .put("web/2/meta", #"{"withdrawn":"container stopped"}"#)],
            [.delete("web/3"), .delete("web/3/meta")], [.put("web/3", "10.0.0.1:99")])
        #expect(story.state.lost == ["web/1"])
        // Its withdrawal was told and forgotten while nobody looked: HAProxy's checks have to tell.
        story.miss(
            [.delete("web/4"), .put("web/4/meta", #"{"withdrawn":"container stopped"}"#)], [.delete("web/4/meta")])
        #expect(story.state.lost == ["web/1", "web/4"])
    }

    @Test(arguments: [("c", 3), ("d", 1_000)] as [(String, Int64)])
    func `in a store that was replaced nobody deleted anything`(cluster: String, revision: Int64) {
        var story = RegistryStory("web/1", "web/2", "web/3")
        story.watch([.put("web/config", #"{"port":9000}"#, lease: 0), .put("db/1", "10.0.0.9:5432", lease: 0)])
        for number in 0..<10 { story.watch([.put("other/port", "\(8000 + number)", lease: 0)]) }
        story.replaceStore(cluster: cluster, revision: revision, keeping: "web/1")
        #expect(story.state.lost == ["db/1", "web/2", "web/3"])
        for loss in story.state.losses.values {
            #expect(loss.cause == .store)
            #expect(loss.records.allSatisfy { $0.keyValue.createRevision <= 0 })
        }
        let web = story.state.losses.values.first { $0.name == server("web/2") }
        #expect(web?.records.map(\.keyValue.key).last == Array("/backends/web/config".utf8))
    }

    @Test func `a store that was emptied is told by what could not have been in the earlier one`() {
        var story = RegistryStory("web/1")
        story.watch([.put("db/1", "10.0.0.9:5432", lease: 0)])
        story.emptyStore(
            then: [.put("two/port", "1", lease: 0)], [.put("other/port", "2", lease: 0)],
            [.put("other/port", "3", lease: 0)])
        #expect(story.state.lost == ["db/1", "web/1"])
        #expect(story.state.losses.values.allSatisfy { $0.cause == .store })
    }

    @Test func `a store that only went on is the same`() {
        var story = RegistryStory("web/1")
        story.watch([.put("db/1", "10.0.0.9:5432", lease: 0)])
        story.miss([.delete("db/1")], [.put("two/port", "3", lease: 0)], [.put("web/1", "10.0.0.7:1")])
        #expect(story.state.lost == [])
    }

    @Test func `a value that is no endpoint was changed by somebody, and is no loss`() {
        var story = RegistryStory("web/1")
        story.watch([.put("web/1", "nonsense")])
        story.expire("web/1")
        #expect(story.state.lost == [])
    }

    @Test func `what is held counts until something of the same key is there`() {
        var story = RegistryStory("web/1", "web/2")
        let before = story.state
        story.expire("web/1", "web/2")
        let held = story.state.losses.values.flatMap(\.records)
        #expect(Catalog(story.state).services.isEmpty)
        #expect(Catalog(story.state.holding(held)) == Catalog(before))
        story.watch([.put("web/1", "10.0.0.1:99")])
        let addresses = Catalog(story.state.holding(held)).services.first?.instances.map(\.endpoint.description)
        #expect(addresses == ["10.0.0.1:99", RegistryStory.address(of: "web/2")])
    }
}
