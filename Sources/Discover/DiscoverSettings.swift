import FoundationEssentials
import Shared

/// What docker-discover is told, parsed.
struct DiscoverSettings: Sendable {
    /// How changes are learnt.
    var mode: RegistryWatcher.Mode
    /// Where etcd is.
    var etcd: Etcd.Configuration
    /// Where the registry lies in it.
    var keyspace: Keyspace
    /// HAProxy's path, or its name; nil for none, where only outputs are written.
    var haproxy: String?
    /// The HAProxy that something else runs; nil where docker-discover runs its own.
    var external: ExternalHAProxy.Settings?
    /// The file that says who may see the stats page; nil for everybody.
    var statsAuthPath: String?
    /// Who they are, as it says at the start.
    var statsUsers: [StatsUser]
    /// Where its files are.
    var directory: StateDirectory
    /// Where it runs.
    var host: HostSettings
    /// Where it is said what is added to haproxy.cfg.
    var additionFiles: SnippetFiles
    /// The folder of certificates for routes; nil for none.
    var certificates: String?
    /// What is written for other programs; nil for nothing.
    var outputs: OutputsFile?
    /// How long open connections may take when the program stops.
    var stopGrace: Duration
    /// How long they may take after a reload.
    var hardStopAfter: Duration
    /// How long they may go on to an endpoint that is gone from the registry.
    var drainTimeout: Duration
    /// How long endpoints that were lost stay in service.
    var holdTime: Duration

    /// The settings besides etcd's and the log's.
    static let mode = Setting(
        flag: "--mode", variable: "DISCOVER_MODE", placeholder: "MODE", fallback: "watch",
        help: "how to follow etcd: watch, or poll every POLL_INTERVAL")
    static let pollInterval = Setting(
        flag: "--poll-interval", variable: "POLL_INTERVAL", placeholder: "TIME", fallback: "5s",
        help: "time between two reads of the registry in poll mode")
    static let haproxy = Setting(
        flag: "--haproxy", variable: "HAPROXY", placeholder: "PROGRAM", fallback: "haproxy",
        help: "HAProxy to run, 2.4 or newer: a path, or a name in PATH; none to write outputs only")
    static let stateDirectory = Setting(
        flag: "--state-dir", variable: "STATE_DIR", placeholder: "PATH", fallback: StateDirectory.standard,
        help: "folder for haproxy.cfg, the sockets, and the registry cache; each docker-discover needs its own")
    static let statsBind = Setting(
        flag: "--stats-bind", variable: "STATS_BIND", placeholder: "ADDRESS", fallback: ":1936",
        help: "address of HAProxy's stats page, /metrics, and /healthz")
    static let listenAddress = Setting(
        flag: "--listen-address", variable: "LISTEN_ADDRESS", placeholder: "ADDRESS", fallback: "0.0.0.0",
        help: "default listen address of services; 0.0.0.0 and 127.0.0.1 include ::1, and :: is all of IPv4 and IPv6")
    static let allowedPorts = Setting(
        flag: "--allowed-ports", variable: "ALLOWED_PORTS", placeholder: "PORTS", fallback: "1-65535",
        help: "ports that containers' labels may ask for on this host, such as 80,443,1024-65535")
    static let portRange = Setting(
        flag: "--port-range", variable: "PORT_RANGE", placeholder: "FIRST-LAST",
        fallback: PortRange.standard.description,
        help: "ports for services whose own port belongs to another service; use the same range on all client hosts")
    static let zone = Setting(
        flag: "--zone", variable: "ZONE", placeholder: "NAME",
        help: "zone of this host: endpoints of the same zone are preferred; the others serve when none of those works")
    static let globalFile = Setting(
        flag: "--global-file", variable: "GLOBAL_FILE", placeholder: "FILE",
        help: "lines to add to the global section of haproxy.cfg; read at startup and on SIGHUP, like the next two")
    static let defaultsFile = Setting(
        flag: "--defaults-file", variable: "DEFAULTS_FILE", placeholder: "FILE",
        help: "lines to add to the defaults section")
    static let extraFile = Setting(
        flag: "--extra-file", variable: "EXTRA_FILE", placeholder: "FILE", help: "sections to append to haproxy.cfg")
    static let outputs = Setting(
        flag: "--outputs", variable: "OUTPUTS_FILE", placeholder: "FILE",
        help: "JSON file with files to keep up to date for other programs; read at startup and on SIGHUP")
    static let stopGrace = Setting(
        flag: "--stop-grace", variable: "STOP_GRACE", placeholder: "TIME", fallback: "10s",
        help: "how long open connections may take to finish when docker-discover stops")
    static let hardStopAfter = Setting(
        flag: "--hard-stop-after", variable: "HARD_STOP_AFTER", placeholder: "TIME", fallback: "10m",
        help: "how long open connections may continue in an old HAProxy worker after a reload")
    static let drainTimeout = Setting(
        flag: "--drain-timeout", variable: "DRAIN_TIMEOUT", placeholder: "TIME", fallback: "10m",
        help: "how long open connections to an endpoint that left the registry may continue")
    static let holdTime = Setting(
        flag: "--hold-time", variable: "HOLD_TIME", placeholder: "TIME", fallback: "10m",
        help: """
            how long to keep serving healthy endpoints whose entries were lost (not withdrawn) when fewer than half of the \
            service would remain; 0 disables
            """)

