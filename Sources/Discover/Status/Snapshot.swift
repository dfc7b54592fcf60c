import FoundationEssentials
import Glibc
import Shared

/// What docker-discover knows at one moment: the whole state that questions are answered from.
///
/// The loop puts it up after each turn. It has nothing of its own: what is large is shared with the loop.
struct Snapshot: Sendable {
    /// The running agent.
    struct Agent: Equatable, Sendable {
        /// Its process id.
        var process: Int32
        /// When it started, RFC 3339.
        var started: String

        /// This process, which is starting now.
        static var thisProcess: Agent { Agent(process: getpid(), started: Timestamp.text(Timestamp.now())) }
    }

    /// Where the registry is, and how.
    struct Store: Sendable {
        /// The members.
        var members: [String]
        /// Where the keys are.
        var keyspace: Keyspace
        /// How changes are learnt.
        var mode: String
        /// Whether etcd answers.
        var health = EtcdHealth.State()
        /// Whether the registry is the copy on this host's disk, as etcd does not answer.
        var isCopy = false
    }

    /// The agent that says this; nil where none does, and etcd was asked directly.
    var agent: Agent?
    /// The registry's etcd.
    var store: Store
    /// What haproxy.cfg says besides the services.
    var settings: HAProxySettings
    /// What decides of what should run; nil where nobody knows what the registry says.
    var inputs: DesiredInputs?
    /// The revision of the registry when HAProxy last did all of it; nil where that is not known.
    var appliedRevision: Int64?
    /// Since when HAProxy does not do all of it, as time since the beginning of 1970; nil where it does.
    var behindSince: Duration?
    /// The lost endpoints that stay in service.
    var massLoss: MassLossGuard
    /// Why snippets of haproxy.cfg are not used, by setting.
    var snippetErrors: [String: String] = [:]
    /// Why certificates are not used.
    var certificateProblems: Set<Diagnostic> = []
    /// What came of bringing HAProxy to configurations; nil where no agent did.
    var history: ReloadHistory?
    /// What HAProxy runs, as far as the agent knows.
    var running: RunningConfig?
    /// How HAProxy is asked; nil where there is none.
    var process: HAProxyAccess?
    /// What is written for other programs; nil where nothing is, or no agent tells.
    var outputs: OutputFacts?

    /// What is known of the outputs.
    struct OutputFacts: Sendable {
        /// What is known of each.
        var statuses: [OutputStatus]
        /// What the outputs file says.
        var definitions: [OutputDefinition]
        /// The keys that were read; nil where some were not.
        var keys: [String: String]?
    }
}

extension Snapshot.OutputFacts {
    /// Takes what is known.
    init(_ outputs: Outputs) {
        self.init(statuses: outputs.statuses, definitions: outputs.definitions, keys: outputs.keys)
    }
}

extension Snapshot {
    /// What the registry says; nil where nobody knows.
    var registry: RegistryState? { inputs?.registry }

    /// What should run; nil where nobody knows what the registry says.
    ///
    /// Deciding takes as long as a turn of the loop, so it is done by who asks, and not kept.
    var desired: DesiredState? { decided?.desired }

    /// The same, with all that it was decided from.
    var decided: (desired: DesiredState, cache: DesiredStateCache)? {
        inputs.map { inputs in
            var cache = DesiredStateCache()
            let desired = DesiredState(inputs, &cache)
            return (desired, cache)
        }
    }

    /// Accepts a newer state of the registry.
    mutating func accept(_ registry: RegistryState) {
        _ = massLoss.accept(registry, at: Timestamp.now())
        if inputs == nil {
            inputs = DesiredInputs(
                registry: registry, certificates: Set(settings.certificates.keys), host: settings.host)
        } else {
            inputs?.registry = registry
        }
        inputs?.held = massLoss.records
    }
}

/// What came of bringing HAProxy to configurations, since the agent runs.
struct ReloadHistory: Equatable, Sendable {
    /// A reload.
    struct Reload: Encodable, Equatable, Sendable {
        /// When, RFC 3339.
        var time: String
        /// Why.
        var reason: String
    }

    /// How many reloads there were.
    private(set) var reloads = 0
    /// The newest reload.
    private(set) var lastReload: Reload?
    /// Since when, and why, HAProxy does not do what it should; nil while it does.
    private(set) var trouble: ErrorRecord?
    /// What failed last, also if it is over.
    private(set) var lastTrouble: ErrorRecord?

    /// Records that HAProxy runs what it should, and how it was brought there.
    mutating func record(_ done: ConfigChange) {
        trouble = nil
        guard case .reload(let reason) = done.load else { return }
        reloads += 1
        lastReload = Reload(time: Timestamp.text(Timestamp.now()), reason: "\(reason)")
    }

    /// Records that it does not.
    mutating func record(_ error: any Error) {
        let failed = ErrorRecord(error)
        lastTrouble = failed
        if trouble?.error != failed.error { trouble = failed }
    }
}

extension Snapshot {
    /// The file that HAProxy runs, as it is on the disk; nil where there is none of ours.
    var file: HAProxyConfiguration? { process?.file.read() }

    /// Observes anew which ports are taken by others, and this host's addresses.
    ///
    /// Where HAProxy runs, those that its file names are its own.
    mutating func observePorts() async {
        inputs?.ports = PortObservation(ownAddresses: IPAddress.ofThisHost())
        guard let process, let binds = desired?.wantedBinds else { return }
        let isRunning = (try? await process.runtime.report(on: [])) != nil
        let obstacles = await PortCheck.obstacles(
            to: binds, beside: isRunning ? file?.binds ?? [] : [], patience: .zero)
        inputs?.ports.add(binds, obstacles: obstacles)
    }
}
