import Shared

/// What docker-discover would do now, as `plan` prints it.
struct ReconcilePlan: Equatable, Sendable {
    /// The revision of the registry that it is about; nil for a copy.
    var revision: Int64?
    /// How haproxy.cfg would change, as `diff -u` says it.
    var diff: [String] = []
    /// What HAProxy would be told while it runs, and why it would be started or reloaded.
    var change: ConfigChange
    /// What would be written into the registry, so that services keep their ports.
    var claims: [PortClaimUpdate] = []
    /// Why HAProxy would not take the file; nil where it would.
    var refusal: String?
    /// What is wrong.
    var problems: [Diagnostic] = []
    /// How outputs would change, as `diff -u` says it.
    var outputs: [[String]] = []
    /// The outputs of which nobody can say without running their programs.
    var unknownOutputs: [String] = []
    /// Whether etcd did not answer, and the registry is the copy on the disk.
    var isCopy = false

    /// The exit status where there is something to do.
    static let somethingToDo: Int32 = 2

    /// Whether there is nothing to do.
    var isEmpty: Bool { diff.isEmpty && change.isEmpty && claims.isEmpty && outputs.isEmpty }

    /// The command's exit status.
    var status: Int32 { isEmpty ? ExitStatus.success : Self.somethingToDo }
}

extension ReconcilePlan {
    /// Decides what would be done; what runs is `running`.
    init(
        from running: KnownState, to next: HAProxyConfiguration, claims: [PortClaimUpdate],
        problems: Set<Diagnostic>
    ) {
        self.claims = claims
        self.problems = problems.sorted()
        change = ConfigChange(from: running, to: next)
    }
}

extension ReconcilePlan {
    /// What `plan` prints.
    func text(_ keyspace: Keyspace) -> String {
        var parts: [[String]] = []
        if isCopy {
            parts.append(["etcd does not answer; this is about the copy of the registry on this host's disk."])
        }
        if !diff.isEmpty { parts.append(diff) }
        if let refusal { parts.append(["HAProxy refuses this file: \(refusal)", Self.afterRefusal]) }
        if !change.commands.isEmpty {
            parts.append(["HAProxy would be told:"] + change.commands.map { "  \($0.text)" })
        }
        parts += loadLines
        if !claims.isEmpty {
            parts.append(["etcd would be told:"] + claims.map { "  \(Self.line($0, keyspace))" })
        }
        if !problems.isEmpty {
            parts.append(["Problems:"] + problems.map { "  \($0.subject): \($0.explanation)" })
        }
        parts += outputs
        if !unknownOutputs.isEmpty { parts.append(unknownOutputs) }
        if isEmpty {
            let revision = revision.map { " at revision \($0)" } ?? ""
            parts.append(["Nothing to do: haproxy.cfg and HAProxy are what the registry says\(revision)."])
        }
        return parts.map { $0.map { OneLine.text($0) + "\n" }.joined() }.joined(separator: "\n")
    }

    private static let afterRefusal =
        "The services at fault would stay as they were accepted last, or be left out, and all others be served."

    private var loadLines: [[String]] {
        switch change.load {
        case nil: []
        case .start: [["HAProxy would be started."]]
        case .reload(let reason): [["HAProxy would be reloaded: \(reason)."]]
        }
    }

    private static func line(_ change: PortClaimUpdate, _ keyspace: Keyspace) -> String {
        switch change {
        case .put(let service, let claim, _):
            let value = (try? claim.json()).map { String(decoding: $0, as: UTF8.self) } ?? ""
            return "put \(keyspace.text(of: .claim(service))) \(value)"
        case .delete(let service, _): return "delete \(keyspace.text(of: .claim(service)))"
        }
    }
}

/// `plan`: finds out what docker-discover would do now; it only reads.
struct PlanCommand: Sendable {
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
    func answer() async -> CommandResponse {
        do {
            let forecast = try await forecast()
            return CommandResponse(status: forecast.status, forecast.text(snapshot.store.keyspace))
        } catch {
            return CommandResponse(status: ExitStatus.failure, "\(error)\n")
        }
    }

    private func forecast() async throws -> ReconcilePlan {
        guard let registry = snapshot.registry, let desired = snapshot.desired else {
            throw Failure.noRegistry("nothing was read yet")
        }
        let next = HAProxyConfiguration(desired, snapshot.settings)
        var forecast = ReconcilePlan(
            from: await running(), to: next, claims: snapshot.process == nil ? [] : desired.claims,
            problems: desired.diagnostics)
        forecast.revision = snapshot.store.isCopy ? nil : registry.revision
        forecast.isCopy = snapshot.store.isCopy
        if let process = snapshot.process {
            try await compare(next, &forecast, process)
        } else {
            forecast.change = forecast.change.withoutLoad
        }
        if let outputs = snapshot.outputs { try await compare(outputs, desired, &forecast) }
        return forecast
    }

