import Shared

/// What `status` shows, as `--json` prints it.
///
/// docs/status.md documents every field; fields that are not known are left out.
struct StatusReport: Encodable, Equatable, Sendable {
    /// docker-discover itself.
    struct Agent: Encodable, Equatable, Sendable {
        /// Of the program that answers.
        var version: String
        /// Whether an agent answers; otherwise etcd and HAProxy were asked directly.
        var running: Bool
        /// Its process id.
        var process: Int32?
        /// Since when it runs.
        var started: String?
        /// Where the host is, as `ZONE` says.
        var zone: String?
    }

    /// etcd, and how far HAProxy is behind it.
    struct Store: Encodable, Equatable, Sendable {
        /// `ETCD_HOST`.
        var members: [String]
        /// What all keys begin with.
        var prefix: String
        /// How changes are learnt.
        var mode: String
        /// Whether all this is from the copy on this host's disk.
        var copy: Bool?
        /// Which cluster it is.
        var cluster: String?
        /// The newest revision that was read.
        var revision: Int64?
        /// The revision that HAProxy does all of.
        var applied: Int64?
        /// Since when a newer one waits, RFC 3339.
        var behindSince: String?
        /// When etcd last answered, RFC 3339.
        var lastAnswer: String?
        /// How long ago that was, in seconds.
        var age: Double?
        /// Since when, and why, it does not answer.
        var lost: ErrorRecord?
        /// What failed last, also if it is over.
        var lastError: ErrorRecord?
    }

    /// HAProxy.
    struct Proxy: Encodable, Equatable, Sendable {
        /// Whether it answers.
        var running: Bool
        /// Why it does not.
        var silence: String?
        /// Whether there is none to be, as `HAPROXY` is none.
        var none: Bool?
        /// Its version.
        var version: String?
        /// The master's process id.
        var master: Int32?
        /// The worker's process id.
        var worker: Int32?
        /// How many workers of earlier configurations end their connections.
        var oldWorkers: Int?
        /// How many reloads the running agent has had it do.
        var reloads: Int?
        /// The newest of them.
        var lastReload: ReloadHistory.Reload?
        /// Since when, and why, it does not do what it should.
        var failure: ErrorRecord?
        /// What failed last, also if it is over.
        var lastError: ErrorRecord?
        /// Where its stats page is.
        var stats: String
    }

    /// What stands in the registry of an endpoint that was taken out on purpose.
    struct Withdrawal: Encodable, Equatable, Sendable {
        /// The service.
        var service: String
        /// The last part of its key.
        var id: String
        /// The key of its entry, as it was.
        var key: String
        /// Why.
        var reason: String
        /// When, RFC 3339.
        var at: String?
        /// The name of its container.
        var container: String?
    }

    /// docker-discover itself.
    var agent: Agent
    /// etcd.
    var etcd: Store
    /// HAProxy.
    var haproxy: Proxy
    /// All that is wrong, the severe first.
    var problems: [DiagnosticReport]
    /// The services by name.
    var services: [ServiceReport]
    /// What was taken out on purpose a short while ago.
    var withdrawn: [Withdrawal]
    /// Services of which the registry says something, and which have no endpoint.
    var empty: [String]
    /// Where requests go by host and path; nil where this host serves no routes.
    var routing: RoutingReport?
    /// What is written for other programs, in the order of the outputs file.
    var outputs: [OutputStatus]?
}

