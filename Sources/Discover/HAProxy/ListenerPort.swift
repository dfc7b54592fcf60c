import Shared

/// The port that a service wants to listen on.
///
/// An operator's `config` comes first, then the `/port` key, then what the newest instance says in its meta, then the
/// port in the newest entry's own value.
struct ListenerPort: Equatable {
    /// The port.
    let port: Port

    /// The instances' disagreement, where they decided and did not agree.
    let problems: Set<Problem>

    /// Decides; nil for a service without instances.
    init?(_ service: Catalog.Service) {
        if let port = service.config.options.port ?? service.port {
            self.port = port
            problems = []
            return
        }
        // Of equal revisions, which one transaction makes, the greater id is the newer one.
        let byAge = service.instances.sorted { ($0.createRevision, $0.id) < ($1.createRevision, $1.id) }
        let said = byAge.compactMap(\.meta.options.port)
        let candidates = said.isEmpty ? byAge.map(\.endpoint.port) : said
        guard let newest = candidates.last else { return nil }
        port = newest
        let all = Set(candidates).sorted()
        problems = all.count > 1 ? [.portsDiffer(service.name, ports: all, chosen: newest)] : []
    }
}
