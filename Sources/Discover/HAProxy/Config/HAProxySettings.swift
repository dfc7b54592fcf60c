import Shared

/// What haproxy.cfg says besides the services.
struct HAProxySettings: Equatable, Sendable {
    /// Where it runs.
    var host: HostSettings

    /// The path of the runtime API's socket.
    var statsSocket: String

    /// The path of the file from which a new worker takes servers' states.
    var statesFile: String

    /// How long an old worker may live on for its open connections.
    var hardStopAfter: Duration

    /// What the installed HAProxy can do.
    var abilities: HAProxyFeatures

    /// Whether HAProxy may read other files too, which docker-discover does not know.
    var hasOtherFiles = false

    /// The certificates for routes that can be used: their digests by name.
    var certificates: [String: String] = [:]

    /// Who may see the stats page; nobody named is everybody.
    var statsUsers: [StatsUser] = []

    /// What its operator adds; no service may have its names and addresses.
    var snippets = ConfigSnippets() {
        didSet {
            host.reserved = HostSettings.Reserved(names: snippets.proxies, binds: snippets.binds)
            host.named = snippets.services
        }
    }

    /// Whether nothing can use HAProxy's HTTP client, which only serves what an operator adds.
    var leavesHTTPClientUnused: Bool { snippets.isEmpty && !hasOtherFiles }

    /// How many connections HAProxy takes, as far as its operator says so.
    var configuredConnections: Int? {
        snippets.lines(.global).compactMap { line -> Int? in
            let words = line.split { $0 == " " || $0 == "\t" }
            return words.count > 1 && words[0] == "maxconn" ? Int(words[1]).flatMap { $0 > 0 ? $0 : nil } : nil
        }.last
    }

    /// How connections are shared out beside so many listeners; nil where nobody knows how many HAProxy takes.
    func shares(beside listeners: Int) -> ConnectionShares? {
        let all = configuredConnections ?? host.openFiles?.connections(beside: listeners)
        return all.map { ConnectionShares(all: $0) }
    }

    /// The files that HAProxy reads for routes, beside the file of states.
    var routeFiles: RouteFiles {
        RouteFiles(folder: statesFile.lastIndex(of: "/").map { String(statesFile[..<$0]) } ?? ".")
    }

    /// Where the stats page is.
    var statsBind: BindAddress { host.statsBind }
}

/// What differs among builds of HAProxy and matters here; found out by trying, not by version.
struct HAProxyFeatures: Equatable, Sendable {
    /// Whether a build knows `option idle-close-on-response`, which saves kept-alive clients from resets at reloads.
    var idleCloseOnResponse: Bool

    /// Whether a build has the Prometheus exporter.
    var prometheus: Bool

    /// Whether a build knows `httpclient.ssl.verify`: it reads the system's certificates at each start without it.
    var httpClientVerify: Bool

    /// Whether a build has TLS.
    var tls = true

    /// What the newest builds can do.
    static let all = HAProxyFeatures(idleCloseOnResponse: true, prometheus: true, httpClientVerify: true)

    /// What every build can do.
    static let none = HAProxyFeatures(idleCloseOnResponse: false, prometheus: false, httpClientVerify: false)
}
