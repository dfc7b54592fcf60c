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

    /// How many files HAProxy may have open; nil where that is not known.
    var openFiles: Int?

    /// Whether HAProxy may read other files too, which docker-discover does not know.
    var hasOtherFiles = false

    /// The certificates for routes that can be used: their digests by name.
    var certificates: [String: String] = [:]

    /// Who may see the stats page; nobody named is everybody.
    var statsUsers: [StatsUser] = []

    /// What its operator adds; no service may have its names and addresses.
    var snippets = ConfigSnippets() {
        didSet { host.reserved = HostSettings.Reserved(names: snippets.proxies, binds: snippets.binds) }
    }

    /// Whether nothing can use HAProxy's HTTP client, which only serves what an operator adds.
    var leavesHTTPClientUnused: Bool { snippets.isEmpty && !hasOtherFiles }

    /// How many connections one listener takes at a time; nil where nobody knows how many HAProxy takes.
    ///
    /// It is half of those: where the connections of one service pile up, the others still have the other half. HAProxy
    /// takes half as many as it may have files open, or what the operator says.
    var connectionsOfOne: Int? {
        let said = snippets.lines(.global).compactMap { line -> Int? in
            let words = line.split { $0 == " " || $0 == "\t" }
            return words.count > 1 && words[0] == "maxconn" ? Int(words[1]) : nil
        }.last
        return (said ?? openFiles.map { $0 / 2 }).map { max(1, $0 / 2) }
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