extension StatusReport {
    /// Makes the report of what is known, and of what HAProxy says; `sight` is why it says nothing.
    ///
    /// - Parameter expiries: when certificates end, as far as HAProxy says.
    init(
        _ snapshot: Snapshot, _ sight: Result<ProxyStats, RuntimeFailure>, expiries: [String: String] = [:]
    ) {
        let seen = try? sight.get()
        agent = Agent(
            version: Version.current, running: snapshot.agent != nil, process: snapshot.agent?.process,
            started: snapshot.agent?.started, zone: snapshot.settings.host.zone?.description)
        etcd = Store(snapshot)
        haproxy = Proxy(snapshot, sight)
        (problems, services, withdrawn, empty) = ([], [], [], [])
        if let registry = snapshot.registry, let (desired, cache) = snapshot.decided {
            let sources = ReportSources(desired, snapshot, seen)
            services = desired.services.compactMap { ServiceReport($0, sources) }
            withdrawn = Self.withdrawals(in: registry)
            empty = Self.said(in: registry).subtracting(desired.services.map(\.name)).sorted().map(\.text)
            problems = desired.diagnostics.sorted().map(DiagnosticReport.init)
            routing = RoutingReport(desired, cache.routes, services, snapshot, expiries)
        }
        problems += snapshot.certificateProblems.sorted().map(DiagnosticReport.init)
        outputs = snapshot.outputs?.statuses
        problems += (outputs ?? []).flatMap(\.reports)
        problems += snapshot.snippetErrors.sorted { $0.key < $1.key }
            .map { DiagnosticReport(of: $0.key, problem: $0.value, severe: true) }
        problems = problems.filter(\.severe) + problems.filter { !$0.severe }
    }

    private static func said(in registry: RegistryState) -> Set<ServiceName> {
        Set(
            registry.groups.filter { $1.service == nil }.compactMap { service, group in
                let isSaid = group.records.values.contains { record in
                    switch record.content {
                    case .config, .port: true
                    case .entry, .meta, .endpointConfig, .claim, .route, .nothing: false
                    }
                }
                return isSaid ? service : nil
            })
    }

    private static func withdrawals(in registry: RegistryState) -> [Withdrawal] {
        registry.groups.values.lazy.flatMap(\.records.values).compactMap { record in
            guard case .meta(let service, let id, let said) = record.content, said.isWithdrawn,
                registry[.entry(service, id)] == nil, let meta = Meta(json: record.keyValue.value),
                let reason = meta.withdrawn
            else { return nil }
            let key = registry.keyspace.text(of: .entry(service, id))
            return Withdrawal(
                service: service.text, id: id.text, key: key, reason: reason, at: meta.at,
                container: meta.container)
        }.sorted { $0.key < $1.key }
    }
}

extension OutputStatus {
    /// What is wrong with it.
    fileprivate var reports: [DiagnosticReport] {
        let failed = failure.map { "since \($0.time): \($0.error)" }
        return [failed].compactMap(\.self).map { DiagnosticReport(of: file, problem: $0, severe: true) }
            + problems.map { DiagnosticReport(of: file, problem: $0, severe: false) }
    }
}

extension StatusReport.Store {
    /// Takes what is known of it.
    init(_ snapshot: Snapshot) {
        let store = snapshot.store
        let health = store.health
        members = store.members
        prefix = store.keyspace.prefix
        mode = store.mode
        copy = store.isCopy ? true : nil
        cluster = snapshot.registry.flatMap { $0.clusterID.isEmpty ? nil : $0.clusterID }
        let known = max(health.revision, snapshot.registry?.revision ?? 0)
        revision = known > 0 ? known : nil
        applied = snapshot.appliedRevision
        behindSince = snapshot.behindSince.map(Timestamp.text)
        lastAnswer = health.lastAnswer.map(Timestamp.text)
        age = health.lastAnswer.map { last in
            let milliseconds = Int64(max(Timestamp.now() - last, .zero) / .milliseconds(1))
            return Double(milliseconds) / 1000
        }
        lost = health.trouble
        lastError = health.lastTrouble
    }
}

extension StatusReport.Proxy {
    /// Takes what is known of it, and what it says.
    init(_ snapshot: Snapshot, _ sight: Result<ProxyStats, RuntimeFailure>) {
        switch sight {
        case .success(let seen):
            running = true
            (version, master, worker, oldWorkers) = (seen.version, seen.master, seen.worker, seen.oldWorkers)
        case .failure(let failure):
            running = false
            silence = failure.description
        }
        none = snapshot.settings.host.hasHAProxy ? nil : true
        reloads = snapshot.history?.reloads
        lastReload = snapshot.history?.lastReload
        failure = snapshot.history?.trouble
        lastError = snapshot.history?.lastTrouble
        stats = snapshot.settings.statsBind.description
    }
}
