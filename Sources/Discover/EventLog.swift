import Shared

/// Logs what changed, each thing once: what was applied, what HAProxy rejects, and what is wrong in the registry.
struct EventLog {
    private let logger: Logger
    private var diagnostics = DiagnosticTracker()

    /// The failure that was logged last; nil where all went well.
    private(set) var failure: String?
    private var isFileBehind = false

    /// Makes one that has logged nothing.
    init(_ logger: Logger) {
        self.logger = logger
    }

    /// HAProxy runs what it should.
    mutating func applied() {
        guard failure != nil else { return }
        failure = nil
        logger.info("HAProxy accepts the configuration again")
    }

    /// HAProxy runs something else than before.
    ///
    /// - Parameters:
    ///   - revision: the registry's, where all of it is applied.
    ///   - oldWorkers: how many workers finish their connections, for a reload.
    func changed(
        _ done: ConfigChange, _ running: RunningConfig?, revision: Int64?, took: Duration, oldWorkers: Int? = nil
    ) {
        guard !done.isEmpty, let running else { return }
        var isReload = false
        if case .reload = done.load { isReload = true }
        logger.info(
            "applied",
            [
                "services": running.sections.count, "endpoints": running.serverCount,
                "routes": running.maps?.records.count, "revision": revision,
                "by": done,
                "old_workers": isReload ? oldWorkers : nil, "ms": Int(took / .milliseconds(1)),
            ])
    }

    /// HAProxy rejected the new configuration, or could not be asked.
    mutating func failed(_ error: any Error) {
        let text = "\(error)"
        if failure == text {
            logger.debug("HAProxy still rejects the configuration", ["error": text])
        } else {
            logger.error("HAProxy rejected the new configuration; keeping the running one", ["error": text])
        }
        failure = text
    }

    /// The file could not be brought to what HAProxy runs.
    mutating func cannotWrite(_ error: any Error) {
        guard !isFileBehind else { return }
        isFileBehind = true
        logger.error("cannot write haproxy.cfg; retrying", ["error": "\(error)"])
    }

    /// The file is what HAProxy runs.
    mutating func wrote() {
        if isFileBehind { logger.info("haproxy.cfg is up to date again") }
        isFileBehind = false
    }

    /// The worker that serves does not answer, or does so again.
    func found(_ finding: WorkerProbe.Finding, _ worker: Int32) {
        switch finding {
        case .silent: logger.warning("HAProxy worker does not answer", ["worker": worker])
        case .answersAgain: logger.info("HAProxy worker answers again", ["worker": worker])
        case .hangs: logger.error("HAProxy worker hangs; replacing it by a reload", ["worker": worker])
        }
    }

    /// These diagnostics are there now, and no others.
    mutating func log(_ current: Set<Diagnostic>) {
        let changes = diagnostics.update(to: current)
        for diagnostics in Self.byMessage(changes.appeared) {
            let (isSevere, logger) = (diagnostics[0].isSevere, logger)
            let log = { (message: StaticString, fields: Logger.Fields) in
                isSevere ? logger.error(message, fields) : logger.warning(message, fields)
            }
            for diagnostic in diagnostics.prefix(Self.mostOfOne) { log(diagnostic.message, diagnostic.fields) }
            let rest = diagnostics.count - Self.mostOfOne
            if rest > 0 { log("more problems of this kind", ["kind": "\(diagnostics[0].message)", "count": rest]) }
        }
        for diagnostics in Self.byMessage(changes.gone) {
            for diagnostic in diagnostics.prefix(Self.mostOfOne) { logger.info("problem resolved", diagnostic.fields) }
            let rest = diagnostics.count - Self.mostOfOne
            if rest > 0 { logger.info("more problems resolved", ["kind": "\(diagnostics[0].message)", "count": rest]) }
        }
    }

    /// The most lines with one message at a time; `status` has them all.
    private static let mostOfOne = 10

    /// Those with one message together, in the order in which the messages come.
    private static func byMessage(_ diagnostics: [Diagnostic]) -> [[Diagnostic]] {
        var (groups, places) = ([[Diagnostic]](), [String: Int]())
        for diagnostic in diagnostics {
            let message = "\(diagnostic.message) \(diagnostic.isSevere)"
            if let place = places[message] {
                groups[place].append(diagnostic)
            } else {
                places[message] = groups.count
                groups.append([diagnostic])
            }
        }
        return groups
    }
}

extension EventLog {
    /// This client host checks less often than before, or more.
    func log(minCheckInterval: Duration) {
        logger.info(
            "health check interval changed for the number of client hosts",
            ["min_interval": DurationText.text(minCheckInterval)])
    }

    /// What is held because it was lost, and what no longer is.
    func log(_ changes: [HoldChange]) {
        for change in changes {
            let (service, count) = (change.holds.first?.name.service, change.holds.count)
            let first = change.holds.first?.endpoint
            switch change {
            case .began(let holds, let registered):
                logger.warning(
                    "keeping lost endpoints that still pass health checks",
                    [
                        "service": service, "endpoints": count, "first": first, "registered": registered,
                        "reason": holds.first?.reason, "until": holds.map(\.until).max().map(Timestamp.text),
                    ])
            case .ended(_, let ending):
                logger.info(
                    "no longer keeping lost endpoints",
                    ["service": service, "endpoints": count, "first": first, "reason": ending])
            }
        }
    }
}

extension Diagnostic {
    /// What it concerns, and what is wrong.
    fileprivate var fields: Logger.Fields {
        switch self {
        case .badKey, .badValue, .badField: ["key": subject, "reason": explanation]
        case .addressShared, .addressElsewhere: ["host_ip": subject, "reason": explanation]
        case .route(let problem): [problem.field: problem.name, "reason": explanation]
        default: ["service": subject, "reason": explanation]
        }
    }
}
