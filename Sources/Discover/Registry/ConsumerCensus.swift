import Shared

/// Counts from time to time how many docker-discovers say that they run (``ConsumerPresence``).
struct ConsumerCensus: Sendable {
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
                logger.debug("cannot count the consumers", ["error": "\(error)"])
                try await Task.sleep(for: backoff.next())
            }
        }
    }
}