    /// The table that the command line, the help and the README are made from.
    static let options = CommandLineParser(
        program: "docker-discover",
        summary: "Balances connections over the services in etcd with HAProxy.",
        settings: EtcdSettings.settings + [
            mode, pollInterval, haproxy, haproxyMaster, reloadCommand, haproxyConfig, stateDirectory, statsBind,
            statsAuth, listenAddress, allowedPorts, portRange, zone,
            globalFile, defaultsFile, extraFile, httpBind, httpsBind, certificatesFolder, trustedProxies,
            outputs, stopGrace,
            hardStopAfter, drainTimeout, holdTime,
        ] + LogSettings.settings, commands: DiscoverCommands.all)

    private enum Mode: String, CaseIterable {
        case watch
        case poll
    }

    /// Reads the settings; nil where one is wrong, which the reading has recorded.
    init?(_ reading: inout ParsedSettings) {
        let etcd = EtcdSettings.configuration(from: &reading)
        let keyspace = EtcdSettings.keyspace(from: &reading)
        let mode: Mode? = reading.choice(Self.mode)
        let interval = reading.duration(Self.pollInterval, in: .milliseconds(100)...(.seconds(3600)))
        let directory = Self.directory(from: &reading)
        let (statsAuthPath, users) = Self.statsUsers(from: &reading)
        self.statsAuthPath = statsAuthPath
        statsUsers = users
        external = Self.external(from: &reading)
        let host = Self.host(&reading)
        additionFiles = Self.additionFiles(&reading)
        certificates = Self.certificates(from: &reading)
        outputs = Self.outputs(from: &reading)
        let stopGrace = reading.duration(Self.stopGrace, in: .zero...(.seconds(3600)))
        let hardStop = Self.hardStopAfter(from: &reading)
        let drain = reading.duration(Self.drainTimeout, in: .zero...(.seconds(86400)))
        let hold = reading.duration(Self.holdTime, in: .zero...(.seconds(86400)))
        guard let etcd, let keyspace, let mode, let interval, let haproxy = reading.text(Self.haproxy), let directory,
            let host, let stopGrace, let hardStop, let drain, let hold
        else { return nil }
        self.mode = mode == .watch ? .watch : .poll(every: interval)
        self.etcd = etcd
        self.keyspace = keyspace
        self.haproxy = haproxy == Self.noHAProxy ? nil : haproxy
        self.directory = directory
        self.host = host
        self.host.hasHAProxy = haproxy != Self.noHAProxy
        self.stopGrace = stopGrace
        hardStopAfter = hardStop
        drainTimeout = drain
        holdTime = hold
    }

