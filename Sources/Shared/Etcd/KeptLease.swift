extension Etcd {
    /// A lease that its holder keeps alive, and takes anew when it is gone.
    ///
    /// It is renewed when a third of its TTL is over. What the holder says under it may fail although the lease itself
    /// lives; so a renewal counts only when ``complete(_:)`` says that this is done as well. After two renewals in a row
    /// that failed, whatever the reason, another lease replaces it where etcd grants one.
    package struct KeptLease: Sendable {
        /// A lease that lives for its whole TTL from now on.
        package struct Renewal: Sendable {
            /// The lease.
            package let lease: Lease
            /// Whether it was granted just now.
            package let isGranted: Bool
            /// Whether nothing was said under it yet.
            package let isNew: Bool
            /// The one before, which has gone; nil where there was none.
            package let former: Lease?

            fileprivate let begin: ContinuousClock.Instant
        }

        /// The lease; nil while there is none.
        package private(set) var lease: Lease?

        private let client: Client
        private let ttl: Duration
        private let deadline: Duration
        private let clock: @Sendable () -> ContinuousClock.Instant
        private var due: ContinuousClock.Instant
        private var isNew = true
        private var former: Lease?
        private var failures = 0

        /// Begins without a lease.
        ///
        /// - Parameters:
        ///   - ttl: in whole seconds.
        ///   - deadline: the limit of each exchange with etcd.
        ///   - clock: the time by which the TTL passes.
        package init(
            _ client: Client, ttl: Duration, deadline: Duration,
            clock: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
        ) {
            self.clock = clock
            due = clock()
            self.client = client
            self.ttl = ttl
            self.deadline = deadline
        }

        /// Has the lease renewed at the next occasion.
        package mutating func makeDue() { due = clock() }

        /// Renews the lease where that is due; grants one where there is none, or it is gone.
        ///
        /// - Returns: nil where nothing was due.
        package mutating func keep() async throws -> Renewal? {
            let now = clock()
            if let lease {
                guard now >= due else { return nil }
                do {
                    let isAlive = try await client.keepAlive(lease: lease.id, deadline: deadline)
                    failures = 0
                    if isAlive { return renewal(of: lease, now) }
                    forget()
                } catch {
                    failures += 1
                    guard failures >= Self.mostFailures, Self.isAnswer(error) else { throw error }
                }
            }
            let granted = try await client.grantLease(ttl: Int64(ttl.components.seconds), deadline: deadline)
            forget()
            (lease, isNew, due, failures) = (granted, true, now, 0)
            return renewal(of: granted, now, isGranted: true)
        }

        /// Failures in a row after which a lease is given up.
        private static let mostFailures = 2

        /// Whether etcd has answered: one that does not grants no lease either.
        private static func isAnswer(_ error: any Swift.Error) -> Bool { error is Etcd.Error }

        private func renewal(
            of lease: Lease, _ begin: ContinuousClock.Instant, isGranted: Bool = false
        ) -> Renewal {
            Renewal(lease: lease, isGranted: isGranted, isNew: isNew, former: former, begin: begin)
        }

        /// Says that what is to be said under the lease is said.
        package mutating func complete(_ renewal: Renewal) {
            guard renewal.lease == lease else { return }
            (isNew, former, due) = (false, nil, renewal.begin + min(ttl, .seconds(renewal.lease.ttl)) / 3)
        }

        /// Says that the lease is gone.
        package mutating func forget() {
            former = lease ?? former
            lease = nil
        }
    }
}

extension Etcd.Lease {
    /// As `etcdctl lease list` writes it.
    package var text: String { String(UInt64(bitPattern: id), radix: 16) }
}
