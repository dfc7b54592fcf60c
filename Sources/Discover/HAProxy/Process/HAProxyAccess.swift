import Shared

/// How an HAProxy is reached, whoever runs it: by its sockets and its file.
struct HAProxyAccess: Sendable {
    /// The limits; tests shorten them.
    struct Timing: Sendable {
        /// For one answer of a command socket.
        var answer: Duration = .seconds(2)
        /// For a start or a reload; HAProxy loads 10 000 servers in 0.2 s.
        var load: Duration = .seconds(10)
        /// Between two looks while something is awaited.
        var poll: Duration = .milliseconds(5)
        /// For an HAProxy of an earlier run to make the socket that it was started with.
        var socket: Duration = .seconds(2)
        /// For a new worker to take over the runtime API's socket, which it does before the old one is told to go.
        var takeover: Duration = .milliseconds(500)
        /// For the words of a master whose reload failed to be read.
        var words: Duration = .milliseconds(200)
        /// For the command that reloads an HAProxy that something else runs.
        var command: Duration = .seconds(10)
        /// Between two requests to stop.
        var stopInterval: Duration = .milliseconds(200)
        /// Between two looks whether the worker of an HAProxy that something else runs is still the same.
        var watch: Duration = .milliseconds(250)
    }

    /// The program, which checks files.
    let program: HAProxyProgram
    /// Where its sockets are.
    let directory: StateDirectory
    /// The file that it reads.
    let file: ConfigFile
    /// The socket of its master; nil where it is not known.
    let masterSocket: LineSocket?
    /// The limits.
    var timing = Timing()

    /// The HAProxy that the settings name, or else one of docker-discover's own.
    init(program: HAProxyProgram, directory: StateDirectory, external: ExternalHAProxy.Settings? = nil) {
        self.program = program
        self.directory = directory
        file = ConfigFile(program: program, directory: directory, externalPath: external?.path)
        switch external?.reload {
        case nil: masterSocket = LineSocket(path: directory.masterSocket)
        case .master(let socket): masterSocket = LineSocket(path: socket)
        case .command: masterSocket = nil
        }
    }

    /// Whether something else starts and stops it.
    var isExternal: Bool { file.isExternal }

    /// The capabilities that it is started with; nil where that is not known.
    var capabilities: ProcessCapabilities? { isExternal ? nil : .own }

    /// What changes its servers while it runs.
    var runtime: RuntimeAPI {
        RuntimeAPI(socket: LineSocket(path: directory.statsSocket), deadline: timing.answer)
    }

    /// What the master tells of its processes; nil where it tells something else, or nobody knows its socket.
    func processes() async throws -> MasterProcessList? {
        guard let masterSocket else { return nil }
        return MasterProcessList(try await masterSocket.send("show proc", deadline: timing.answer))
    }

    /// How many workers of earlier configurations finish their connections; nil where nobody says.
    func oldWorkers() async -> Int? {
        (try? await processes())?.oldWorkers.count
    }

    /// Who answers at the socket of the runtime API.
    func workerPresence() async -> WorkerPresence {
        // While one worker takes the socket over from another, nobody may be there for a moment.
        for _ in 0..<3 {
            do {
                let answer = try await runtime.socket.send("show info", deadline: timing.answer)
                return HAProxyWorker(answer).map { .worker($0) } ?? .silent
            } catch LineSocket.Failure.timedOut {
                return .silent
            } catch {
                guard (try? await Task.sleep(for: timing.poll * 4)) != nil else { return .silent }
            }
        }
        return .absent
    }

    /// What HAProxy says now; it costs HAProxy 60 ms where there are 10 000 servers.
    func stats(deadline: Duration) async throws -> ProxyStats {
        let answer = try await runtime.socket.send(ProxyStats.question, deadline: deadline)
        guard var stats = ProxyStats(answer) else {
            throw RuntimeFailure.unexpected(answer: String(answer.prefix(100)), to: ProxyStats.question)
        }
        if let list = try? await processes() { (stats.master, stats.oldWorkers) = (list.master, list.oldWorkers.count) }
        return stats
    }
}

/// Who answers at the socket of HAProxy's runtime API.
enum WorkerPresence: Equatable, Sendable {
    /// Nobody is there.
    case absent
    /// Somebody is there who does not answer in time.
    case silent
    /// A worker answers.
    case worker(HAProxyWorker)

    /// The worker that answers.
    var worker: HAProxyWorker? {
        if case .worker(let worker) = self { return worker }
        return nil
    }
}

// A reload takes the states of servers over.

extension HAProxyAccess {
    /// Installs a configuration by a reload after which servers are what they were before it.
    func installKeepingStates<Result>(
        _ configuration: HAProxyConfiguration, _ reload: () async throws -> Result
    ) async throws -> Result {
        clearStates()
        return try await file.install(configuration) {
            await writeStates(for: configuration)
            defer { clearStates() }
            return try await reload()
        }
    }

    /// Writes down what the next worker has to know of the servers; without it they all begin as up.
    private func writeStates(for configuration: HAProxyConfiguration) async {
        guard let report = try? await runtime.report() else { return }
        let text = ServerStateFile.text(report.states, for: configuration)
        _ = try? directory.serverStates.replace(with: Array(text.utf8), isFlushed: false)
    }

    /// Empties the file of states, so that no later start or reload takes old ones for true.
    func clearStates() {
        // Where that fails, so will what follows, and say why.
        try? directory.restore()
        let file = directory.serverStates
        do {
            try file.replace(with: Array(ServerState.fileHead.utf8), isFlushed: false)
        } catch {
            file.remove()
        }
    }
}
