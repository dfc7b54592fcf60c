import Shared

/// docker-register's settings, from flags and variables.
struct RegisterSettings: Sendable {
    /// `HOST_IP`: the address under which other hosts reach this one, or how to find it.
    var hostAddress: HostAddress
    /// Where the engine listens; nil on a host without one.
    var docker: HTTPOrigin?
    /// Where etcd is.
    var etcd: Etcd.Configuration
    /// Where the registry's keys are.
    var keyspace: Keyspace
    /// What is registered, and under which names.
    var rules: RegistrationPolicy
    /// What is registered besides containers; nil for nothing.
    var services: ServicesFileState?
    /// How long entries outlive the agent.
    var ttl: Duration
    /// Between two full resynchronizations, events or not.
    var resync: Duration

    /// Whether the entries are withdrawn when the agent is stopped, rather than left to the TTL.
    var withdrawsOnExit: Bool
    /// The path of the unix socket on which the running agent answers commands.
    var controlSocket: String

    /// The limit of each exchange with the engine or etcd.
    var deadline: Duration { ttl / 3 }

    private static let hostIP = Setting(
        flag: "--host-ip", variable: "HOST_IP", placeholder: "ADDRESS",
        help:
            "this host's address, IPv4 or IPv6, under which the other hosts reach its published ports; or the name of "
            + "its network interface; or auto, the address from which this host reaches etcd")
    private static let servicesFile = Setting(
        flag: "--services", variable: "SERVICES_FILE", placeholder: "FILE",
        help: "JSON file with services that are not containers, and keys that describe this host")
    private static let ttlSetting = Setting(
        flag: "--ttl", variable: "TTL", placeholder: "TIME", fallback: "15s",
        help: "how long entries outlive a docker-register or host that died")
    private static let resyncSetting = Setting(
        flag: "--resync", variable: "RESYNC_INTERVAL", placeholder: "TIME", fallback: "60s",
        help: "interval of full resynchronization, even without any event")

    private static let withdrawSetting = Setting(
        flag: "--withdraw-on-exit", variable: "WITHDRAW_ON_EXIT",
        help: "withdraw all entries when docker-register stops, instead of leaving them until the TTL expires")
    private static let control = Setting(
        flag: "--control-socket", variable: "CONTROL_SOCKET", placeholder: "PATH",
        fallback: "/run/docker-register/control.sock",
        help: "Unix socket on which the running docker-register answers commands")

    /// The table that the command line, the help and the README are made from.
    static let options = CommandLineParser(
        program: "docker-register",
        summary: "Keeps this Docker host's running containers registered in etcd.",
        settings: [hostIP] + EtcdSettings.settings + DockerSettings.settings + RegistrationPolicy.settings + [
            servicesFile, ttlSetting, resyncSetting, withdrawSetting, control,
        ] + LogSettings.settings, commands: RegisterCommands.all)

    /// Reads the settings; nil where one is wrong, which the reading has recorded.
    ///
    /// - Parameter home: the user's folder, where Docker's client keeps certificates.
    init?(_ reading: inout ParsedSettings, home: String) {
        let hostAddress = Self.hostAddress(from: &reading)
        let isWithoutEngine = DockerSettings.isNone(&reading)
        let docker = isWithoutEngine ? nil : DockerSettings.origin(from: &reading, home: home)
        let etcd = EtcdSettings.configuration(from: &reading)
        let keyspace = EtcdSettings.keyspace(from: &reading)
        let rules = RegistrationPolicy(&reading)
        let services = reading.text(Self.servicesFile).flatMap { Self.entries(from: &reading, $0, keyspace) }
        if isWithoutEngine, reading.text(Self.servicesFile) == nil { DockerSettings.reportNone(&reading) }
        let ttl = reading.duration(Self.ttlSetting, in: .seconds(2)...(.seconds(3600)))
        let resync = reading.duration(Self.resyncSetting, in: .seconds(1)...(.seconds(86_400)))
        let controlSocket = Self.controlSocket(from: &reading)
        guard docker != nil || isWithoutEngine, let hostAddress, let etcd, let keyspace, let rules, let ttl, let resync,
            let controlSocket
        else { return nil }
        self.hostAddress = hostAddress
        self.docker = docker
        self.etcd = etcd
        self.keyspace = keyspace
        self.rules = rules
        self.services = services
        self.ttl = ttl
        withdrawsOnExit = reading.isOn(Self.withdrawSetting)
        self.resync = resync
        self.controlSocket = controlSocket
    }

    /// Reads `CONTROL_SOCKET` alone; nil where it is wrong, which is then recorded.
    static func controlSocket(from reading: inout ParsedSettings) -> String? {
        let expected = "a path that begins with a slash and has at most \(LineSocket.longestPath) bytes"
        return reading.value(control, expected) { text in
            text.hasPrefix("/") && text.utf8.count <= LineSocket.longestPath ? text : nil
        }
    }

    private static func entries(
        from reading: inout ParsedSettings, _ path: String, _ keyspace: Keyspace?
    ) -> ServicesFileState? {
        do {
            return try ServicesFileState(path: path, keyspace: keyspace)
        } catch {
            for problem in error.problems { reading.problem(servicesFile, problem) }
            return nil
        }
    }

    private static func hostAddress(from reading: inout ParsedSettings) -> HostAddress? {
        guard reading.text(hostIP) != nil else {
            reading.problem(hostIP, "must be set: under which address do the other hosts reach this one?")
            return nil
        }
        let address = reading.value(hostIP, HostAddress.grammar) { HostAddress($0) }
        if let mistake = address?.mistake { reading.problem(hostIP, mistake) }
        return address
    }
}
