import Shared

@testable import Discover

/// A registry that changes in steps, as etcd tells of it by a watch or by listings.
///
/// Keys are written without the prefix; entries of docker-register are under lease 7, others under none.
struct RegistryStory {
    /// One change of a step.
    enum Change {
        case put(String, String, lease: Int64 = 7)
        case delete(String)
    }

    /// What the reader has made of it.
    private(set) var state: RegistryState
    private var keys: [[UInt8]: Etcd.KeyValue] = [:]
    private var revision: Int64 = 0
    private var cluster = "c"

    init() {
        state = RegistryState(keyspace: RegistryFixture.keyspace)
        state.replace(with: listing)
    }

    /// One with these endpoints, such as `web/1`, each with a meta and at an address of its own.
    init(_ names: String...) {
        self.init()
        register(names)
    }

    /// Registers endpoints in one transaction.
    mutating func register(_ names: [String]) {
        watch(names.flatMap { [.put($0, Self.address(of: $0)), .put($0 + "/meta", "{}")] })
    }

    /// Withdraws endpoints as docker-register does.
    mutating func withdraw(_ names: String...) {
        watch(names.flatMap { [.put($0 + "/meta", #"{"withdrawn":"container stopped"}"#), .delete($0)] })
    }

    /// Lets endpoints go with their lease.
    mutating func expire(_ names: String...) {
        watch(names.flatMap { [.delete($0 + "/meta"), .delete($0)] })
    }

    /// Changes keys at one revision, of which a watch tells.
    mutating func watch(_ changes: [Change]) { state.apply(happen(changes)) }

    /// Changes keys at one revision each; all of it comes in one message of a watch that was behind.
    mutating func catchUp(_ steps: [[Change]]) {
        let events = steps.flatMap { happen($0).events }
        state.apply(Etcd.Changes(revision: revision, events: events))
    }

    /// Changes keys at one revision each while the reader is away, who lists then.
    mutating func miss(_ steps: [Change]...) {
        for step in steps { _ = happen(step) }
        state.replace(with: listing)
    }

    /// Replaces the store by one with these keys only, at a revision; the reader lists then.
    mutating func replaceStore(cluster: String, revision: Int64, keeping names: String...) {
        let prefix = RegistryFixture.keyspace.prefix
        self.cluster = cluster
        self.revision = revision
        keys = keys.filter { key, _ in names.contains { String(decoding: key, as: UTF8.self).hasPrefix(prefix + $0) } }
        state.replace(with: listing)
    }

    /// Empties the store, which keeps its cluster's id, and goes on in it before the reader lists.
    mutating func emptyStore(then steps: [Change]...) {
        keys = [:]
        revision = 1
        for step in steps { _ = happen(step) }
        state.replace(with: listing)
    }

    /// The address of an endpoint: a host for each service, a port for each id.
    static func address(of name: String) -> String {
        let parts = name.split(separator: "/")
        return "10.0.0.\((parts[0].utf8.first ?? 0) % 100):\(8000 + (Int(parts[1]) ?? 0))"
    }

    private var listing: Etcd.RangeResult {
        Etcd.RangeResult(revision: revision, clusterID: cluster, keyValues: keys.values.shuffled())
    }

    private mutating func happen(_ changes: [Change]) -> Etcd.Changes {
        revision += 1
        let events = changes.map { change in
            switch change {
            case .put(let key, let value, let lease):
                let bytes = Array((RegistryFixture.keyspace.prefix + key).utf8)
                let keyValue = Etcd.KeyValue(
                    key: bytes, value: Array(value.utf8), createRevision: keys[bytes]?.createRevision ?? revision,
                    modRevision: revision, lease: lease)
                keys[bytes] = keyValue
                return Etcd.Event.put(keyValue)
            case .delete(let key):
                let bytes = Array((RegistryFixture.keyspace.prefix + key).utf8)
                keys[bytes] = nil
                return .delete(key: bytes, modRevision: revision)
            }
        }
        return Etcd.Changes(revision: revision, events: events)
    }
}

extension RegistryState {
    /// The names of what was lost, in order.
    var lost: [String] { losses.values.map(\.name).sorted().map(\.description) }
}
