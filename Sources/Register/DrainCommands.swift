import Shared

/// `drain` and `undrain`: what a deployer calls before it stops a container.
///
/// The loop makes the change; here is what waits for the loop, for etcd, and for the consumers.
struct DrainCommands: Sendable {
    /// Withdraws a container until it is undrained.
    static let drain = Command(
        "drain", operands: ["CONTAINER"], flags: [wait, timeout],
        help: """
            Withdraws a container, by its name or id, until it is undrained, restarted or removed, or an instance of \
            the services file, by its service or id, until it is undrained. With --wait it \
            returns when every docker-discover has applied that, or with exit status 2 when the time is over.
            """)
    /// Lets it come back.
    static let undrain = Command(
        "undrain", operands: ["CONTAINER"], help: "Lets what is drained be registered again.")

    /// Both.
    static let all = [drain, undrain]

    private static let wait = Setting(
        flag: "--wait", help: "wait until every docker-discover has applied the withdrawal")
    private static let timeout = Setting(
        flag: "--timeout", placeholder: "TIME", fallback: "30s", help: "how long to wait, at most 1h")

    /// The exit status where not everybody has confirmed in time.
    static let unconfirmed: Int32 = 2

    private let registry: EntryStore
    private let requests: LoopQueue<RegisterAgent>
    private let limit: Duration

    /// Prepares to ask the loop.
    ///
    /// - Parameter limit: for the loop to write to etcd.
    init(_ registry: EntryStore, _ requests: LoopQueue<RegisterAgent>, limit: Duration = .seconds(10)) {
        self.registry = registry
        self.requests = requests
        self.limit = limit
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

    /// Answers the words after a command's name.
    func answer(_ command: Command, _ words: [String], _ snapshot: Snapshot) async -> CommandResponse {
        let patience = words.count == 3 && words[0] == Self.wait.flag ? DurationText.parse(words[1]) : nil
        guard words.count == (patience == nil ? 1 : 3), let name = words.last else {
            let line = ([command.name] + words).joined(separator: " ").prefix(100)
            return CommandResponse(status: ExitStatus.wrongUsage, "\"\(line)\" is not \(command.usage)\n")
        }
        do {
            let (id, runs) = try Self.instance(name, snapshot)
            if let leader = snapshot.leader {
                let text = "this docker-register stands by; ask the one that keeps the entries: \(leader)\n"
                return CommandResponse(status: ExitStatus.failure, text)
            }
            guard command == Self.undrain || runs else {
                return CommandResponse(status: ExitStatus.failure, "\(name) does not run: there is nothing to drain\n")
            }
            return command == Self.drain ? await drain(id, name, waiting: patience) : await undrain(id, name)
        } catch {
            return CommandResponse(status: ExitStatus.failure, "\(error)\n")
        }
    }

    /// The container, or else the instance of the services file, that a name or id means, and whether it runs.
    private static func instance(_ name: String, _ snapshot: Snapshot) throws -> (InstanceID, runs: Bool) {
        let report = StatusReport(snapshot)
        do {
            let id = try report.container(name).id
            let decision = snapshot.desired.decisions.first { $0.subject.id.text == id }
            guard let decision else { throw StatusReport.NotFound.none(name) }
            return (decision.subject.id, decision.container != nil)
        } catch StatusReport.NotFound.none {
            let services = snapshot.desired.services.keys
            let ids = Set(services.filter { $0.service.text == name || $0.id.text == name }.map(\.id))
            guard ids.count < 2 else { throw StatusReport.NotFound.severalInstances(name, ids.sorted().map(\.text)) }
            guard let id = ids.first else {
                throw services.isEmpty ? StatusReport.NotFound.none(name) : StatusReport.NotFound.neither(name)
            }
            return (id, true)
        }
    }

    /// Withdraws a container, or an instance of the services file.
    ///
    /// - Parameter patience: how long to wait for all consumers; nil not to.
    func drain(_ container: InstanceID, _ name: String, waiting patience: Duration?) async -> CommandResponse {
        do {
            let isConfirmed = patience != nil
            let revision = try await requests.ask(limit: limit) { agent in
                agent.drain(container, confirmed: isConfirmed)
            } response: { _, agent in
                agent.revisionOfWithdrawal(of: container)
            }
            guard let revision else {
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
            try await requests.ask(limit: limit) {
                $0.undrain(container)
            } response: { _, _ in
                ()
            }
            return CommandResponse("\(name) is no longer drained\n")
        } catch {
            return failure(error, "\(name) will be registered as soon as etcd answers")
        }
    }

    private func failure(_ error: any Error, _ consequence: String) -> CommandResponse {
        CommandResponse(status: ExitStatus.failure, "etcd does not answer (\(error)); \(consequence)\n")
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

    /// Between two reads of the client hosts' records.
    private static let pause = Duration.milliseconds(25)
}
