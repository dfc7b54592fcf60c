import Shared
import Synchronization

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

    /// Both.
    static let all = [drain, undrain]

    private static let wait = Setting(
        flag: "--wait", help: "wait until every docker-discover has applied the withdrawal")
    private static let timeout = Setting(
        flag: "--timeout", placeholder: "TIME", fallback: "30s", help: "how long to wait for them, at most 1h")

    /// The exit status where not everybody has confirmed in time.
    static let unconfirmed: Int32 = 2

    private let registry: EntryStore
    private let requests: DrainRequests
    private let ring: @Sendable () -> Void
    private let limit: Duration

    /// Takes the way to the loop.
    ///
    /// - Parameters:
    ///   - ring: wakes the loop.
    ///   - limit: for the loop to write to etcd.
    init(
        _ registry: EntryStore, _ requests: DrainRequests, limit: Duration = .seconds(10),
        ring: @escaping @Sendable () -> Void
    ) {
        self.registry = registry
        self.requests = requests
        self.limit = limit
        self.ring = ring
    }

    /// The line that asks a running agent, and how long its answer may take.
    static func line(_ call: Command.Call, _ reading: inout ParsedSettings) throws -> (String, Duration) {
        let waits = reading.isOn(wait)
        let patience = reading.duration(timeout, in: .milliseconds(100)...(.seconds(3600)))
        try reading.finish()
        guard call.command == drain, waits, let patience else {
            return (([call.command.name] + call.operands).joined(separator: " "), .seconds(15))
        }
        let words = [call.command.name, wait.flag, DurationText.text(patience)] + call.operands
        return (words.joined(separator: " "), patience + .seconds(15))
    }

    /// Answers a line; nil where it is none of these commands.
    func answer(_ line: String, _ snapshot: Snapshot) async -> CommandResponse? {
        let words = line.split(separator: " ").map(String.init)
        guard let command = Self.all.first(where: { $0.name == words.first }) else { return nil }
        let patience = words.count == 4 && words[1] == Self.wait.flag ? DurationText.parse(words[2]) : nil
        guard words.count == (patience == nil ? 2 : 4), let name = words.last else {
            return CommandResponse(status: ExitStatus.wrongUsage, "\"\(line.prefix(100))\" is not \(command.usage)\n")
        }
        do {
            let container = try StatusReport(snapshot).container(name)
            guard let id = InstanceID(container.id) else { return nil }
            if let leader = snapshot.leader {
                let text = "this docker-register stands by; ask the one that keeps the entries: \(leader)\n"
                return CommandResponse(status: ExitStatus.failure, text)
            }
            guard command == Self.undrain || snapshot.runs(id) else {
                return CommandResponse(status: ExitStatus.failure, "\(name) does not run: there is nothing to drain\n")
            }
            return command == Self.drain
                ? await drain(id, name, waiting: patience) : await undrain(id, name)
        } catch {
            return CommandResponse(status: ExitStatus.failure, "\(error)\n")
        }
    }

    /// Withdraws a container.
    ///
    /// - Parameter patience: how long to wait for all consumers; nil not to.
    func drain(_ container: InstanceID, _ name: String, waiting patience: Duration?) async -> CommandResponse {
        do {
            let request = DrainRequests.Request(kind: .drain(confirm: patience != nil), container: container)
            guard let revision = try await outcome(of: request) else {
                return CommandResponse("\(name) is drained; it was not registered\n")
            }
            guard let patience else { return CommandResponse("\(name) is drained\n") }
            return try await confirmation(of: revision, name, patience)
        } catch {
            return failure(error, "\(name) will be withdrawn as soon as etcd answers")
        }
    }

    /// Lets a container come back.
    func undrain(_ container: InstanceID, _ name: String) async -> CommandResponse {
        do {
            _ = try await outcome(of: DrainRequests.Request(kind: .undrain, container: container))
            return CommandResponse("\(name) is no longer drained\n")
        } catch {
            return failure(error, "\(name) will be registered as soon as etcd answers")
        }
    }

    private func failure(_ error: any Error, _ consequence: String) -> CommandResponse {
        CommandResponse(status: ExitStatus.failure, "etcd does not answer (\(error)); \(consequence)\n")
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
    ) async throws -> CommandResponse {
        let end = ContinuousClock.now + patience
        let cluster = try await registry.etcd.position(
            readingAt: registry.keyspace.prefix, deadline: registry.deadline
        ).clusterID
        while true {
            let consumers = try await registry.consumers()
            let missing = consumers.filter { $0.value.cluster != cluster || $0.value.revision < revision }
            if missing.isEmpty {
                let answer =
                    consumers.isEmpty ? "no docker-discover runs" : "\(consumers.count) docker-discover confirmed it"
                return CommandResponse("\(name) is drained; \(answer)\n")
            }
            guard ContinuousClock.now < end else {
                let names = missing.map { "\($0.value.host) (\($0.key))" }.sorted().joined(separator: ", ")
                return CommandResponse(
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

extension Snapshot {
    /// Whether a container runs, and was not told to stop.
    fileprivate func runs(_ id: InstanceID) -> Bool {
        desired.decisions.contains { $0.subject.id == id && $0.container != nil }
    }
}

/// What people ask of the running agent, for its loop to answer.
final class DrainRequests: Sendable {
    /// One request.
    struct Request: Sendable {
        /// What to do.
        enum Kind: Equatable, Sendable {
            /// Withdraw it, and have consumers confirm that.
            case drain(confirm: Bool)
            /// Let it come back.
            case undrain
        }

        /// What to do.
        var kind: Kind
        /// With which container.
        var container: InstanceID
        /// What came of it.
        let outcome = Future<Outcome>()
    }

    /// What came of a request.
    enum Outcome: Equatable, Sendable {
        /// The registry has it.
        ///
        /// - Parameter revision: that of the withdrawal; nil where nothing was registered.
        case done(revision: Int64?)
    }

    private let waiting = Mutex<[Request]>([])

    /// Adds a request.
    func put(_ request: Request) { waiting.withLock { $0.append(request) } }

    /// Takes all that came since the last time.
    func take() -> [Request] {
        waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
    }
}
