import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("SnippetStore")
struct SnippetStoreTests {
    private let folder: ScratchFolder
    private let copy: ConfigSnippets.Copy
    private let old: ConfigSnippets
    private let new: ConfigSnippets

    init() throws {
        folder = try ScratchFolder()
        copy = ConfigSnippets.Copy(file: AtomicFile(path: folder.path + "/additions.json"))
        old = try ConfigSnippets([.global: "a", .extra: "listen x"])
        new = try ConfigSnippets([.global: "b", .extra: "listen x"])
    }

    private func keeper(offered: ConfigSnippets) async -> SnippetStore {
        var keeper = SnippetStore(copy, logger: Logger(level: .error, format: .logfmt, write: { _ in }))
        keeper.take(SnippetFiles.Candidate(additions: offered))
        let isSettled = await keeper.settle { _ in nil }
        #expect(isSettled)
        #expect(keeper.accepted == offered)
        return keeper
    }

    @Test func `what HAProxy has loaded stays where the next is taken back`() async throws {
        var keeper = await keeper(offered: old)
        keeper.noteLoaded()
        keeper.take(SnippetFiles.Candidate(additions: new))
        _ = await keeper.settle { _ in nil }
        #expect(copy.load() == new)
        _ = keeper.takeBack(because: "no", isRunning: true)
        #expect(keeper.accepted == old)
        #expect(copy.load() == old)
    }

    @Test(arguments: [true, false])
    func `what HAProxy does not run with gives way to what it ran with`(isRunning: Bool) async throws {
        try copy.save(old)
        var keeper = await keeper(offered: new)
        let isTaken = keeper.takeBack(because: "no", isRunning: isRunning)
        #expect(isTaken)
        #expect(keeper.accepted == old)
        #expect(keeper.refusals == [:])
        keeper.noteLoaded()
        #expect(keeper.refusals == [.global: "no"])
        #expect(copy.load() == old)
    }

    @Test func `what HAProxy runs with is never taken back, and what it does not start with is`() async throws {
        try copy.save(old)
        var keeper = await keeper(offered: old)
        var isTaken = keeper.takeBack(because: "no", isRunning: true)
        #expect(!isTaken)
        #expect(keeper.accepted == old)
        isTaken = keeper.takeBack(because: "no", isRunning: false)
        #expect(isTaken)
        #expect(keeper.accepted.isEmpty)
        keeper.noteLoaded()
        #expect(keeper.refusals == [.global: "no", .extra: "no"])
        isTaken = keeper.takeBack(because: "no", isRunning: false)
        #expect(!isTaken)
    }

    @Test func `without which HAProxy does not start either is used again, until something else is offered`()
        async throws
    {
        try copy.save(old)
        var keeper = await keeper(offered: new)
        for expected in [old, ConfigSnippets(), new] {
            let isTaken = keeper.takeBack(because: "no", isRunning: false)
            #expect(isTaken)
            #expect(keeper.accepted == expected)
        }
        #expect(keeper.refusals == [:])
        #expect(copy.load() == new)
        var isTaken = keeper.takeBack(because: "no", isRunning: false)
        #expect(!isTaken)
        keeper.take(SnippetFiles.Candidate(additions: new))
        _ = await keeper.settle { _ in nil }
        isTaken = keeper.takeBack(because: "no", isRunning: false)
        #expect(isTaken)
        #expect(keeper.accepted == old)
    }
}
