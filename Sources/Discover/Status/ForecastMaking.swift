import Shared

/// `plan`: finds out what docker-discover would do now; it only reads.
struct ForecastMaking: Sendable {
    /// Shows it instead of doing it.
    static let command = Command(
        "plan",
        help: """
            Reads etcd and prints how haproxy.cfg would change, what HAProxy would be told or why it would be \
            reloaded, and which claims of ports would be written; changes nothing. Exit status 0: nothing to do; 2: \
            something.
            """)

    /// For one call of diff, which takes 20 ms for 10 000 lines.
    private static let deadline = Duration.seconds(10)

    private let snapshot: Snapshot

    /// Takes what is known, with the registry of now.
    init(_ snapshot: Snapshot) {
        self.snapshot = snapshot
    }

    /// Why nothing can be said.
    enum Failure: Error, Equatable {
        /// What the registry says is not known.
        case noRegistry(String)
        /// The texts could not be compared.
        case noDiff(String)
    }

    /// Answers the command.
    func answer() async -> CommandAnswer {
        do {
            let forecast = try await forecast()
            return CommandAnswer(status: forecast.status, forecast.text(snapshot.store.keyspace))
        } catch {
            return CommandAnswer(status: ExitStatus.failure, "\(error)\n")
        }
    }

    private func forecast() async throws -> Forecast {
        guard let registry = snapshot.registry, let (catalog, plan) = snapshot.wish() else {
            throw Failure.noRegistry("nothing was read yet")
        }
        let next = HAProxyConfiguration(plan, snapshot.settings)
        let claims = plan.claims + snapshot.holds.lostClaims(from: registry)
        var forecast = Forecast(
            from: await running(), to: next, claims: claims, problems: catalog.problems.union(plan.problems))
        forecast.revision = snapshot.store.isCopy ? nil : registry.revision
        forecast.isCopy = snapshot.store.isCopy
        try await compare(next, &forecast)
        return forecast
    }

    /// What HAProxy runs, read from HAProxy itself and its file.
    private func running() async -> Update.Running {
        let process = snapshot.process
        guard let report = try? await process.runtime.report() else { return .nothing }
        guard let file = snapshot.file, report.worker.mark == file.mark else { return .unknown(.unknownState) }
        var proxy = RunningProxy(worker: report.worker.pid, file: file, states: report.states, until: .now)
        if let known = snapshot.running {
            (proxy.isDynamic, proxy.takesCookies) = (known.isDynamic, known.takesCookies)
        }
        return .confirmed(proxy)
    }

    /// Compares the file on the disk with the next one, and has HAProxy check that.
    private func compare(_ next: HAProxyConfiguration, _ forecast: inout Forecast) async throws {
        let current = snapshot.process.configuration.path
        let bytes = Array(next.text.utf8)
        let before = try WholeFile(current).bytes
        guard before != bytes else { return }
        let candidate = try AtomicFile.temporary(in: snapshot.process.directory).candidate(bytes)
        defer { candidate.discard() }
        forecast.diff = try await Self.diff(before == nil ? "/dev/null" : current, candidate.path)
        do {
            try await snapshot.process.program.check(candidate.path)
        } catch let refusal as HAProxyProgram.Refusal {
            forecast.refusal = ServiceRefusal(refusal, of: next).text
        }
    }

    /// How one file becomes the other; diff's status is 0 or 1, and 2 for trouble.
    private static func diff(_ old: String, _ new: String) async throws -> [String] {
        let names = ["--label", "haproxy.cfg", "--label", "haproxy.cfg (planned)"]
        let outcome: Program.Outcome
        do {
            outcome = try await Program("diff", ["-u"] + names + [old, new]).run(deadline: deadline)
        } catch {
            throw Failure.noDiff("\(error)")
        }
        guard outcome.isSuccess || outcome.ending == .exited(1) else {
            throw Failure.noDiff(outcome.lines.first ?? "no reason was given")
        }
        return outcome.lines.map(StatsUser.masked)
            + (outcome.omitted > 0 ? ["(and \(outcome.omitted) lines more)"] : [])
    }
}

extension ServiceRefusal {
    /// What HAProxy says, by service where it names one.
    fileprivate var text: String {
        let named = byLine.merging(byName) { first, _ in first }
        guard !named.isEmpty else { return words }
        return named.sorted { $0.key < $1.key }.map { "service \($0.key): \($0.value)" }.joined(separator: "; ")
    }
}

extension ForecastMaking.Failure: CustomStringConvertible {
    /// One sentence for whoever asks.
    var description: String {
        switch self {
        case .noRegistry(let reason): "what the registry says is not known: \(reason)"
        case .noDiff(let reason): "the files cannot be compared: \(reason); diff, of the package diffutils, is needed"
        }
    }
}
