import Shared
import Testing

@testable import Discover

@Suite("Catalog")
struct CatalogTests {
    @Test func `an entry by hand is a service with one instance`() throws {
        let catalog = RegistryFixture(["web/1": "10.0.0.5:80"]).catalog
        let web = try #require(catalog.services.first)
        #expect(catalog.services.map(\.name.text) == ["web"])
        #expect(web.instances.map(\.endpoint.description) == ["10.0.0.5:80"])
        #expect(web.instances.map(\.meta) == [Meta()])
        #expect(catalog.problems.isEmpty)
    }

    @Test func `meta, config and port belong to their service, whatever their order`() throws {
        let catalog = RegistryFixture([
            "web/config": #"{"port": 9000}"#, "web/1/meta": #"{"port": 8000, "image": "whoami:1"}"#,
            "web/port": "8080", "web/1": "[fd00::5]:80", "api/2": "10.0.0.6:81",
        ]).catalog
        let web = try #require(catalog.services.last)
        #expect(catalog.services.map(\.name.text) == ["api", "web"])
        #expect(web.config.options.port?.number == 9000)
        #expect(web.port?.number == 8080)
        #expect(web.instances.first?.meta.image == "whoami:1")
        #expect(web.instances.first?.endpoint.description == "[fd00::5]:80")
        #expect(catalog.instanceCount == 2)
    }

