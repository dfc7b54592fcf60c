import Shared

/// The ports that endpoints on this host have, or had until a short while ago: HAProxy leaves them alone.
///
/// Between `docker rm` and `docker run`, and while the engine restarts, such a port is free for a moment. A container
/// that finds it taken then does not start, and the engine does not try again.
struct PublishedPorts: Equatable, Sendable {
    /// An endpoint on this host.
    struct Record: Equatable, Sendable {
        /// Its entry.
        var name: EntryID
        /// Whether it was seen that the port is published on all addresses, not only on the one in the entry.
        var isEverywhere = false
        /// Until when the port is left alone, as time since the beginning of 1970; nil while it is registered.
        var until: Duration?
    }

    /// For how long a port is left alone after the endpoint is gone: a deployment, a restart of the engine or of the host
    /// takes less.
    static let retention = Duration.seconds(600)

    /// The endpoints.
    private(set) var records: [Endpoint: Record] = [:]
    private var byPort: [Port: Set<Endpoint>] = [:]

    /// Makes one that knows nothing.
    init() {}

    /// Takes what an earlier run knew.
    ///
    /// The host may have been down meanwhile: the time begins anew.
    init(_ known: [PersistedPort], at now: Duration) {
        for port in known {
            let record = Record(name: port.name, isEverywhere: port.isEverywhere, until: now + Self.retention)
            put(port.endpoint, record)
        }
    }

    /// What the next run should know.
    var persisted: [PersistedPort] {
        records.sorted { $0.key < $1.key }.map {
            PersistedPort(endpoint: $0.key, name: $0.value.name, isEverywhere: $0.value.isEverywhere)
        }
    }

    /// Records which endpoints are on this host now, and where others than HAProxy listen.
    mutating func update(_ registered: [Endpoint: EntryID], taken: some Sequence<BindAddress>, at now: Duration) {
        add(registered)
        for (endpoint, record) in records where registered[endpoint] == nil && record.until == nil {
            records[endpoint]?.until = now + Self.retention
        }
        for bind in taken where bind.address != nil {
            for endpoint in byPort[bind.port] ?? [] where records[endpoint]?.until == nil {
                records[endpoint]?.isEverywhere = true
            }
        }
        _ = expire(at: now)
    }

    /// Adds endpoints that are registered.
    mutating func add(_ registered: [Endpoint: EntryID]) {
        for (endpoint, name) in registered {
            put(endpoint, Record(name: name, isEverywhere: records[endpoint]?.isEverywhere ?? false))
        }
    }

    /// Forgets those whose time is over; returns whether there were any.
    mutating func expire(at now: Duration) -> Bool {
        let over = records.filter { _, record in record.until.map { $0 <= now } ?? false }.keys
        for endpoint in over {
            records[endpoint] = nil
            byPort[endpoint.port]?.remove(endpoint)
            if byPort[endpoint.port]?.isEmpty == true { byPort[endpoint.port] = nil }
        }
        return !over.isEmpty
    }

    /// How long until the next time is over; nil for never.
    func wait(at now: Duration) -> Duration? { records.values.compactMap(\.until).min().map { max($0 - now, .zero) } }

    /// The endpoint because of which HAProxy does not listen at an address; nil for none.
    func holder(of bind: BindAddress) -> (endpoint: Endpoint, record: Record)? {
        guard let endpoints = byPort[bind.port] else { return nil }
        for endpoint in endpoints.sorted() {
            guard let record = records[endpoint] else { continue }
            let isSame = bind.address.map { $0.isUnspecified || $0 == endpoint.address } ?? true
            if isSame || record.isEverywhere { return (endpoint, record) }
        }
        return nil
    }

    private mutating func put(_ endpoint: Endpoint, _ record: Record) {
        records[endpoint] = record
        byPort[endpoint.port, default: []].insert(endpoint)
    }
}
