import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("SnippetStore")
struct SnippetStoreTests {
    private let log = CapturedLines()
    private let old: ConfigSnippets
    private let new: ConfigSnippets

    init() throws {
        old = try ConfigSnippets([.global: "a", .extra: "listen x"])
        new = try ConfigSnippets([.global: "b", .extra: "listen x"])
    }

    private func store() -> SnippetStore {
        SnippetStore(Logger(level: .info, format: .logfmt, write: { [log] in log.add($0) }))
    }

    /// Offers snippets to a store, of which HAProxy rejects those with wrong lines.
    private func offer(
        _ snippets: ConfigSnippets, failures: [ConfigSnippet.Location: ConfigSnippet.Failure] = [:],
        to store: inout SnippetStore, wrong: Set<String> = []
    ) async {
        store.accept(SnippetFiles.Candidate(snippets: snippets, failures: failures))
        #expect(store.isPending)
        await store.review { snippets in
            let lines = ConfigSnippet.Location.allCases.flatMap { snippets.lines($0) }
            return lines.first { wrong.contains($0) }.map { "\($0) is wrong" }
        }
        #expect(!store.isPending)
    }

    /// The store after a review, with what HAProxy ran before.
    private func review(
        _ offered: [ConfigSnippet.Location: String], failures: [ConfigSnippet.Location: ConfigSnippet.Failure] = [:],
        before: [ConfigSnippet.Location: String] = [:], wrong: Set<String>
    ) async throws -> SnippetStore {
        var store = store()
        if !before.isEmpty {
            await offer(try ConfigSnippets(before), to: &store)
            store.recordLoaded()
        }
        await offer(try ConfigSnippets(offered), failures: failures, to: &store, wrong: wrong)
        return store
    }

    @Test func `what is right is taken`() async throws {
        let store = try await review([.global: "a", .defaults: "b"], wrong: [])
        #expect(store.accepted == (try ConfigSnippets([.global: "a", .defaults: "b"])))
        #expect(store.errors.isEmpty)
        #expect(log.contain("level=info", "loaded haproxy.cfg snippets") && log.all.count == 1)
    }

    @Test func `a wrong file costs only itself, and what it said before stays`() async throws {
        let store = try await review(
            [.global: "a2", .defaults: "wrong"], before: [.global: "a", .defaults: "b"], wrong: ["wrong"])
        #expect(store.accepted == (try ConfigSnippets([.global: "a2", .defaults: "b"])))
        #expect(store.errors == [.defaults: "wrong is wrong"])
        #expect(log.contain("level=error", "keeping the previous one", "setting=DEFAULTS_FILE"))
    }

    @Test func `without anything before it is left out`() async throws {
        let store = try await review([.global: "wrong", .extra: "listen x"], wrong: ["wrong"])
        #expect(store.accepted == (try ConfigSnippets([.extra: "listen x"])))
        #expect(store.errors == [.global: "wrong is wrong"])
        #expect(log.contain("level=error", "left out", "setting=GLOBAL_FILE", "wrong is wrong"))
    }

    @Test func `what was right once is not trusted`() async throws {
        let store = try await review(
            [.global: "old", .defaults: "b"], before: [.global: "old"], wrong: ["old"])
        #expect(store.accepted == (try ConfigSnippets([.defaults: "b"])))
        #expect(store.errors == [.global: "old is wrong"])
    }

    @Test func `a file that cannot be read leaves what it said before`() async throws {
        let store = try await review(
            [.defaults: "b"], failures: [.global: .missing(path: "/etc/global.cfg")], before: [.global: "a"], wrong: [])
        #expect(store.accepted == (try ConfigSnippets([.global: "a", .defaults: "b"])))
        #expect(store.errors == [.global: "there is no file /etc/global.cfg"])
    }

    @Test func `what is no longer offered goes`() async throws {
        #expect(try await review([:], before: [.global: "a"], wrong: []).accepted == ConfigSnippets())
        #expect(log.contain("snippets removed"))
    }

    @Test func `what cannot be checked now is reviewed later, and that is logged once`() async throws {
        struct NoHAProxy: Error {}
        var store = store()
        store.accept(SnippetFiles.Candidate(snippets: old))
        for _ in 0..<2 {
            await store.review { _ in throw NoHAProxy() }
            #expect(store.isPending && store.accepted.isEmpty)
        }
        #expect(log.count(of: "cannot check snippets") == 1)
        await store.review { _ in nil }
        #expect(!store.isPending && store.accepted == old)
    }

    @Test func `new ones with which HAProxy does not load give way to those that it runs`() async throws {
        var store = store()
        await offer(old, to: &store)
        store.recordLoaded()
        await offer(new, to: &store)
        #expect(store.accepted == new)
        let isReverted = store.revert(because: "no")
        #expect(isReverted && store.accepted == old)
        #expect(store.errors == [.global: "no"])
        #expect(log.count(of: "keeping the previous one") == 1)
        // Those that run are never at fault.
        let isRevertedAgain = store.revert(because: "no")
        #expect(!isRevertedAgain && store.accepted == old)
        #expect(log.count(of: "level=error") == 1)
    }

    @Test func `what HAProxy does not start with is left out, until something else is offered`() async throws {
        var store = store()
        await offer(new, to: &store)
        var isReverted = store.revert(because: "no")
        #expect(isReverted && store.accepted.isEmpty)
        #expect(store.errors == [.global: "no", .extra: "no"])
        await offer(old, to: &store)
        store.recordLoaded()
        #expect(store.errors == [:])
        // It ran with them before, and starts only without.
        isReverted = store.revert(because: "no", toNone: true)
        #expect(isReverted && store.accepted.isEmpty)
        isReverted = store.revert(because: "no")
        #expect(!isReverted && store.accepted.isEmpty)
        #expect(log.count(of: "left out") == 4)
    }
}
