import Shared

@testable import Discover

/// A registry as tests write it down: each line is put at the next revision, beginning with 1.
struct RegistryFixture {
    static let keyspace = Keyspace(prefix: Keyspace.standard) ?? Self.impossible

    var keyValues: [Etcd.KeyValue] = []

    /// Puts text below the prefix, or beside it where the key begins with `-ports/` or `-routes/`.
    @discardableResult
    mutating func put(_ key: String, _ value: String) -> Self {
        let isBeside = key.hasPrefix("-ports/") || key.hasPrefix("-routes/")
        let place = isBeside ? String(Self.keyspace.prefix.dropLast()) : Self.keyspace.prefix
        return put(Array((place + key).utf8), Array(value.utf8))
    }

    /// Puts bytes.
    @discardableResult
    mutating func put(_ key: [UInt8], _ value: [UInt8]) -> Self {
        let revision = Int64(keyValues.count + 1)
        keyValues.append(
            Etcd.KeyValue(key: key, value: value, createRevision: revision, modRevision: revision, lease: 0))
        return self
    }

    /// Makes one of pairs of key and value.
    init(_ pairs: KeyValuePairs<String, String> = [:]) {
        for (key, value) in pairs { put(key, value) }
    }

    /// The state, after the keys came in any order.
    var state: RegistryState {
        let listing = Etcd.RangeResult(
            revision: Int64(keyValues.count), clusterID: "c", keyValues: keyValues.shuffled())
        return RegistryState(keyspace: Self.keyspace, listing: listing)
    }

    /// The catalog.
    var catalog: Catalog { Catalog(state) }

    /// The plan, with the stats page on 1936.
    var plan: DesiredState { plan(on: HAProxySettings.sample.host) }

    /// The plan on a host.
    func plan(on host: HostSettings) -> DesiredState { DesiredState(DesiredInputs(registry: state, host: host)) }

    private static var impossible: Keyspace { preconditionFailure("the standard prefix is a prefix") }
}

/// A port that a test names.
func port(_ number: Int) -> Port {
    guard let port = Port(number) else { preconditionFailure("\(number) is no port") }
    return port
}

/// A service that a test names.
func service(_ name: String) -> ServiceName {
    guard let service = ServiceName(name) else { preconditionFailure("\(name) is no service") }
    return service
}
