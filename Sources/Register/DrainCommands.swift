import Shared

/// `drain` and `undrain`: what a deployer calls before it stops a container.
///
/// The loop does it; here is what waits for the loop, for etcd, and for the consumers.
struct DrainCommands: Sendable {
    /// Takes a container out, for good.
    static let drain = Command(
        "drain", operands: ["CONTAINER"], flags: [wait, timeout],
        help: """
            Withdraws a container, by its name or id, until it is undrained, restarted or removed. With --wait it \
            returns when every docker-discover has applied that, or with exit status 2 when the time is over.
            """)
    /// Lets it come back.
    static let undrain = Command(
        "undrain", operands: ["CONTAINER"], help: "Lets a drained container be registered again.")

    static let wait = Setting(flag: "--wait", help: "wait until every docker-discover has applied the withdrawal")
    static let timeout = Setting(
        flag: "--timeout", placeholder: "TIME", fallback: "30s", help: "how long to wait for them, at most 1h")

    /// The exit status where not everybody has confirmed in time.
    static let unconfirmed: Int32 = 2

    private let registry: EtcdRegistry
    private let requests: DrainRequests
    private let ring: @Sendable () -> Void
    private let limit: Duration

    /// Takes the way to the loop.
    ///
    /// - Parameters:
    ///   - ring: wakes the loop.
    ///   - limit: for the loop to write to etcd.
    init(
        _ registry: EtcdRegistry, _ requests: DrainRequests, limit: Duration = .seconds(10),
        ring: @escaping @Sendable () -> Void
    ) {
        self.registry = registry
        self.requests = requests
        self.limit = limit
        self.ring = ring
    }

    /// Withdraws a container.
    ///
    /// - Parameter patience: how long to wait for all consumers; nil not to.
    func drain(_ container: InstanceID, _ name: String, waiting patience: Duration?) async -> CommandAnswer {
        do {
            let request = DrainRequests.Request(kind: .drain(confirm: patience != nil), container: container)
            guard let revision = try await outcome(of: request) else {
                return CommandAnswer("\(name) is drained; it was not registered\n")
            }
            guard let patience else { return CommandAnswer("\(name) is drained\n") }
            return try await confirmation(of: revision, name, patience)
        } catch {
            return failure(error, "\(name) will be withdrawn as soon as etcd answers")
        }
    }

    /// Lets a container come back.
    func undrain(_ container: InstanceID, _ name: String) async -> CommandAnswer {
        do {
            _ = try await outcome(of: DrainRequests.Request(kind: .undrain, container: container))
            return CommandAnswer("\(name) is not drained\n")
        } catch {
            return failure(error, "\(name) will be registered as soon as etcd answers")
        }
    }

    private func failure(_ error: any Error, _ consequence: String) -> CommandAnswer {
        CommandAnswer(status: ExitStatus.failure, "etcd does not answer (\(error)); \(consequence)\n")
    }

    /// What the loop says; nil where nothing was registered.
    private func outcome(of request: DrainRequests.Request) async throws -> Int64? {
        requests.put(request)
        ring()
        switch try await withDeadline(limit, { try await request.outcome.get() }) {
        case .done(let revision): return revision
        }
    }

    /// Waits until every consumer runs `revision` or a later one.
    private func confirmation(
        of revision: Int64, _ name: String, _ patience: Duration
    ) async throws -> CommandAnswer {
        let end = ContinuousClock.now + patience
        let cluster = try await registry.etcd.position(
            readingAt: registry.keyspace.prefix, deadline: registry.deadline
        ).clusterID
        while true {
            let consumers = try await registry.consumers()
            let missing = consumers.filter { $0.value.cluster != cluster || $0.value.revision < revision }
            if missing.isEmpty {
                return CommandAnswer("\(name) is drained; \(consumers.count) docker-discover confirmed it\n")
            }
            guard ContinuousClock.now < end else {
                let names = missing.map { "\($0.value.host) (\($0.key))" }.sorted().joined(separator: ", ")
                return CommandAnswer(
                    status: Self.unconfirmed,
                    """
                    \(name) is drained, but \(missing.count) of \(consumers.count) docker-discover have not confirmed \
                    it within \(DurationText.text(patience)): \(names)\n
                    """)
            }
            try await Task.sleep(for: Self.pause)
        }
    }

    /// Between two looks at what consumers say.
    private static let pause = Duration.milliseconds(25)
}
