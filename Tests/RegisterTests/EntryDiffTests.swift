// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Testing

@testable import Register

@Suite("EntryDiff")
struct EntryDiffTests {
    private static let web = EntryID(service: ServiceName("web")!, id: InstanceID("aaaaaaaaaaaa")!)
    private static let entry = DesiredEntry(
        id: web, endpoint: Endpoint("10.0.0.1:80")!, meta: Array("{}".utf8), source: .container)
    private static let there = RegisteredEntry(
        value: Array("10.0.0.1:80".utf8), meta: Array("{}".utf8), isLeased: true, source: .container)

    private func changes(
        _ registered: [EntryID: RegisteredEntry], _ desired: [DesiredEntry], running: [InstanceID] = []
    ) -> [EntryChange] {
        EntryDiff.changes(
            from: registered,
            to: Desired(
                entries: Dictionary(uniqueKeysWithValues: desired.map { ($0.id, $0) }),
                withdrawalReasons: Dictionary(uniqueKeysWithValues: running.map { ($0, "no longer published") })))
    }

    @Test func `what is there as it should be needs nothing`() {
        #expect(changes([Self.web: Self.there], [Self.entry]) == [])
        #expect(changes([:], []) == [])
    }

    @Test(arguments: [
        RegisteredEntry?.none,
        RegisteredEntry(value: nil, meta: nil, isLeased: false, source: .container),
        RegisteredEntry(value: nil, meta: there.meta, isLeased: true, source: .container),
        RegisteredEntry(value: there.value, meta: nil, isLeased: true, source: .container),
        RegisteredEntry(value: Array("10.0.0.1:81".utf8), meta: there.meta, isLeased: true, source: .container),
        RegisteredEntry(
            value: there.value, meta: Array(#"{"withdrawn":"x"}"#.utf8), isLeased: true, source: .container),
        RegisteredEntry(value: there.value, meta: there.meta, isLeased: false, source: .container),
    ])
    func `what is missing, differs or goes with another lease is put`(published: RegisteredEntry?) {
        let known = published.map { [Self.web: $0] } ?? [:]
        #expect(changes(known, [Self.entry]) == [.put(Self.entry)])
    }

    @Test func `what should not be there is withdrawn, with the reason`() {
        #expect(changes([Self.web: Self.there], []) == [.withdraw(Self.web, reason: "container stopped")])
        #expect(
            changes([Self.web: Self.there], [], running: [Self.web.id])
                == [.withdraw(Self.web, reason: "no longer published")])
    }

    @Test func `a withdrawal says of which container the entry was`() {
        var published = Self.there
        published.meta = Array(#"{"container":"web-1","port":80}"#.utf8)
        #expect(
            changes([Self.web: published], [])
                == [.withdraw(Self.web, reason: "container stopped", container: "web-1")])
    }

    @Test func `what is no container's is withdrawn although nothing is known of containers, whose entries stay`() {
        let main = EntryID(service: Self.web.service, id: InstanceID("main")!)
        var ofFile = Self.there
        ofFile.source = .servicesFile
        let registered = [Self.web: Self.there, main: ofFile]
        let withdrawal = EntryChange.withdraw(main, reason: "no longer in the services file")
        #expect(EntryDiff.changes(from: registered, to: Desired(undecided: .allContainers)) == [withdrawal])
        #expect(
            EntryDiff.changes(from: registered, to: Desired())
                == [.withdraw(Self.web, reason: "container stopped"), withdrawal])
    }

    @Test func `what an entry is about is what its meta says, and not what its id looks like`() {
        for (json, source) in [
            ("{}", EntrySource.servicesFile), (#"{"container":""}"#, .container), ("x", .servicesFile),
        ] {
            let meta = Etcd.KeyValue(key: [], value: Array(json.utf8), createRevision: 1, modRevision: 1, lease: 0)
            #expect(RegisteredEntry(value: nil, meta: meta, lease: 0).source == source)
        }
    }

    @Test func `what belongs to a container that cannot be read stays as it is, under the lease of now`() {
        var old = Self.there
        func changes(_ state: RegisteredEntry) -> [EntryChange] {
            EntryDiff.changes(from: [Self.web: state], to: Desired(undecided: .containers([Self.web.id])))
        }
        #expect(changes(old) == [])
        old.isLeased = false
        #expect(changes(old) == [.put(Self.entry)])
        old.value = [0xff]
        #expect(changes(old) == [])
        old.meta = nil
        #expect(changes(old) == [])
    }

    @Test func `what is left of an entry is withdrawn too, and nothing is not`() {
        let withdrawal = EntryChange.withdraw(Self.web, reason: "container stopped")
        #expect(
            changes([Self.web: RegisteredEntry(value: nil, meta: [1], isLeased: true, source: .container)], []) == [
                withdrawal
            ])
        #expect(
            changes([Self.web: RegisteredEntry(value: [1], meta: nil, isLeased: true, source: .container)], []) == [
                withdrawal
            ])
        #expect(
            changes([Self.web: RegisteredEntry(value: nil, meta: nil, isLeased: false, source: .container)], []) == [])
    }

    @Test func `what should be there comes before what should go`() {
        let old = EntryID(service: ServiceName("a")!, id: InstanceID("aaaaaaaaaaaa")!)
        #expect(
            changes([old: Self.there], [Self.entry])
                == [.put(Self.entry), .withdraw(old, reason: "container stopped")])
    }
}