    /// What `HAPROXY` says where there is none.
    static let noHAProxy = "none"

    /// What is written for other programs; a file that is wrong is recorded.
    static func outputs(from reading: inout ParsedSettings) -> OutputsFile? {
        guard let path = reading.text(outputs) else {
            if reading.text(haproxy) == noHAProxy { reading.problem(outputs, "must be set, as HAPROXY is none") }
            return nil
        }
        do {
            return try OutputsFile(path)
        } catch {
            for problem in error.problems { reading.problem(outputs, problem) }
            return nil
        }
    }

    /// Where its files are; commands need nothing else.
    static func directory(from reading: inout ParsedSettings) -> StateDirectory? {
        reading.value(stateDirectory, StateDirectory.grammar) { StateDirectory($0) }
    }

    /// How long open connections may take after a reload.
    static func hardStopAfter(from reading: inout ParsedSettings) -> Duration? {
        reading.duration(hardStopAfter, in: .seconds(1)...(.seconds(86400)))
    }

    /// Where it is said what is added to haproxy.cfg.
    static func additionFiles(_ reading: inout ParsedSettings) -> SnippetFiles {
        let settings = [
            ConfigSnippet.Location.global: Self.globalFile, .defaults: Self.defaultsFile, .extra: Self.extraFile,
        ]
        var files = SnippetFiles()
        for (place, setting) in settings {
            files.paths[place] = reading.value(setting, "an absolute path") { text in
                Folder.isPath(text) ? text : nil
            }
        }
        return files
    }

    /// What this host contributes.
    static func host(_ reading: inout ParsedSettings) -> HostSettings? {
        let statsBind = reading.value(Self.statsBind, BindAddress.grammar) { BindAddress($0) }
        let listenAddress = reading.value(Self.listenAddress, "an IPv4 or IPv6 address") { IPAddress($0) }
        let zone = reading.value(Self.zone, ServiceName.grammar) { Zone($0) }
        let allowedPorts = reading.value(Self.allowedPorts, AllowedPorts.grammar) { AllowedPorts($0) }
        let portRange = reading.value(Self.portRange, PortRange.grammar) { PortRange($0) }
        let routes = Self.routes(from: &reading, besides: statsBind)
        guard let statsBind, let listenAddress, let allowedPorts, let portRange else { return nil }
        return HostSettings(
            statsBind: statsBind, name: hostName ?? "localhost", listenAddress: listenAddress, zone: zone,
            portRange: portRange, allowedPorts: allowedPorts, routes: routes)
    }
}

// Which HAProxy docker-discover works with, and who may see its stats page.

extension DiscoverSettings {
    /// `HAPROXY_MASTER`: the socket of another's HAProxy.
    static let haproxyMaster = Setting(
        flag: "--haproxy-master", variable: "HAPROXY_MASTER", placeholder: "SOCKET",
        help: """
            use an existing HAProxy: its master CLI socket (haproxy -S). docker-discover writes HAPROXY_CONFIG and reloads \
            HAProxy there; it never starts or stops it
            """)
    /// `RELOAD_COMMAND`: what reloads another's HAProxy.
    static let reloadCommand = Setting(
        flag: "--reload-command", variable: "RELOAD_COMMAND", placeholder: "COMMAND",
        help: """
            use an existing HAProxy and reload it with this shell command (timeout 10 s), such as systemctl reload haproxy
            """)
    /// `HAPROXY_CONFIG`: the file of another's HAProxy.
    static let haproxyConfig = Setting(
        flag: "--haproxy-config", variable: "HAPROXY_CONFIG", placeholder: "FILE",
        help: """
            with HAPROXY_MASTER or RELOAD_COMMAND: the file that this HAProxy reads, \(ExternalHAProxy.Settings.standardPath) \
            if not set; one that is not docker-discover's is never replaced
            """)
    /// `STATS_AUTH`: the file with those who may see the stats page.
    static let statsAuth = Setting(
        flag: "--stats-auth", variable: "STATS_AUTH", placeholder: "FILE",
        help: """
            file with user:password lines: who may see the stats page and /metrics; read at startup and on SIGHUP
            """)

