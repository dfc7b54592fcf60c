import Shared

/// The port that a service wants to listen on.
///
/// An operator's `config` comes first, then the `/port` key, then what the newest instance says in its meta, then the
/// port in the newest entry's own value.
struct ListenerPort: Equatable {
    /// The port.
    let port: Port

    /// Whether an operator said so.
    let isOperators: Bool

    /// The revision since which an entry asks for the port; where an operator does, that of the oldest entry.
    let age: Int64

    /// The instances' disagreement, where they decided and did not agree.
    let problems: Set<Problem>

    /// Decides; nil for a service without instances.
    init?(_ service: Catalog.Service) {
        guard let oldest = service.instances.map(\.createRevision).min() else { return nil }
        if let port = service.config.options.port ?? service.port {
            (self.port, isOperators, age, problems) = (port, true, oldest, [])
            return
        }
        let byAge = service.instances.sorted(by: Catalog.Instance.isOlder)
        let said = byAge.filter { $0.options.value.port != nil }
        let candidates = (said.isEmpty ? byAge : said).map { ($0.options.value.port ?? $0.endpoint.port, $0) }
        guard let newest = candidates.last?.0 else { return nil }
        port = newest
        isOperators = false
        age = candidates.first { $0.0 == newest }?.1.createRevision ?? oldest
        let all = Set(candidates.map(\.0))
        problems =
            all.count > 1
            ? [
                .valuesDiffer(
                    service.name, field: "port", values: all.sorted().map(\.description), chosen: newest.description)
            ] : []
    }
}

extension Catalog.Instance {
    /// Orders by age; of equal revisions, which one transaction makes, the greater id is the newer one.
    static func isOlder(_ left: Catalog.Instance, _ right: Catalog.Instance) -> Bool {
        (left.createRevision, left.id) < (right.createRevision, right.id)
    }
}
