import Shared

/// What docker-discover would do now, as `plan` prints it.
struct Forecast: Equatable, Sendable {
    /// The revision of the registry that it is about; nil for a copy.
    var revision: Int64?
    /// How haproxy.cfg would change, as `diff -u` says it.
    var diff: [String] = []
    /// What HAProxy would be told while it runs.
    var commands: [RuntimeCommand] = []
    /// What else is needed: a start or a reload.
    var step = Update.none
    /// What would be written into the registry, so that services keep their ports.
    var claims: [ClaimChange] = []
    /// Why HAProxy would not take the file; nil where it would.
    var refusal: String?
    /// What is wrong.
    var problems: [Problem] = []
    /// Whether etcd did not answer, and the registry is the copy on the disk.
    var isCopy = false

    /// The exit status where there is something to do.
    static let somethingToDo: Int32 = 2

    /// Whether there is nothing to do.
    var isEmpty: Bool { diff.isEmpty && commands.isEmpty && step == .none && claims.isEmpty }

    /// The command's exit status.
    var status: Int32 { isEmpty ? ExitStatus.success : Self.somethingToDo }
}

extension Forecast {
    /// Decides what would be done; what runs is `running`.
    init(
        from running: Update.Running, to next: HAProxyConfiguration, claims: [ClaimChange], problems: Set<Problem>
    ) {
        self.claims = claims
        self.problems = problems.sorted()
        // What needs no reload does not wait for one either.
        var reached = running
        if case .confirmed(let current) = running {
            let changes = ServerChanges(from: current, to: next)
            commands = changes.commands
            reached = .confirmed(current.after(changes, until: .now))
        }
        step = Update(from: reached, to: next)
    }
}

extension Forecast {
    /// What `plan` prints.
    func text(_ keyspace: Keyspace) -> String {
        var parts: [[String]] = []
        if isCopy {
            parts.append(["etcd does not answer; this is about the copy of the registry on this host's disk."])
        }
        if !diff.isEmpty { parts.append(diff) }
        if let refusal { parts.append(["HAProxy refuses this file: \(refusal)", Self.afterRefusal]) }
        if !commands.isEmpty {
            parts.append(["HAProxy would be told:"] + commands.map { "  \($0.text)" })
        }
        parts += stepLines
        if !claims.isEmpty {
            parts.append(["etcd would be told:"] + claims.map { "  \(Self.line($0, keyspace))" })
        }
        if !problems.isEmpty {
            parts.append(["Problems:"] + problems.map { "  \($0.subject): \($0.explanation)" })
        }
        if isEmpty {
            let revision = revision.map { " at revision \($0)" } ?? ""
            parts.append(["Nothing to do: haproxy.cfg and HAProxy are what the registry says\(revision)."])
        }
        return parts.map { $0.map { TextTable.shown($0) + "\n" }.joined() }.joined(separator: "\n")
    }

    private static let afterRefusal =
        "The services at fault would stay as they were accepted last, or be left out, and all others be served."

    private var stepLines: [[String]] {
        switch step {
        case .none, .runtime: []
        case .start: [["HAProxy would be started."]]
        case .reload(let reason): [["HAProxy would be reloaded: \(reason)."]]
        }
    }

    private static func line(_ change: ClaimChange, _ keyspace: Keyspace) -> String {
        switch change {
        case .put(let service, let claim, _):
            let value = (try? claim.json()).map { String(decoding: $0, as: UTF8.self) } ?? ""
            return "put \(keyspace.text(of: .claim(service))) \(value)"
        case .delete(let service, _): return "delete \(keyspace.text(of: .claim(service)))"
        }
    }
}
