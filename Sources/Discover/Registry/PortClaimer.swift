import Shared

/// Writes claims of ports into the registry, so that services keep their ports.
///
/// Every consumer comes to the same changes. Each waits a moment of its own before it writes, and each change holds only
/// as long as nobody else has changed the same claim; so mostly one of them writes, and the others see it.
final class PortClaimer: Sendable {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// For one transaction; longer than etcd takes to notice that it has no quorum.
        var deadline: Duration = .seconds(8)
        /// The longest wait before writing.
        var spread: Duration = .milliseconds(200)
        /// The longest wait after a failure.
        var retryLimit: Duration = .seconds(60)
    }

    private enum Reason { case changes }

    private let client: Etcd.Client
    private let keyspace: Keyspace
    private let timing: Timing
    private let logger: Logger
    private let newest = Latest<[ClaimChange]>()
    private let bell = Doorbell<Reason>()

    /// Makes one that has nothing to write.
    init(_ client: Etcd.Client, _ keyspace: Keyspace, timing: Timing = Timing(), logger: Logger) {
        self.client = client
        self.keyspace = keyspace
        self.timing = timing
        self.logger = logger
    }

    /// Takes all that is to be changed in the newest state of the registry; what was to be changed before is forgotten.
    func submit(_ changes: [ClaimChange]) {
        newest.put(changes)
        bell.ring(.changes)
    }

    /// Writes until the task is cancelled.
    func run() async throws {
        var failure: String?
        var backoff = Backoff(first: .seconds(1), limit: timing.retryLimit)
        while await bell.answer() != nil {
            var changes = newest.take() ?? []
            while !changes.isEmpty {
                try await Task.sleep(for: timing.spread * Double.random(in: 0...1))
                changes = newest.take() ?? changes
                do {
                    for change in changes { try await commit(change) }
                    changes = []
                    if failure != nil { logger.info("claims of ports can be written again") }
                    failure = nil
                    backoff.reset()
                } catch {
                    try Task.checkCancellation()
                    tell(error, after: &failure)
                    try await Task.sleep(for: backoff.next())
                }
            }
        }
    }

    private func commit(_ change: ClaimChange) async throws {
        switch change {
        case .put(let service, let claim, let revision):
            let key = keyspace.text(of: .claim(service))
            let condition = revision.map { Etcd.Transaction.Condition.unchanged(key: key, modRevision: $0) }
            let put = Etcd.Transaction.Operation.put(key: key, value: try claim.json(), lease: 0)
            if try await commit(put, if: condition ?? .missing(key: key)) {
                logger.info("claimed a port", ["service": service, "port": claim.port, "asked_for": claim.wish])
            }
        case .delete(let service, let revision):
            let key = keyspace.text(of: .claim(service))
            if try await commit(.delete(key: key), if: .unchanged(key: key, modRevision: revision)) {
                logger.info("gave a claim of a port up", ["service": service])
            }
        }
    }

    private func commit(
        _ operation: Etcd.Transaction.Operation, if condition: Etcd.Transaction.Condition
    ) async throws -> Bool {
        try await client.commit(Etcd.Transaction(if: [condition], [operation]), deadline: timing.deadline).succeeded
    }

    /// Says once what a person can do something about; that etcd is away, others say.
    private func tell(_ error: any Error, after failure: inout String?) {
        guard failure == nil, Etcd.needsPerson(error) else {
            return logger.debug("cannot write claims of ports yet", ["error": "\(error)"])
        }
        failure = "\(error)"
        logger.error(
            "cannot write claims of ports; services that have none are left out", ["error": failure])
    }
}