    /// The HAProxy that something else runs; nil where there is none, or where a setting is wrong, which is then recorded.
    static func external(from reading: inout ParsedSettings) -> ExternalHAProxy.Settings? {
        let socket = reading.value(haproxyMaster, "an absolute path of at most \(LineSocket.longestPath) bytes") {
            Folder.isPath($0) && $0.utf8.count <= LineSocket.longestPath ? $0 : nil
        }
        let command = reading.text(reloadCommand)
        let path = reading.value(haproxyConfig, "an absolute path") { Folder.isPath($0) ? $0 : nil }
        if socket != nil, command != nil {
            reading.problem(haproxyMaster, "does not go together with \(reloadCommand.variable): set one of them")
        }
        if path != nil, reading.text(haproxyMaster) == nil, command == nil {
            let others = "\(haproxyMaster.variable) or \(reloadCommand.variable)"
            reading.problem(haproxyConfig, "needs \(others); an HAProxy of our own reads its file in STATE_DIR")
        }
        let file = path ?? ExternalHAProxy.Settings.standardPath
        if let socket { return ExternalHAProxy.Settings(path: file, reload: .master(socket: socket)) }
        return command.map { ExternalHAProxy.Settings(path: file, reload: .command($0)) }
    }

    /// Reads STATS_AUTH and the users in its file; a wrong file is recorded.
    static func statsUsers(from reading: inout ParsedSettings) -> (path: String?, users: [StatsUser]) {
        guard let path = reading.text(statsAuth) else { return (nil, []) }
        do {
            return (path, try StatsUser.read(path))
        } catch {
            reading.problem(statsAuth, error.description)
            return (path, [])
        }
    }

    /// What the stats page calls this host.
    static var hostName: String? {
        let name = ProcessInfo.processInfo.hostName
        let isPlain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return isPlain && !name.isEmpty ? name : nil
    }
}

extension DiscoverSettings {
    /// What outputs have in common; their programs get this process's environment without secrets.
    var outputContext: Outputs.Context {
        let secrets = Self.options.settings.flatMap(\.secretVariables)
        return Outputs.Context(
            host: host, mode: mode, folder: directory.path + "/outputs",
            environment: ProcessInfo.processInfo.environment.filter { !secrets.contains($0.key) })
    }

    /// What haproxy.cfg says besides the services, for an HAProxy that can do this.
    func settings(for abilities: HAProxyFeatures) -> HAProxySettings {
        var host = host
        if external == nil { host.openFiles = FileDescriptorLimit.limit.map { OpenFileBudget(limit: $0) } }
        return HAProxySettings(
            host: host, statsSocket: directory.statsSocket, statesFile: directory.serverStates.path,
            hardStopAfter: hardStopAfter, abilities: abilities,
            hasOtherFiles: external != nil, statsUsers: statsUsers)
    }

    /// How the HAProxy is reached that they name, or one of docker-discover's own.
    func access(_ program: HAProxyProgram) -> HAProxyAccess {
        HAProxyAccess(program: program, directory: directory, external: external)
    }

    /// Attaches to that HAProxy.
    func attach(_ program: HAProxyProgram, _ logger: Logger) async throws -> any HAProxyInstance {
        let access = access(program)
        if let external { return try await ExternalHAProxy(access, reload: external.reload, logger: logger) }
        return try await SupervisedHAProxy(access, HAProxyOutput(logger), logger: logger, statsBind: host.statsBind)
    }
}
