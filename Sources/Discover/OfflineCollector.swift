import FoundationEssentials
import Shared

/// What a docker-discover would know, found out once from etcd, HAProxy and the files in `STATE_DIR`; it only reads.
struct OfflineCollector: Sendable {
    private let configuration: DiscoverSettings
    private let searchPath: String
    private let logger: Logger

    /// For one answer of etcd; longer than it takes to notice that it has no quorum.
    private static let deadline = Duration.seconds(8)

    /// Why nothing can be said.
    enum Failure: Error, Equatable {
        /// libcurl does not work.
        case noHTTP
        /// etcd does not answer, and there is no copy of what it said.
        case noRegistry(reason: String)
    }

    /// Prepares to ask.
    init(_ configuration: DiscoverSettings, searchPath: String, logger: Logger) {
        self.configuration = configuration
        self.searchPath = searchPath
        self.logger = logger
    }

    /// Asks etcd, and where it does not answer takes the copy on the disk.
    func find() async throws -> Snapshot {
        let access = try await access()
        var snapshot = Snapshot(
            agent: nil, store: Snapshot.Store(configuration),
            settings: configuration.settings(for: access?.program.abilities ?? .all),
            massLoss: MassLossGuard(holdTime: configuration.holdTime), process: access)
        snapshot.settings.certificates = CertificateCopies(snapshot.settings.routeFiles).digests
        let candidate = configuration.additionFiles.read()
        snapshot.settings.snippets = candidate.snippets
        for (place, failure) in candidate.failures { snapshot.snippetErrors[place.variable] = "\(failure)" }
        let file = RegistryCache(file: configuration.directory.catalog, keyspace: configuration.keyspace)
        let copy = (try? file.load()) ?? nil
        snapshot.settings.host.minCheckInterval = copy?.checkFloor ?? .zero
        let now = Timestamp.now()
        if let copy { _ = snapshot.massLoss.restore(copy.holds, besides: copy.registry, at: now) }
        let registry = try await registry(&snapshot.store, else: copy)
        snapshot.accept(registry)
        snapshot.inputs?.published = PublishedPorts(copy?.published ?? [], at: now)
        // What is over by the clock is over, also where nobody has looked yet.
        _ = snapshot.massLoss.evaluate(nil, at: now)
        snapshot.inputs?.held = snapshot.massLoss.records
        await snapshot.observePorts()
        snapshot.outputs = await outputs()
        return snapshot
    }

    /// The outputs, of which no agent tells how they are.
    private func outputs() async -> Snapshot.OutputFacts? {
        guard let outputs = configuration.outputs?.outputs, let http = HTTPClient() else { return nil }
        let client = Etcd.Client(http, configuration.etcd)
        var keys: [String: String]? = [:]
        for prefix in Set(outputs.flatMap(\.keys)) {
            let listing = try? await client.range(prefix: prefix, deadline: Self.deadline)
            let read = listing.map { Dictionary($0.keyValues.map(KeyRange.text)) { $1 } }
            keys = read.flatMap { read in keys?.merging(read) { $1 } }
        }
        return Snapshot.OutputFacts(
            statuses: outputs.map { OutputStatus(file: $0.file) }, definitions: outputs, keys: keys)
    }

    private func registry(_ store: inout Snapshot.Store, else copy: RegistryCache.Copy?) async throws -> RegistryState {
        guard let http = HTTPClient() else { throw Failure.noHTTP }
        var timing = RegistryWatcher.Timing()
        timing.deadline = Self.deadline
        let health = EtcdHealth(.discard)
        let source = RegistryWatcher(
            client: Etcd.Client(http, configuration.etcd), keyspace: configuration.keyspace,
            mode: configuration.mode, timing: timing, logger: logger, health: health)
        defer { store.health = health.state }
        do {
            let registry = try await source.once()
            health.answered()
            return registry
        } catch {
            health.failed(error)
            guard let copy else { throw Failure.noRegistry(reason: "\(error)") }
            store.isCopy = true
            return copy.registry
        }
    }

    /// How HAProxy is asked, and what it can do, which decides of the file; nil where there is none.
    private func access() async throws -> HAProxyAccess? {
        guard let haproxy = configuration.haproxy else { return nil }
        let program = try await HAProxyProgram.probe(
            haproxy, searchPath: searchPath, scratch: .temporary(in: configuration.directory))
        return configuration.access(program)
    }
}

extension Snapshot.Store {
    /// What is known from the start.
    init(_ configuration: DiscoverSettings) {
        self.init(
            members: configuration.etcd.members.names, keyspace: configuration.keyspace,
            mode: configuration.mode.description)
    }
}

extension OfflineCollector.Failure: CustomStringConvertible {
    /// One sentence for whoever asks.
    var description: String {
        switch self {
        case .noHTTP: "cannot initialize libcurl"
        case .noRegistry(let reason):
            "etcd does not answer, and STATE_DIR has no copy of what it said last: \(reason)"
        }
    }
}
