import Shared

/// Writes claims of ports into the registry, so that services keep their ports.
///
/// Every consumer comes to the same changes. Each waits a moment of its own before it writes, and each change holds only
/// as long as nobody else has changed the same claim; so mostly one of them writes, and the others see it.
final class PortClaimWriter: Sendable {
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
    private let newest = LatestValue<[PortClaimUpdate]>()
    private let bell = Doorbell<Reason>()

    /// Makes one that has nothing to write.
    init(_ client: Etcd.Client, _ keyspace: Keyspace, timing: Timing = Timing(), logger: Logger) {
        self.client = client
        self.keyspace = keyspace
        self.timing = timing
        self.logger = logger
    }

    /// Takes all that is to be changed in the newest state of the registry; what was to be changed before is forgotten.
    func submit(_ changes: [PortClaimUpdate]) {
        newest.put(changes)
        bell.ring(.changes)
    }

    /// Writes until the task is cancelled.
    func run() async throws {
        var outage = Outage<String>()
        var backoff = Backoff(first: .seconds(1), limit: timing.retryLimit)
        while await bell.answer() != nil {
            var changes = newest.take() ?? []
            while !changes.isEmpty {
                try await Task.sleep(for: timing.spread * Double.random(in: 0...1))
                changes = newest.take() ?? changes
                do {
                    try await commit(changes)
                    changes = []
                    if outage.succeeded() { logger.info("port claims can be written again") }
                    backoff.reset()
                } catch {
                    try Task.checkCancellation()
                    tell(error, &outage)
                    try await Task.sleep(for: backoff.next())
                }
            }
        }
    }

    /// How many changes one transaction has at most: each is a condition and an operation.
    private static let changesAtOnce = Etcd.Transaction.mostOperations / 2

    /// Writes many changes in few transactions; where somebody else was faster with one of them, one by one.
    ///
    /// Claims that end go first, and by themselves, as that needs no room in etcd.
    private func commit(_ changes: [PortClaimUpdate]) async throws {
        try await commitInOrder(changes.filter(\.isEnd))
        try await commitInOrder(changes.filter { !$0.isEnd })
    }

    private func commitInOrder(_ changes: [PortClaimUpdate]) async throws {
        for start in stride(from: 0, to: changes.count, by: Self.changesAtOnce) {
            let chunk = Array(changes[start..<min(start + Self.changesAtOnce, changes.count)])
            let isEachOfItsOwn = Set(chunk.map(\.service)).count == chunk.count
            if isEachOfItsOwn, try await commitTogether(chunk) { continue }
            for change in chunk { _ = try await commitTogether([change]) }
        }
    }

    /// Writes changes in one transaction; returns whether they were still right.
    private func commitTogether(_ changes: [PortClaimUpdate]) async throws -> Bool {
        let transaction = Etcd.Transaction(
            if: changes.map { $0.condition(in: keyspace) }, try changes.map { try $0.operation(in: keyspace) })
        guard try await client.commit(transaction, deadline: timing.deadline).succeeded else { return false }
        guard changes.count <= Self.mostLines else {
            logger.info("port claims written", ["claims": changes.count, "first": changes[0].service])
            return true
        }
        for change in changes {
            switch change {
            case .put(let service, let claim, _):
                logger.info("port claimed", ["service": service, "port": claim.port, "asked_for": claim.wish])
            case .delete(let service, _): logger.info("released port claim", ["service": service])
            }
        }
        return true
    }

    /// More changes than that share one line of the log.
    private static let mostLines = 4

    /// Says once what a person can do something about; that etcd is away, others say.
    private func tell(_ error: any Error, _ outage: inout Outage<String>) {
        let text = "\(error)"
        guard Etcd.isDeniedOrNoRoom(error), outage.failed(text, isCertain: true) else {
            return logger.debug("still cannot write port claims", ["error": text])
        }
        logger.error("cannot write port claims; services without one are not served", ["error": text])
    }
}

extension PortClaimUpdate {
    fileprivate var service: ServiceName {
        switch self {
        case .put(let service, _, _), .delete(let service, _): service
        }
    }

    fileprivate var isEnd: Bool {
        if case .delete = self { true } else { false }
    }

    /// Nobody else has changed the claim.
    fileprivate func condition(in keyspace: Keyspace) -> Etcd.Transaction.Condition {
        let key = keyspace.text(of: .claim(service))
        switch self {
        case .put(_, _, nil): return .missing(key: key)
        case .put(_, _, let revision?), .delete(_, let revision): return .unchanged(key: key, modRevision: revision)
        }
    }

    fileprivate func operation(in keyspace: Keyspace) throws -> Etcd.Transaction.Operation {
        let key = keyspace.text(of: .claim(service))
        switch self {
        case .put(_, let claim, _): return .put(key: key, value: try claim.json(), lease: 0)
        case .delete: return .delete(key: key)
        }
    }
}

/// A change of the registry's claims of ports, which holds only as long as nobody else changes the same claim.
enum PortClaimUpdate: Equatable, Sendable {
    /// A service is to keep a port; `replacing` is the revision of its claim until now, nil where it has none.
    case put(ServiceName, PortClaim, replacing: Int64?)
    /// A claim of this revision is no longer needed.
    case delete(ServiceName, revision: Int64)
}
