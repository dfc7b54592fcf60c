import Shared

/// Holds a changed route back until its new target has an endpoint that is up, as long as the old one has any.
///
/// So the order in which somebody starts containers and changes a route does not matter.
struct RouteSwitches: Sendable {
    /// A route that leads where it led.
    struct Waiting: Equatable, Sendable {
        /// What it said before.
        let record: RegistryRecord
        /// The services that have no endpoint that is up.
        var services: [ServiceName]
        /// Since when, as time since the beginning of 1970.
        let since: Duration

        /// What it said before.
        var route: Route? { if case .route(_, let route) = record.content { route } else { nil } }
    }

    /// How long a change waits at most.
    let limit: Duration
    /// What routes did when HAProxy last did all of it; nil where nobody knows.
    private(set) var leading: PartitionedTable<RegistryRecord>?
    /// The routes that wait.
    private(set) var waiting: [RouteName: Waiting] = [:]

    /// Begins with what an earlier run left, where HAProxy still does that.
    init(limit: Duration, leading: PartitionedTable<RegistryRecord>? = nil) {
        (self.limit, self.leading) = (limit, leading)
    }

    /// Between two looks whether a target is up.
    static let pause = Duration.milliseconds(100)

    /// The records of what the waiting ones said before, by their names.
    var records: [String: RegistryRecord] {
        waiting.reduce(into: [:]) { $0[$1.key.text] = $1.value.record }
    }

    /// What the waiting ones said before.
    var routes: [RouteName: Route] { waiting.compactMapValues(\.route) }

    /// The services of changed routes, whose endpoints have to be looked at before it is decided.
    func services(of next: PartitionedTable<RegistryRecord>) -> [ServiceName] {
        Set(changes(to: next).flatMap { $0.old.services.union($0.new.services) }).sorted()
    }

    /// Decides which of the changed routes wait.
    ///
    /// - Parameter isUp: whether a service has an endpoint that takes requests.
    mutating func update(
        to next: PartitionedTable<RegistryRecord>, at now: Duration, isUp: (ServiceName) -> Bool
    ) {
        let before = waiting
        waiting = [:]
        for change in changes(to: next) {
            let missing = change.new.services.subtracting(change.old.services).filter { !isUp($0) }.sorted()
            let since = before[change.name]?.since ?? now
            guard !missing.isEmpty, !change.new.isForced, now < since + limit,
                change.old.services.contains(where: isUp)
            else { continue }
            waiting[change.name] = Waiting(record: change.record, services: missing, since: since)
        }
    }

    /// HAProxy does all of it, except what waits.
    mutating func applied(_ routes: PartitionedTable<RegistryRecord>) {
        var leading = routes
        if !waiting.isEmpty { leading.apply(records.map { ($0.key, $0.value) }) }
        self.leading = leading
    }

    /// What is wrong: nothing, but somebody may want to know.
    var problems: Set<Diagnostic> {
        Set(
            waiting.map { name, waiting in
                .route(
                    .waits(
                        .named(name), services: waiting.services, until: Timestamp.text(waiting.since + limit)))
            })
    }

    private struct Change {
        let name: RouteName
        let record: RegistryRecord
        let old: Route
        let new: Route
    }

    /// The routes that lead to a service that they did not lead to.
    private func changes(to next: PartitionedTable<RegistryRecord>) -> [Change] {
        guard let leading else { return [] }
        return next.differences(from: leading).compactMap { text, old, new in
            guard let name = RouteName(text), let old, case .route(_, let before?) = old.content, !before.isUnusable,
                case .route(_, let after?)? = new?.content, !after.isUnusable,
                !after.services.isSubset(of: before.services)
            else { return nil }
            return Change(name: name, record: old, old: before, new: after)
        }
    }
}
