import Shared

/// What docker-register knows at one moment: the whole state that questions are answered from.
struct Snapshot: Sendable {
    /// The running agent.
    struct Agent: Equatable, Sendable {
        /// Its process id.
        var process: Int32
        /// When it started, RFC 3339.
        var started: String
    }

    /// Where the engine is, and how.
    struct Engine: Equatable, Sendable {
        /// Its name in messages.
        var address: String
        /// The API version that is spoken.
        var api: String
        /// Since when, and why, it does not answer; nil while it does.
        var trouble: ErrorRecord?
    }

    /// Where etcd is, and how.
    struct Store: Equatable, Sendable {
        /// The members.
        var members: [String]
        /// Where the keys are.
        var keyspace: Keyspace
        /// The agent's lease; nil where there is none.
        var lease: Etcd.Lease?
        /// Since when, and why, it does not answer; nil while it does.
        var trouble: ErrorRecord?
        /// What failed last, also if it is over.
        var lastTrouble: ErrorRecord?
    }

    /// The agent that says this; nil where none does, and engine and etcd were asked directly.
    var agent: Agent?
    /// Whose entries these are.
    var owner: Owner
    /// The engine; nil on a host without one.
    var engine: Engine?
    /// What may be wrong with `HOST_IP` on this host; nil for nothing.
    var addressWarning: String?
    /// Which other hosts have the same `HOST_IP`.
    var addressConflicts: [String] = []
    /// The registry's etcd.
    var store: Store
    /// What should be registered, and why something is not.
    var desired = Desired()
    /// The entries of this host that the registry holds; nil where that is not known.
    var registered: [EntryID: RegisteredEntry]?
    /// The values that etcd has of the host's plain keys, where they were read for this snapshot.
    var hostKeys: [String: [UInt8]] = [:]
    /// The docker-register that registers instead of this one, which stands by; nil where this one registers.
    var leader: String?
}

extension Snapshot {
    /// What is known from the start, before anything was looked at.
    init(
        _ owner: Owner, _ engine: Docker.Client?, at address: String?, members: [String], _ keyspace: Keyspace,
        agent: Agent?
    ) {
        self.agent = agent
        self.owner = owner
        self.engine = engine.map {
            Engine(address: address ?? "", api: $0.version.description)
        }
        store = Store(members: members, keyspace: keyspace)
    }
}

extension Snapshot.Agent {
    /// This process, which is starting now.
    static var thisProcess: Snapshot.Agent {
        Snapshot.Agent(process: ProcessStatus.ownID, started: Timestamp.text(Timestamp.now()))
    }
}
