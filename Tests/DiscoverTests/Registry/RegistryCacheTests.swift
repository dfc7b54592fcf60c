import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("RegistryCache")
struct RegistryCacheTests {
    private let folder: ScratchFolder
    private var copy: RegistryCache {
        RegistryCache(file: AtomicFile(path: folder.path + "/catalog.json"), keyspace: RegistryFixture.keyspace)
    }

    init() throws { folder = try ScratchFolder() }

    @Test func `what is saved comes back, without what means nothing`() throws {
        var fixture = RegistryFixture([
            "web/1": "10.0.0.5:80", "web/1/meta": #"{"port":8000,"later":"kept"}"#, "web/config": #"{"port":1}"#,
            "bad/1": "nonsense",
        ])
        fixture.put(Array("/backends/x/1".utf8), [0xff])
        #expect(try copy.load() == nil)
        try copy.save(RegistryCache.Copy(registry: fixture.state))
        let loaded = try #require(try copy.load()).registry
        #expect(Catalog(loaded).services == fixture.catalog.services)
        #expect(
            Catalog(loaded).problems == [
                .badField(key: "/backends/web/1/meta", field: "later: there is no such field")
            ])
        #expect(loaded.revision == fixture.state.revision)
        #expect(loaded.records[Array("/backends/web/1/meta".utf8)]?.keyValue.value.count == 28)
    }

    @Test func `equal states give equal bytes`() throws {
        var fixture = RegistryFixture(["web/config": #"{"balance":"first"}"#, "api/port": "81"])
        for number in 1...20 {
            for service in ["web", "api", "x"] {
                fixture.put("\(service)/\(number)", "10.0.0.\(number):80")
                fixture.put("\(service)/\(number)/meta", "{}")
            }
        }
        try copy.save(RegistryCache.Copy(registry: fixture.state))
        let first = try FileContents(copy.file.path).bytes
        try copy.save(RegistryCache.Copy(registry: fixture.state))
        #expect(try FileContents(copy.file.path).bytes == first)
    }

    @Test(arguments: ["", "{", "[]", "{}", #"{"prefix": 1}"#, "\0\0\0", #"{"prefix":"/backends/","keys":"x"}"#])
    func `what is damaged is refused by name`(text: String) throws {
        try copy.file.replace(with: Array(text.utf8))
        let error = #expect(throws: RegistryCache.Failure.self) { _ = try copy.load() }
        #expect(try #require(error).description.contains(copy.file.path))
    }

    @Test func `a cut anywhere is refused`() throws {
        try copy.save(RegistryCache.Copy(registry: RegistryFixture(["web/1": "10.0.0.5:80"]).state))
        let bytes = try #require(try FileContents(copy.file.path).bytes)
        for end in bytes.indices {
            try copy.file.candidate(Array(bytes[..<end])).commit()
            #expect(throws: RegistryCache.Failure.self) { _ = try copy.load() }
        }
    }

    @Test func `another prefix's copy is not used`() throws {
        try copy.save(RegistryCache.Copy(registry: RegistryFixture(["web/1": "10.0.0.5:80"]).state))
        let other = RegistryCache(file: copy.file, keyspace: try #require(Keyspace(prefix: "/other")))
        #expect(throws: RegistryCache.Failure.otherPrefix(path: copy.file.path, prefix: "/backends/")) {
            _ = try other.load()
        }
    }

    @Test func `routes that wait or are held come back`() throws {
        let state = RegistryFixture([
            "-routes/a": #"{"host":"a","to":"v1"}"#, "-routes/b": #"{"host":"b","to":"v1"}"#,
        ]).state
        let (a, b) = (try #require(state.routes["a"]), try #require(state.routes["b"]))
        let held = PersistedRoutes(records: ["b": b], since: .seconds(1_700_000_000))
        try copy.save(
            RegistryCache.Copy(registry: RegistryFixture().state, waitingRoutes: ["a": a], heldRoutes: held))
        let loaded = try #require(try copy.load())
        #expect(loaded.waitingRoutes == ["a": a] && loaded.heldRoutes == held)
        // What an earlier run kept stays for the rest of its time, unless the registry has it again.
        var hold = RouteHold(limit: .seconds(600), loaded.heldRoutes)
        hold.accept(RegistryFixture().state, at: .seconds(1_700_000_100))
        #expect(hold.persisted == held && hold.wait(at: .seconds(1_700_000_100)) == .seconds(500))
        hold.accept(state, at: .seconds(1_700_000_200))
        #expect(hold.persisted == nil)
    }

    @Test func `what is held comes back with its times`() throws {
        var story = RegistryStory("web/1", "api/1")
        story.watch([.put("web/config", #"{"port":9000}"#, lease: 0)])
        story.replaceStore(cluster: "d", revision: 1)
        let kept = story.state.losses.values.map {
            PersistedHold(loss: $0, since: .milliseconds(1_700_000_000_250), until: .seconds(1_700_000_600))
        }
        #expect(kept.count == 2)
        try copy.save(RegistryCache.Copy(registry: story.state, holds: kept))
        let loaded = try #require(try copy.load()).holds
        #expect(loaded.map(\.loss.name.description) == ["api/1", "web/1"])
        #expect(Set(loaded.map(\.since)) == [.milliseconds(1_700_000_000_250)])
        #expect(Set(loaded.map(\.until)) == [.seconds(1_700_000_600)])
        for hold in loaded {
            let before = try #require(story.state.losses[hold.loss.key])
            #expect(hold.loss.records == before.records)
            #expect(hold.loss.cause == .store)
        }
    }
}