    @Test(
        arguments: [
            ["web/1/meta": #"{"withdrawn": "stopped", "at": "2026-01-01T00:00:00Z"}"#],
            ["web/config": #"{"port": 80}"#],
            ["web/port": "80"],
            [:],
        ] as [KeyValuePairs<String, String>])
    func `without an entry there is no service`(pairs: KeyValuePairs<String, String>) {
        let catalog = RegistryFixture(pairs).catalog
        #expect(catalog.services.isEmpty)
        #expect(catalog.problems.isEmpty)
    }

    @Test(
        arguments: [
            "", "1.2.3.4", ":80", "1.2.3.4:99999", "1.2.3.4:0", "1.2.3.4:80\n", "1.2.3.4:80\nserver x 6.6.6.6:1",
            " 1.2.3.4:80", "host:80", "fd00::5:80", "[1.2.3.4]:80", "1.2.3.4:80 check", #"{"a": 1}"#, "0.0.0.0:80",
            "[::]:80", "224.0.0.1:80", "1.2.3.4:080", "a megabyte",
        ])
    func `a value that is no endpoint costs only itself`(given: String) throws {
        let value = given == "a megabyte" ? String(repeating: "x", count: 1 << 20) : given
        let catalog = RegistryFixture(["web/1": value, "web/2": "10.0.0.5:80", "api/1": "10.0.0.6:80"]).catalog
        #expect(catalog.services.map(\.instances.count) == [1, 1])
        let problem = try #require(catalog.problems.first)
        #expect(catalog.problems.count == 1)
        #expect(problem.subject == "/backends/web/1")
        #expect(problem.explanation.contains("is not IP:PORT"))
        #expect(problem.explanation.utf8.count < 300)
        #expect(!problem.explanation.contains("\n"))
    }

    @Test(
        arguments: [
            ("web app/1", "the service's name"), ("web/", "the instance's id"), ("/1", "the service's name"),
            ("web/a b", "the instance's id"), ("a/b/1", "a shape"), ("web", "a shape"), ("web/1/meta/x", "a shape"),
            ("-web/1", "the service's name"), ("we\"b/1", "the service's name"), ("web/1\n", "the instance's id"),
            (String(repeating: "s", count: 129) + "/1", "the service's name"),
        ])
    func `a key of another shape costs only itself`(key: String, why: String) throws {
        let catalog = RegistryFixture([key: "10.0.0.5:80", "api/1": "10.0.0.6:80"]).catalog
        #expect(catalog.services.map(\.name.text) == ["api"])
        #expect(try #require(catalog.problems.first).explanation.contains(why))
    }

    @Test func `bytes that are not UTF-8 cost only themselves`() {
        var fixture = RegistryFixture(["api/1": "10.0.0.6:80"])
        fixture.put(Array("/backends/web/1".utf8), [0xff, 0xfe, 0x00])
        fixture.put(Array("/backends/".utf8) + [0xc3, 0x28] + Array("/1".utf8), Array("10.0.0.1:80".utf8))
        #expect(fixture.catalog.services.map(\.name.text) == ["api"])
        #expect(fixture.catalog.problems.count == 2)
    }

    @Test(
        arguments: [
            ("web/1/meta", "not json", "a JSON object"), ("web/1/meta", "[1]", "a JSON object"),
            ("web/1/meta", #"{"port": "x"}"#, "port: not a port"), ("web/1/meta", #"{"port": 0}"#, "port: not a port"),
            ("web/1/meta", #"{"image": 5}"#, "image: not a string"), ("web/config", "80", "a JSON object"),
            ("web/config", #"{"port": 70000}"#, "port: not a port"), ("web/port", "eighty", "a port from 1"),
            ("web/port", "", "a port from 1"),
            ("web/config", #"{"prot": 81}"#, "prot: there is no such field; did you mean port?"),
            ("web/1/meta", #"{"prot": 81}"#, "prot: there is no such field; did you mean port?"),
        ])
    func `wrong meta, config and port count as absent`(key: String, value: String, expected: String) throws {
        let fixture = RegistryFixture(["web/1": "10.0.0.5:80", key: value])
        #expect(fixture.plan.listeners.map(\.port.number) == [80])
        #expect(try #require(fixture.catalog.problems.first).explanation.contains(expected))
    }

    @Test func `what an agent has written may be newer than this version`() {
        let entries = [("web/1", "10.0.0.5:80"), ("web/1/meta", #"{"prot": 81}"#)].map { key, value in
            Etcd.KeyValue(
                key: Array("/backends/\(key)".utf8), value: Array(value.utf8), createRevision: 1, modRevision: 1,
                lease: 7)
        }
        let listing = Etcd.RangeResult(revision: 1, clusterID: "c", keyValues: entries)
        #expect(Catalog(RegistryState(keyspace: RegistryFixture.keyspace, listing: listing)).problems.isEmpty)
    }

    @Test(
        arguments: [
            (["a/web:1", "b/web:1"], true), (["r:5000/a/web:1", "r:5000/a/web:2"], false),
            (["web", "web@sha256:00ff"], false), (["sha256:00ff", "web:1"], false), (["r:5000/web", "web"], true),
        ])
    func `a service fed by several repositories is told`(images: [String], isTold: Bool) {
        var fixture = RegistryFixture()
        for (number, image) in images.enumerated() {
            fixture.put("web/\(number)", "10.0.0.\(number + 1):80")
            fixture.put("web/\(number)/meta", "{\"image\": \"\(image)\"}")
        }
        let isThere = fixture.catalog.problems.contains { if case .repositoriesDiffer = $0 { true } else { false } }
        #expect(isThere == isTold)
    }

    @Test func `changes lead to the same state as a listing`() {
        let before = RegistryFixture(["web/1": "10.0.0.5:80", "web/2": "10.0.0.6:80", "old/1": "10.0.0.7:80"])
        var after = before
        after.put("web/3", "10.0.0.8:80")
        var state = before.state
        state.apply(
            Etcd.Changes(
                revision: 5,
                events: after.keyValues.suffix(1).map { .put($0) }
                    + [.delete(key: Array("/backends/old/1".utf8), modRevision: 5)]))
        #expect(Catalog(state).services.map(\.name.text) == ["web"])
        #expect(Catalog(state).services.first?.instances.map(\.id.text) == ["1", "2", "3"])
        #expect(state.revision == 5)
        state.replace(with: Etcd.RangeResult(revision: 6, clusterID: "d", keyValues: []))
        #expect(Catalog(state).services.isEmpty)
    }
}
