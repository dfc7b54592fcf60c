import Shared

/// Tells the log what changed, each thing once: what was applied, what HAProxy refuses, and what is wrong in the registry.
struct EventLog {
    private let logger: Logger
    private var problems = DiagnosticTracker()

    /// The failure that was told last; nil where all went well.
    private(set) var failure: String?
    private var isFileBehind = false

    /// Makes one that has told nothing.
    init(_ logger: Logger) {
        self.logger = logger
    }

    /// HAProxy runs what it should.
    mutating func applied() {
        guard failure != nil else { return }
        failure = nil
        logger.info("HAProxy takes the configuration again")
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
                "services": running.sections.count, "endpoints": running.serverCount, "revision": revision,
                "by": done,
                "old_workers": isReload ? oldWorkers : nil, "ms": Int(took / .milliseconds(1)),
            ])
    }

    /// HAProxy refused the new configuration, or could not be asked.
    mutating func refused(_ error: any Error) {
        let text = "\(error)"
        if failure == text {
            logger.debug("HAProxy still does not take the configuration", ["error": text])
        } else {
            logger.error("HAProxy does not take the configuration; what runs is kept", ["error": text])
        }
        failure = text
    }

    /// The file could not be brought to what HAProxy runs.
    mutating func cannotWrite(_ error: any Error) {
        guard !isFileBehind else { return }
        isFileBehind = true
        logger.error("cannot write what HAProxy runs into its file; trying again", ["error": "\(error)"])
    }

    /// The file is what HAProxy runs.
    mutating func wrote() {
        if isFileBehind { logger.info("HAProxy's file is what it runs again") }
        isFileBehind = false
    }

    /// These problems are there now, and no others.
    mutating func tell(_ current: Set<Diagnostic>) {
        let changes = problems.update(to: current)
        for problem in changes.appeared {
            let fields: Logger.Fields = ["of": problem.subject, "problem": problem.explanation]
            if problem.isSevere {
                logger.error(problem.message, fields)
            } else {
                logger.warning(problem.message, fields)
            }
        }
        for problem in changes.gone {
            logger.info("a problem is gone", ["of": problem.subject, "problem": problem.explanation])
        }
    }
}

extension EventLog {
    /// This consumer checks less often than before, or more.
    func stretched(to floor: Duration) {
        logger.info(
            "the number of consumers decides how often they check", ["at_least_apart": DurationText.text(floor)])
    }

    /// What is held because it was lost, and what no longer is.
    func tell(_ changes: [HoldChange]) {
        for change in changes {
            let (service, count) = (change.holds.first?.name.service, change.holds.count)
            let first = change.holds.first?.endpoint
            switch change {
            case .began(let holds, let registered):
                logger.warning(
                    "lost endpoints stay in service while they answer",
                    [
                        "service": service, "endpoints": count, "first": first, "registered": registered,
                        "because": holds.first?.reason, "until": holds.map(\.until).max().map(Timestamp.text),
                    ])
            case .ended(_, let ending):
                logger.info(
                    "lost endpoints are held no more",
                    ["service": service, "endpoints": count, "first": first, "because": ending])
            }
        }
    }
}