    /// What HAProxy runs, read from HAProxy itself and its file.
    private func running() async -> KnownState {
        guard let process = snapshot.process, let report = try? await process.runtime.report() else {
            return .notRunning
        }
        guard let file = snapshot.file, report.worker.mark == file.mark else { return .unknown(.unknownState) }
        let maps = await process.runningMaps(of: file, snapshot.settings.routeFiles)
        var proxy = RunningConfig(
            worker: report.worker.pid, file: file, states: report.states, maps: maps, until: .now)
        if let known = snapshot.running {
            (proxy.isDynamic, proxy.takesCookies) = (known.isDynamic, known.takesCookies)
        }
        return .confirmed(proxy)
    }

    /// Compares the file on the disk with the next one, and has HAProxy check that.
    private func compare(
        _ next: HAProxyConfiguration, _ forecast: inout ReconcilePlan, _ process: HAProxyAccess
    ) async throws {
        let current = process.file.path
        let bytes = Array(next.text.utf8)
        let before = try FileContents(current).bytes
        guard before != bytes else { return }
        let candidate = try AtomicFile.temporary(in: process.directory).candidate(bytes)
        defer { candidate.discard() }
        forecast.diff = try await Self.diff(
            before == nil ? "/dev/null" : current, candidate.path, name: "haproxy.cfg"
        ).map(StatsUser.masked)
        do {
            try await process.program.check(candidate.path)
        } catch let refusal as HAProxyProgram.Rejection {
            forecast.refusal = ConfigErrors(refusal.alerts, of: next).text
        }
    }

    /// Renders the outputs of built-in formats, and compares them with their files; no program is run.
    private func compare(
        _ outputs: Snapshot.OutputFacts, _ desired: DesiredState, _ forecast: inout ReconcilePlan
    ) async throws {
        var builder = OutputCatalogBuilder()
        let host = snapshot.settings.host
        let catalog = OutputCatalog(
            revision: forecast.revision ?? 0, host: host.name, zone: host.zone,
            services: builder.services(of: desired, down: await down()), routes: builder.routes(of: desired),
            keys: outputs.keys ?? [:])
        guard let directory = StateDirectory(snapshot.settings.routeFiles.folder) else { return }
        for output in outputs.definitions {
            if case .program(let words) = output.renderer {
                forecast.unknownOutputs.append("\(output.file) is rendered by \(words[0]), which plan does not run.")
                continue
            }
            let writer = OutputWriter(output, folder: "", environment: [:])
            for (path, text) in try await writer.render(catalog.view(of: output)).files.sorted(by: { $0.key < $1.key })
            {
                let before = try FileContents(path).bytes
                guard before != text else { continue }
                let candidate = try AtomicFile.temporary(in: directory).candidate(text, isFlushed: false)
                defer { candidate.discard() }
                forecast.outputs.append(
                    try await Self.diff(before == nil ? "/dev/null" : path, candidate.path, name: path))
            }
        }
    }

    /// The endpoints that HAProxy's checks find down.
    private func down() async -> [ServiceName: Set<InstanceID>] {
        guard let report = try? await snapshot.process?.runtime.report() else { return [:] }
        return report.downEndpoints
    }

    /// How one file becomes the other; diff's status is 0 or 1, and 2 for trouble.
    private static func diff(_ old: String, _ new: String, name: String) async throws -> [String] {
        let names = ["--label", name, "--label", "\(name) (planned)"]
        let outcome: Program.Outcome
        do {
            outcome = try await Program("diff", ["-u"] + names + [old, new]).run(deadline: deadline)
        } catch {
            throw Failure.noDiff("\(error)")
        }
        guard outcome.isSuccess || outcome.ending == .exited(1) else {
            throw Failure.noDiff(outcome.lines.first ?? "no reason was given")
        }
        return outcome.lines
            + (outcome.omitted > 0 ? ["(and \(outcome.omitted) lines more)"] : [])
    }
}

extension ConfigErrors {
    /// What HAProxy says, by service where it names one.
    fileprivate var text: String {
        guard !byLine.isEmpty else { return words }
        return byLine.sorted { $0.key < $1.key }.map { "service \($0.key): \($0.value)" }.joined(separator: "; ")
    }
}

extension PlanCommand.Failure: CustomStringConvertible {
    /// One sentence for whoever asks.
    var description: String {
        switch self {
        case .noRegistry(let reason): "the registry is not known: \(reason)"
        case .noDiff(let reason): "the files cannot be compared: \(reason); diff, of the package diffutils, is needed"
        }
    }
}
