// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Testing

@testable import Register

@Suite("EntryDiff")
struct EntryDiffTests {
    private static let web = EntryID(service: ServiceName("web")!, id: InstanceID("aaaaaaaaaaaa")!)
    private static let registration = DesiredEntry(
        slot: web, endpoint: Endpoint("10.0.0.1:80")!, meta: Array("{}".utf8))
    private static let there = RegisteredEntry(
        value: Array("10.0.0.1:80".utf8), meta: Array("{}".utf8), isLeased: true)

    private func plan(_ desired: [DesiredEntry], _ published: [EntryID: RegisteredEntry], running: [InstanceID] = [])
        -> [EntryChange]
    {
        EntryDiff.actions(
            desired: Dictionary(uniqueKeysWithValues: desired.map { ($0.slot, $0) }), published: published,
            reasons: Dictionary(uniqueKeysWithValues: running.map { ($0, "no longer published") }))
    }

    @Test func `what is there as it should be needs nothing`() {
        #expect(plan([Self.registration], [Self.web: Self.there]) == [])
        #expect(plan([], [:]) == [])
    }

    @Test(arguments: [
        RegisteredEntry?.none,
        RegisteredEntry(value: nil, meta: nil, isLeased: false),
        RegisteredEntry(value: nil, meta: there.meta, isLeased: true),
        RegisteredEntry(value: there.value, meta: nil, isLeased: true),
        RegisteredEntry(value: Array("10.0.0.1:81".utf8), meta: there.meta, isLeased: true),
        RegisteredEntry(value: there.value, meta: Array(#"{"withdrawn":"x"}"#.utf8), isLeased: true),
        RegisteredEntry(value: there.value, meta: there.meta, isLeased: false),
    ])
    func `what is missing, differs or goes with another lease is put`(published: RegisteredEntry?) {
        let known = published.map { [Self.web: $0] } ?? [:]
        #expect(plan([Self.registration], known) == [.put(Self.registration)])
    }

    @Test func `what should not be there is withdrawn, with the reason`() {
        #expect(plan([], [Self.web: Self.there]) == [.withdraw(Self.web, reason: "container stopped")])
        #expect(
            plan([], [Self.web: Self.there], running: [Self.web.id])
                == [.withdraw(Self.web, reason: "no longer published")])
    }

    @Test func `a withdrawal says of which container the entry was`() {
        var published = Self.there
        published.meta = Array(#"{"container":"web-1","port":80}"#.utf8)
        #expect(
            plan([], [Self.web: published])
                == [.withdraw(Self.web, reason: "container stopped", container: "web-1")])
    }

    @Test func `what is no container's is withdrawn although nothing is known of containers, whose entries stay`() {
        let main = EntryID(service: Self.web.service, id: InstanceID("main")!)
        for knowsContainers in [false, true] {
            let actions = EntryDiff.actions(
                desired: [:], published: [Self.web: Self.there, main: Self.there], reasons: [:],
                knowsContainers: knowsContainers)
            let ofContainer = knowsContainers ? [EntryChange.withdraw(Self.web, reason: "container stopped")] : []
            #expect(actions == ofContainer + [.withdraw(main, reason: "no longer in the services file")])
        }
    }

    @Test func `what belongs to a container that cannot be read stays as it is, under the lease of now`() {
        var old = Self.there
        func plan(_ state: RegisteredEntry) -> [EntryChange] {
            EntryDiff.actions(desired: [:], published: [Self.web: state], reasons: [:], unreadable: [Self.web.id])
        }
        #expect(plan(old) == [])
        old.isLeased = false
        #expect(plan(old) == [.put(Self.registration)])
        old.value = [0xff]
        #expect(plan(old) == [])
        old.meta = nil
        #expect(plan(old) == [])
    }

    @Test func `what is left of an entry is withdrawn too, and nothing is not`() {
        let withdrawal = EntryChange.withdraw(Self.web, reason: "container stopped")
        #expect(plan([], [Self.web: RegisteredEntry(value: nil, meta: [1], isLeased: true)]) == [withdrawal])
        #expect(plan([], [Self.web: RegisteredEntry(value: [1], meta: nil, isLeased: true)]) == [withdrawal])
        #expect(plan([], [Self.web: RegisteredEntry(value: nil, meta: nil, isLeased: false)]) == [])
    }

    @Test func `what should be there comes before what should go`() {
        let old = EntryID(service: ServiceName("a")!, id: InstanceID("aaaaaaaaaaaa")!)
        #expect(
            plan([Self.registration], [old: Self.there])
                == [.put(Self.registration), .withdraw(old, reason: "container stopped")])
    }
}
