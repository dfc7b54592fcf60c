import Shared

/// Tells the log what changed, each thing once: what was applied, what HAProxy refuses, and what is wrong in the registry.
struct Journal {
    private let logger: Logger
    private var problems = ProblemLog()

    /// The failure that was told last; nil where all went well.
    private(set) var failure: String?

    /// Makes one that has told nothing.
    init(_ logger: Logger) {
        self.logger = logger
    }

    /// HAProxy runs what it should.
    mutating func applied(_ update: Update, _ plan: ProxyPlan?, revision: Int64?, took: Duration) {
        if failure != nil {
            failure = nil
            logger.info("HAProxy takes the configuration again")
        }
        guard update != .none, let plan else { return }
        logger.info(
            "applied",
            [
                "services": plan.listeners.count, "endpoints": plan.serverCount, "revision": revision, "by": update,
                "ms": Int(took / .milliseconds(1)),
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

    /// These problems are there now, and no others.
    mutating func tell(_ current: Set<Problem>) {
        let changes = problems.update(to: current)
        for problem in changes.appeared {
            let fields: Logger.Fields = ["of": problem.subject, "problem": problem.explanation]
            if problem.isSevere {
                logger.error(problem.headline, fields)
            } else {
                logger.warning(problem.headline, fields)
            }
        }
        for problem in changes.gone {
            logger.info("a problem is gone", ["of": problem.subject, "problem": problem.explanation])
        }
    }
}
