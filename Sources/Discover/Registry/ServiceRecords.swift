import Shared

/// All records that speak of one service, and what they come to.
///
/// It never changes; states of the registry share it, so that what did not change is not put together again.
final class ServiceRecords: Sendable {
    /// The records by key.
    let records: [[UInt8]: RegistryRecord]
    /// The service; nil where it has no instance, or the records are not of one.
    let service: Catalog.Service?
    /// Its claim of a port.
    let claim: Catalog.Claim?
    /// What was wrong, and left out.
    let problems: Set<Problem>

    /// Puts records together, whatever order they come in.
    ///
    /// - Parameter name: the service that they speak of; nil for those of which that is not known.
    init(_ records: [[UInt8]: RegistryRecord], of name: ServiceName?) {
        self.records = records
        var parts = Parts()
        for record in records.values { parts.take(record) }
        claim = parts.claim
        service = name.flatMap { parts.service($0, records) }
        var problems = parts.problems
        if let mixture = service?.mixture { problems.insert(mixture) }
        self.problems = problems
    }

    /// The records, sorted by what they are.
    private struct Parts {
        private(set) var problems: Set<Problem> = []
        private(set) var claim: Catalog.Claim?
        private var config = ServiceConfig()
        private var port: Port?
        private var metas: [InstanceID: RegistryRecord] = [:]

        mutating func take(_ record: RegistryRecord) {
            problems.formUnion(record.problems)
            switch record.content {
            case .meta(_, let id, _): metas[id] = record
            case .config(_, let config): self.config = config
            case .port(_, let port): self.port = port
            case .claim(_, let claim):
                self.claim = Catalog.Claim(claim: claim, revision: record.keyValue.modRevision)
            case .entry, .nothing: break
            }
        }

        func service(_ name: ServiceName, _ records: [[UInt8]: RegistryRecord]) -> Catalog.Service? {
            let instances = records.values.compactMap { record -> Catalog.Instance? in
                guard case .entry(_, let id, let endpoint) = record.content else { return nil }
                return Catalog.Instance(id: id, endpoint: endpoint, entry: record, meta: metas[id])
            }
            guard !instances.isEmpty else { return nil }
            return Catalog.Service(
                name: name, instances: instances.sorted { $0.id < $1.id }, config: config, port: port)
        }
    }
}

extension Catalog.Service {
    /// The problem of being fed by several repositories, such as `a/web` and `b/web`.
    fileprivate var mixture: Problem? {
        let first = instances.first?.repository
        guard instances.contains(where: { $0.repository != first }) else { return nil }
        let repositories = Set(instances.compactMap(\.repository))
        return repositories.count > 1 ? .repositoriesDiffer(name, repositories: repositories.sorted()) : nil
    }
}
