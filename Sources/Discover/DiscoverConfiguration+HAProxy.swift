import FoundationEssentials
import Shared

// Which HAProxy docker-discover works with, and who may see its stats page.

extension DiscoverConfiguration {
    /// `HAPROXY_MASTER`: the socket of another's HAProxy.
    static let haproxyMaster = Setting(
        flag: "--haproxy-master", variable: "HAPROXY_MASTER", placeholder: "SOCKET",
        help: """
            the socket of the master of an HAProxy that something else runs, such as the system's haproxy.service: \
            docker-discover then starts and stops none, writes HAPROXY_CONFIG, and reloads by this socket
            """)
    /// `RELOAD_COMMAND`: what reloads another's HAProxy.
    static let reloadCommand = Setting(
        flag: "--reload-command", variable: "RELOAD_COMMAND", placeholder: "COMMAND",
        help: """
            the same with a command for /bin/sh instead of a socket, such as systemctl reload haproxy; \
            it is killed after 10s
            """)
    /// `HAPROXY_CONFIG`: the file of another's HAProxy.
    static let haproxyConfig = Setting(
        flag: "--haproxy-config", variable: "HAPROXY_CONFIG", placeholder: "FILE",
        help: """
            with HAPROXY_MASTER or RELOAD_COMMAND: the file that this HAProxy reads, \(ExistingHAProxy.standardPath) \
            if not set; one that is not docker-discover's is never replaced
            """)
    /// `STATS_AUTH`: the file with those who may see the stats page.
    static let statsAuth = Setting(
        flag: "--stats-auth", variable: "STATS_AUTH", placeholder: "FILE",
        help: """
            a file with lines user:password: who may see the stats page and /metrics; read at the start and at SIGHUP
            """)

    /// The HAProxy that something else runs; nil where there is none, or where a setting is wrong, which is then recorded.
    static func existing(from reading: inout Reading) -> ExistingHAProxy? {
        let socket = reading.value(haproxyMaster, "an absolute path of at most \(CommandSocket.longestPath) bytes") {
            isPath($0) && $0.utf8.count <= CommandSocket.longestPath ? $0 : nil
        }
        let command = reading.text(reloadCommand)
        let path = reading.value(haproxyConfig, "an absolute path") { isPath($0) ? $0 : nil }
        if socket != nil, command != nil {
            reading.problem(haproxyMaster, "does not go together with \(reloadCommand.variable): set one of them")
        }
        if path != nil, reading.text(haproxyMaster) == nil, command == nil {
            let others = "\(haproxyMaster.variable) or \(reloadCommand.variable)"
            reading.problem(haproxyConfig, "needs \(others); an HAProxy of our own reads its file in STATE_DIR")
        }
        let file = path ?? ExistingHAProxy.standardPath
        if let socket { return ExistingHAProxy(path: file, reload: .master(socket: socket)) }
        return command.map { ExistingHAProxy(path: file, reload: .command($0)) }
    }

    /// Reads STATS_AUTH and the users in its file; a wrong file is recorded.
    static func statsUsers(from reading: inout Reading) -> (path: String?, users: [StatsUser]) {
        guard let path = reading.text(statsAuth) else { return (nil, []) }
        do {
            return (path, try StatsUser.read(path))
        } catch {
            reading.problem(statsAuth, error.description)
            return (path, [])
        }
    }

    /// Whether a text is an absolute path that a command line and a message can carry.
    static func isPath(_ text: String) -> Bool {
        text.hasPrefix("/") && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
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

extension DiscoverConfiguration {
    /// What haproxy.cfg says besides the services, for an HAProxy that can do this.
    func settings(for abilities: HAProxyAbilities) -> HAProxySettings {
        HAProxySettings(
            host: host, statsSocket: directory.statsSocket, statesFile: directory.serverStates.path,
            hardStopAfter: hardStopAfter, abilities: abilities,
            openFiles: existing == nil ? OpenFiles.limit : nil, hasOtherFiles: existing != nil)
    }
}
