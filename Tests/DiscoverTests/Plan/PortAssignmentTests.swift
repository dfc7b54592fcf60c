import Shared
import Testing

@testable import Discover

@Suite("PortAssignment")
struct PortAssignmentTests {
    struct Case: CustomTestStringConvertible {
        let name: String
        let keys: KeyValuePairs<String, String>
        let ports: [String]
        /// The ports besides, which are asked for and nobody else has.
        var lent: [String] = []
        var changes: [String] = []
        var losers: [String] = []

        var testDescription: String { name }
    }

    static let range = PortRange("20000-20002")

    static let cases = [
        Case(
            name: "each service gets what it asks for, and is to keep it",
            keys: ["a/1": "10.0.0.5:80", "b/1": "10.0.0.5:81"], ports: ["a:80", "b:81"],
            changes: ["a keeps 80", "b keeps 81"]),
        Case(
            name: "who asked first has the port, and both are to keep what they have",
            keys: ["b/1": "10.0.0.5:80", "a/1": "10.0.0.5:80"], ports: ["b:80"],
            changes: ["b keeps 80", "a keeps 20001 for 80"], losers: ["a: 80 of b, 20001"]),
        Case(
            name: "claims count, whatever the entries' age",
            keys: [
                "b/1": "10.0.0.5:80", "a/1": "10.0.0.5:80", "-ports/a": #"{"port":80}"#,
                "-ports/b": #"{"port":20001,"instead_of":80}"#,
            ], ports: ["a:80", "b:20001"], losers: ["b: 80 of a, 20001"]),
        Case(
            name: "of two claims of one port the older one counts, and the other service gets another port",
            keys: [
                "a/1": "10.0.0.5:80", "b/1": "10.0.0.5:80", "c/1": "10.0.0.5:80", "-ports/c": #"{"port":80}"#,
                "-ports/b": #"{"port":20000,"instead_of":80}"#, "-ports/a": #"{"port":20000,"instead_of":80}"#,
            ], ports: ["b:20000", "c:80"], changes: ["a keeps 20001 for 80 instead of 6"],
            losers: ["a: 80 of c, 20001", "b: 80 of c, 20000"]),
        Case(
            name: "who has been given a port stays there when the other service goes, and listens on its own besides",
            keys: [
                "a/1": "10.0.0.5:80", "-ports/gone": #"{"port":80}"#, "-ports/a": #"{"port":20000,"instead_of":80}"#,
            ], ports: ["a:20000"], lent: ["a:80"]),
        Case(
            name: "of a service that was withdrawn a moment ago nobody gets the port besides, nor does a newcomer",
            keys: [
                "a/1": "10.0.0.5:80", "-ports/gone": #"{"port":80}"#, "-ports/a": #"{"port":20000,"instead_of":80}"#,
                "gone/1/meta": #"{"withdrawn":"container stopped"}"#, "new/1": "10.0.0.6:80",
            ], ports: ["a:20000"], changes: ["new keeps 20001 for 80"],
            losers: ["a: 80 of gone, 20000", "new: 80 of a, 20001"]),
        Case(
            name: "a newcomer does not get what an older service has besides",
            keys: [
                "a/1": "10.0.0.5:80", "-ports/a": #"{"port":20000,"instead_of":80}"#, "new/1": "10.0.0.6:80",
                "b/1": "10.0.0.7:80", "-ports/b": #"{"port":20002,"instead_of":80}"#,
            ], ports: ["a:20000", "b:20002"], lent: ["a:80"], changes: ["new keeps 20001 for 80"],
            losers: ["b: 80 of a, 20002", "new: 80 of a, 20001"]),
        Case(
            name: "a newcomer takes over what belongs to a service that is gone",
            keys: ["-ports/gone": #"{"port":80}"#, "a/1": "10.0.0.5:80"], ports: ["a:80"],
            changes: ["gone gives 1 up", "a keeps 80"]),
        Case(
            name: "a service that comes back finds its port again",
            keys: [
                "-ports/back": #"{"port":80}"#, "-ports/a": #"{"port":20000,"instead_of":80}"#, "a/1": "10.0.0.5:80",
                "back/1": "10.0.0.5:80",
            ], ports: ["a:20000", "back:80"], losers: ["a: 80 of back, 20000"]),
        Case(
            name: "a claim means nothing for another wish",
            keys: [
                "a/1": "10.0.0.5:81", "b/1": "10.0.0.5:81", "-ports/b": #"{"port":80}"#,
                "-ports/c": #"{"port":82}"#, "c/1": "10.0.0.5:83",
            ], ports: ["a:81", "c:83"],
            changes: ["a keeps 81", "c keeps 83 instead of 4", "b keeps 20001 for 81 instead of 3"],
            losers: ["b: 81 of a, 20001"]),
        Case(
            name: "an operator's word counts more than a claim",
            keys: [
                "a/1": "10.0.0.5:80", "-ports/a": #"{"port":80}"#, "b/1": "10.0.0.5:90", "b/config": #"{"port":80}"#,
            ], ports: ["b:80"], changes: ["b keeps 80", "a keeps 20001 for 80 instead of 2"],
            losers: ["a: 80 of b, 20001"]),
        Case(
            name: "an operator's word brings a service back from the port that it was given",
            keys: [
                "a/1": "10.0.0.5:80", "-ports/a": #"{"port":80}"#, "b/1": "10.0.0.5:80",
                "-ports/b": #"{"port":20001,"instead_of":80}"#, "b/port": "80",
            ], ports: ["b:80"], changes: ["b keeps 80 instead of 4", "a keeps 20002 for 80 instead of 2"],
            losers: ["a: 80 of b, 20002"]),
        Case(
            name: "of two operators' words the first claim counts",
            keys: [
                "a/1": "10.0.0.5:1", "b/1": "10.0.0.5:2", "a/port": "80", "b/port": "80", "-ports/b": #"{"port":80}"#,
                "-ports/a": #"{"port":20001,"instead_of":80}"#,
            ], ports: ["a:20001", "b:80"], losers: ["a: 80 of b, 20001"]),
        Case(
            name: "nobody is given a port that somebody asks for, or has claimed",
            keys: [
                "w/1": "10.0.0.5:80", "x/1": "10.0.0.5:80", "y/1": "10.0.0.5:20000", "-ports/gone": #"{"port":20001}"#,
            ], ports: ["w:80", "y:20000"], changes: ["w keeps 80", "y keeps 20000", "x keeps 20002 for 80"],
            losers: ["x: 80 of w, 20002"]),
        Case(
            name: "ports of services that are gone are given away where no other is left",
            keys: [
                "w/1": "10.0.0.5:80", "x/1": "10.0.0.5:80", "y/1": "10.0.0.5:20000", "z/1": "10.0.0.5:20002",
                "-ports/gone": #"{"port":20001}"#,
            ], ports: ["w:80", "y:20000", "z:20002"],
            changes: ["w keeps 80", "y keeps 20000", "z keeps 20002", "gone gives 5 up", "x keeps 20001 for 80"],
            losers: ["x: 80 of w, 20001"]),
        Case(
            name: "where no port is left the service is left out",
            keys: [
                "v/1": "10.0.0.5:80", "w/1": "10.0.0.5:80", "x/1": "10.0.0.5:20001", "y/1": "10.0.0.5:20000",
                "z/1": "10.0.0.5:20002",
            ], ports: ["v:80", "x:20001", "y:20000", "z:20002"],
            changes: ["v keeps 80", "x keeps 20001", "y keeps 20000", "z keeps 20002"],
            losers: ["w: 80 of v, none"]),
        Case(
            name: "services on addresses of their own share a port",
            keys: [
                "a/1": "10.0.0.5:80", "a/config": #"{"listen_address":"127.0.0.2"}"#, "b/1": "10.0.0.5:80",
                "b/config": #"{"listen_address":"127.0.0.3"}"#, "c/1": "10.0.0.5:80",
            ], ports: ["a:80", "b:80"], changes: ["a keeps 80", "b keeps 80", "c keeps 20002 for 80"],
            losers: ["c: 80 of a, 20002"]),
    ]

    private func assignment(_ catalog: Catalog) throws -> PortAssignment {
        PortAssignment(
            catalog.services.compactMap { ResolvedService($0, zone: nil) }, claims: catalog.claims,
            range: try #require(Self.range), leaving: catalog.leaving, in: RegistryFixture.keyspace)
    }

    @Test(arguments: cases)
    func `ports are assigned`(example: Case) throws {
        let assignment = try assignment(RegistryFixture(example.keys).catalog)
        #expect(assignment.ports.map { "\($0):\($1)" }.sorted() == example.ports)
        #expect(assignment.lent.map { "\($0):\($1)" }.sorted() == example.lent)
        #expect(assignment.changes.map(\.text) == example.changes)
        let losers = assignment.problems.map { problem -> String in
            guard case .portClaimed(let service, let port, let winner, let other, _) = problem else {
                return "\(problem)"
            }
            return "\(service): \(port) of \(winner?.text ?? "nobody"), \(other?.description ?? "none")"
        }
        #expect(losers.sorted() == example.losers)
    }

    /// A registry in which services come, go, are deployed anew and told other ports, while consumers write claims.
    @Test(arguments: 0..<40)
    func `whatever happens, ports are distinct, settle soon and stay`(seed: UInt64) throws {
        var random = SplitMix(seed)
        var registry = ChangingRegistry()
        var before: [ServiceName: (port: Port, wish: Port)] = [:]
        for _ in 0..<60 {
            registry.change(&random)
            var rounds = 0
            while try !registry.settle(assignment(registry.catalog).changes) {
                rounds += 1
                try #require(rounds < 5)
            }
            let catalog = registry.catalog
            let now = try assignment(catalog)
            let all = now.ports.map(\.value) + now.lent.map(\.value)
            #expect(Set(all).count == all.count)
            let leftOut = now.problems.count {
                if case .portClaimed(_, _, _, instead: nil, _) = $0 { true } else { false }
            }
            #expect(now.ports.count + leftOut == catalog.services.count)
            let wishes = Dictionary(uniqueKeysWithValues: catalog.services.map { ($0.name, ListenerPort($0)?.port) })
            for (service, had) in before where wishes[service] == had.wish && now.ports[service] != nil {
                #expect(now.ports[service] == had.port, "\(service)")
            }
            before = now.ports.reduce(into: [:]) { result, pair in
                if let wish = wishes[pair.key] ?? nil { result[pair.key] = (pair.value, wish) }
            }
        }
    }
}

extension PortAssignmentTests {
    /// Each service looked at all others: 6 000 took seconds, and 200 000 did not end.
    @Test(.timeLimit(.minutes(1)))
    func `a registry in which very many services ask for few ports is decided in time`() throws {
        var registry = RegistryFixture()
        for number in 0..<20_000 { registry.put("s\(number)/1", "10.0.0.5:\(number % 2 == 0 ? 80 : 1024 + number)") }
        let services = registry.catalog.services.compactMap { ResolvedService($0, zone: nil) }
        for range in ["1000-60000", "1000-1009"] {
            let begin = ContinuousClock.now
            let assignment = PortAssignment(
                services, claims: [:], range: try #require(PortRange(range)), in: RegistryFixture.keyspace)
            let took = begin.duration(to: .now)
            #expect(assignment.ports.count == 10_001 && assignment.problems.count == 9_999)
            // Two loops over all of them for each would be hundreds of times as much.
            #expect(took < .seconds(10), "\(took)")
        }
    }
}

extension PortClaimUpdate {
    /// As the cases write it down.
    fileprivate var text: String {
        switch self {
        case .put(let service, let claim, let revision):
            "\(service) keeps \(claim.port)" + (claim.port == claim.wish ? "" : " for \(claim.wish)")
                + (revision.map { " instead of \($0)" } ?? "")
        case .delete(let service, let revision): "\(service) gives \(revision) up"
        }
    }
}

/// Numbers that look random and are the same in each run.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// The keys of a registry with their revisions, as etcd would have them.
private struct ChangingRegistry {
    private var keys: [String: (value: String, created: Int64, modified: Int64)] = [:]
    private var revision: Int64 = 0

    var catalog: Catalog {
        let keyValues = keys.map { key, entry in
            Etcd.KeyValue(
                key: Array(((key.hasPrefix("-") ? "/backends" : "/backends/") + key).utf8),
                value: Array(entry.value.utf8), createRevision: entry.created,
                modRevision: entry.modified, lease: 0)
        }
        let listing = Etcd.RangeResult(revision: revision, clusterID: "c", keyValues: keyValues.shuffled())
        return Catalog(RegistryState(keyspace: RegistryFixture.keyspace, listing: listing))
    }

    private mutating func put(_ key: String, _ value: String) {
        revision += 1
        keys[key] = (value, keys[key]?.created ?? revision, revision)
    }

    /// One of a few services gets a newer instance, loses one, is asked for on another port, or goes.
    mutating func change(_ random: inout SplitMix) {
        let name = "s\(Int.random(in: 0..<6, using: &random))"
        let id = "\(name)/\(Int.random(in: 0..<3, using: &random))"
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<6: put(id, "10.0.0.1:\(80 + Int.random(in: 0..<2, using: &random))")
        case 6..<8: keys[id] = nil
        case 8: keys = keys.filter { !$0.key.hasPrefix(name + "/") }
        default:
            keys[id] = nil
            put("\(name)/new", "10.0.0.1:80")
        }
    }

    /// Does what still holds; returns whether there was nothing to do.
    mutating func settle(_ changes: [PortClaimUpdate]) -> Bool {
        for change in changes {
            switch change {
            case .put(let service, let claim, let expected) where keys["-ports/\(service)"]?.modified == expected:
                put("-ports/\(service)", (try? claim.json()).map { String(decoding: $0, as: UTF8.self) } ?? "")
            case .delete(let service, let expected) where keys["-ports/\(service)"]?.modified == expected:
                keys["-ports/\(service)"] = nil
            default: break
            }
        }
        return changes.isEmpty
    }
}

@Suite("Claims of absent services")
struct ClaimExpiryTests {
    @Test func `a claim lives on for a day without an instance, counted from the last time that there was one`() {
        var expiry = ClaimExpiry()
        let begin = ContinuousClock.now
        func expired(_ hours: Int, _ keys: KeyValuePairs<String, String>) -> [PortClaimUpdate] {
            let now = begin + .seconds(hours * 3600)
            let inputs = DesiredInputs(
                registry: RegistryFixture(keys).state, expiredClaims: expiry.expired(at: now),
                host: HAProxySettings.sample.host)
            let desired = DesiredState(inputs)
            expiry.update(desired.idleClaims, at: now)
            return desired.claims
        }
        let gone: KeyValuePairs = ["-ports/a": #"{"port":80}"#, "b/1": "10.0.0.5:81", "-ports/b": #"{"port":81}"#]
        let back: KeyValuePairs = ["-ports/a": #"{"port":80}"#, "a/1": "10.0.0.5:80"]
        #expect(expired(0, gone).isEmpty)
        #expect(expired(23, gone).isEmpty)
        #expect(expired(23, back).isEmpty)
        #expect(expired(46, gone).isEmpty)
        #expect(expired(69, gone).isEmpty)
        #expect(expired(70, gone) == [.delete(service("a"), revision: 1)])
        // An instance that came at the last moment keeps it.
        #expect(expired(71, back).isEmpty)
    }
}
