import FoundationEssentials
import Shared

/// Says in etcd that this docker-discover runs, and which revision HAProxy runs when somebody waits for that.
///
/// It has a lease of its own. A revision is written only for who waits, so that a change of the registry costs no
/// writes. It is beside the registry's prefix and wakes nobody.
struct ConsumerRegistration: Sendable {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// How long the record outlives the program, in seconds.
        var ttl: Int64 = 15
        /// For one answer of etcd.
        var deadline = Duration.seconds(8)
        /// The longest wait after a failure.
        var retryLimit = Duration.seconds(5)
    }

    /// Why to look again.
    private enum Reason: Hashable {
        case renewal
        case revision
        case retry
    }

    /// A revision of one etcd cluster.
    private struct Position: Sendable {
        let revision: Int64
        let cluster: String
    }

    private let client: Etcd.Client
    private let key: String
    private let host: String
    private let timing: Timing
    private let logger: Logger
    private let bell = Doorbell<Reason>()
    private let confirmed = LatestValue<Position>()

    /// Says nothing yet.
    ///
    /// - Parameter instance: tells this docker-discover from all others, also after a restart.
    init(_ client: Etcd.Client, _ keyspace: Keyspace, instance: String, timing: Timing = .init(), logger: Logger) {
        self.client = client
        self.timing = timing
        self.logger = logger
        key = keyspace.consumers + instance
        host = ProcessInfo.processInfo.hostName
    }

    /// Says that HAProxy runs what the registry said at this revision, for those who wait.
    func confirm(_ revision: Int64, of cluster: String) {
        confirmed.put(Position(revision: revision, cluster: cluster))
        bell.ring(.revision)
    }

    /// Works until the task is cancelled; takes the record back then.
    func run() async {
        let ttl = Duration.seconds(timing.ttl)
        var kept = Etcd.KeptLease(client, ttl: ttl, deadline: timing.deadline)
        var record = ConsumerRecord(host: host, version: Version.current, cluster: "", revision: 0)
        var isNews = true
        var backoff = Backoff(first: .milliseconds(100), limit: timing.retryLimit)
        var outage = Outage<String>()
        await withDiscardingTaskGroup { group in
            group.addTask { [bell] in try? await bell.ring(.renewal, every: ttl / 3) }
            bell.ring(.renewal)
            while let reasons = await bell.answer() {
                if let position = confirmed.take() {
                    (record.revision, record.cluster) = (position.revision, position.cluster)
                    isNews = true
                }
                if reasons.contains(.renewal) { kept.makeDue() }
                do {
                    try await renew(&kept, record, &isNews)
                    if outage.succeeded() { logger.info("consumer key written again", ["key": key]) }
                    backoff.reset()
                } catch {
                    if Task.isCancelled { break }
                    tell(error, &outage)
                    try? await Task.sleep(for: backoff.next())
                    bell.ring(.retry)
                }
            }
            group.cancelAll()
        }
        if let lease = kept.lease { await leave(lease) }
    }

    /// Keeps the lease alive, and puts the record where it is news or the lease is new.
    ///
    /// The lease is known before anything is put under it: the record may be there although no answer says so.
    private func renew(_ kept: inout Etcd.KeptLease, _ record: ConsumerRecord, _ isNews: inout Bool) async throws {
        let renewal = try await kept.keep()
        if renewal?.isNew == true { isNews = true }
        if isNews, let lease = kept.lease {
            do {
                let put = Etcd.Transaction([.put(key: key, value: try record.json(), lease: lease.id)])
                _ = try await client.commit(put, deadline: timing.deadline)
            } catch let error as Etcd.Error where error.isLeaseGone {
                kept.forget()
                throw error
            }
        }
        isNews = false
        if let renewal { kept.complete(renewal) }
    }

    /// Logs once that etcd does not take the key; that etcd is away, the registry's watcher says.
    private func tell(_ error: any Error, _ outage: inout Outage<String>) {
        let text = "\(error)"
        let fields: Logger.Fields = ["key": key, "error": text]
        guard Etcd.isDeniedOrNoRoom(error), outage.failed(text, isCertain: true) else {
            return logger.debug("still cannot write the consumer key", fields)
        }
        logger.warning("cannot write the consumer key; drain --wait will not wait for this host", fields)
    }

    /// The task is cancelled here, and etcd takes a moment.
    private func leave(_ lease: Etcd.Lease) async {
        let client = client
        await Task { try? await client.revoke(lease: lease.id, deadline: .seconds(1)) }.value
    }
}

/// Counts from time to time how many docker-discovers say that they run (``ConsumerPresence``).
struct ConsumerCount: Sendable {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// Between two counts; up to a quarter less, so that consumers spread.
        var interval: Duration = .seconds(60)
        /// For one answer of etcd.
        var deadline: Duration = .seconds(8)
        /// The longest wait after a failure.
        var retryLimit: Duration = .seconds(60)
    }

    /// The client.
    let client: Etcd.Client
    /// Where the registry lies.
    let keyspace: Keyspace
    /// The limits.
    var timing = Timing()
    /// Where failures are told.
    let logger: Logger

    /// Hands each count over to `publish` until it is cancelled; a count that fails tells nothing.
    func run(publish: @Sendable (Int) -> Void) async throws {
        var backoff = Backoff(first: .seconds(1), limit: timing.retryLimit)
        while true {
            do {
                publish(Int(try await client.count(prefix: keyspace.consumers, deadline: timing.deadline)))
                backoff.reset()
                try await Task.sleep(for: timing.interval * Double.random(in: 0.75...1))
            } catch {
                try Task.checkCancellation()
                // Who has to act hears so from the presence, which needs the same rights and more.
                logger.debug("cannot count the client hosts", ["error": "\(error)"])
                try await Task.sleep(for: backoff.next())
            }
        }
    }
}
