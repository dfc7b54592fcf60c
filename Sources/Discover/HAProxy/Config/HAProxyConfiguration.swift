import Shared

/// The text of haproxy.cfg for a plan: equal plans and settings give equal bytes.
///
/// Services give the `listen` sections their names, so that the stats page reads like the registry. HAProxy's own
/// section begins with `-`, which no service name does.
struct HAProxyConfiguration: Sendable {
    /// The file in pieces: what services have in common, each service's section, and what an operator adds.
    let pieces: [String]

    /// What a worker that loaded this file tells as its `description`: a digest of all that only a reload changes, which
    /// is everything but the servers.
    let mark: String

    /// Where HAProxy listens while it runs this file.
    let binds: Set<BindAddress>

    /// The servers of each service's section.
    private(set) var sections: [ServiceName: [ServerLine]]

    /// What routes come to; nil where this file serves none, or was written by an earlier run.
    private(set) var maps: RouteMaps?

    /// Where what routes come to is for HAProxy; nil where this file serves none, or was written by an earlier run.
    private(set) var routeFiles: RouteFiles?

    /// The ids of the conditions that its rules know.
    private(set) var conditions: Set<String> = []

    /// Whether it routes requests by host and path.
    private(set) var hasRoutes = false

    /// The lines of each service's section that come from its options, as far as they were rendered by this process.
    var configured: [ServiceName: [ConfigLine]] = [:]

    /// The whole file.
    var text: String { pieces.joined() }

    /// How long the file is, in bytes.
    var size: Int { pieces.reduce(0) { $0 + $1.utf8.count } }
}

extension HAProxyConfiguration {
    /// Renders a plan.
    init(_ plan: DesiredState, _ settings: HAProxySettings) {
        var memory = SectionCache()
        self.init(plan, settings, &memory)
    }

    /// Renders a plan, and remembers the sections for the next one.
    init(_ plan: DesiredState, _ settings: HAProxySettings, _ memory: inout SectionCache) {
        let shares = settings.shares(beside: plan.listenerCount)
        let common =
            Self.globals(settings, shares) + Self.defaults(settings, shares)
            + settings.statsSections(shares, note: plan.noteOfLimit, also: plan.statsLoopback6)
        let rendered = memory.sections(of: plan, settings, shares)
        let extra = Self.added(settings.snippets, at: .extra)
        let routes = Self.routes(plan, settings)
        var digest = ConfigHash(common)
        digest.add(routes)
        for section in rendered { digest.add(section.head) }
        let empty = plan.emptySections.map {
            "\n" + Self.section("backend \($0.service)", ["mode \($0.mode.rawValue)"])
        }
        for section in empty { digest.add(section) }
        digest.add(extra)
        mark = Self.markPrefix + digest.text
        let head = """
            # Written by docker-discover from the registry; it replaces this file with every change.
            global
                \(Self.description) \(mark)
            \(common)
            """
        pieces =
            [head] + (routes.isEmpty ? [] : [routes]) + rendered.map(\.text) + empty
            + (extra.isEmpty ? [] : ["\n" + extra])
        if let table = plan.routes {
            maps = RouteMaps(table, certificates: settings.certificates)
            routeFiles = settings.routeFiles
            conditions = Set(table.conditions.map(\.id))
            hasRoutes = true
        }
        binds = plan.binds.union([settings.statsBind]).union(settings.snippets.binds)
        sections = Dictionary(rendered.map { ($0.service, $0.lines) }) { first, _ in first }
        for (service, _) in plan.emptySections { sections[service] = [] }
        configured = Dictionary(rendered.map { ($0.service, $0.configured) }) { first, _ in first }
    }

    private static func routes(_ plan: DesiredState, _ settings: HAProxySettings) -> String {
        guard let table = plan.routes, let listeners = settings.host.routes else { return "" }
        return RouteSection(binds: plan.routeBinds, listeners: listeners, conditions: table.conditions).text(settings)
    }

    /// Takes a file that an earlier run wrote; nil where it carries no mark.
    init?(text: String) {
        var mark: String?
        var binds: Set<BindAddress> = []
        var sections: [ServiceName: [ServerLine]] = [:]
        var (conditions, hasRoutes): (Set<String>, Bool) = ([], false)
        var section: ServiceName?
        var common: ArraySlice<Substring> = []
        let lines = text.split(separator: "\n")
        let end = lines.firstIndex { $0.hasPrefix(Self.extraMark) } ?? lines.endIndex
        for line in lines[..<end] {
            let words = line.split(separator: " ")
            guard words.count >= 2 else { continue }
            if line.first != " " {
                section = Self.titles.contains(words[0]) ? ServiceName(words[1]) : nil
                hasRoutes = hasRoutes || words[1] == RouteSection.name
                if let section { sections[section] = [] }
                common = []
            }
            switch words[0] {
            case Self.description where section == nil && words[1].hasPrefix(Self.markPrefix): mark = String(words[1])
            case "http-request": if let id = RouteSection.condition(inLine: line) { conditions.insert(id) }
            case "bind": if let bind = BindAddress(words[1]) { binds.insert(bind) }
            case Section.common: common = words.dropFirst()
            case "server":
                guard let section, let line = ServerLine(words: words.dropFirst() + common) else { continue }
                sections[section, default: []].append(line)
            default: continue
            }
        }
        guard let mark else { return nil }
        self.mark = mark
        (self.conditions, self.hasRoutes) = (conditions, hasRoutes)
        pieces = [text]
        self.binds = binds.union(ConfigSnippet(path: "", lines: lines[end...].map(String.init)).binds)
        self.sections = sections
    }
}

extension HAProxyConfiguration: Equatable {
    /// Whether the files are the same.
    static func == (left: HAProxyConfiguration, right: HAProxyConfiguration) -> Bool {
        guard left.mark == right.mark else { return false }
        // Pieces that are shared are equal at a glance; a file that was read is one piece.
        let areInPieces = left.pieces.count > 1 && right.pieces.count > 1
        return areInPieces ? left.pieces == right.pieces : left.text == right.text
    }
}

extension HAProxyConfiguration {
    /// The global keyword whose value `show info` repeats: it tells which file a worker has loaded.
    private static let description = "description"
    private static let markPrefix = "docker-discover-"

    /// Whether a line is the one that tells the mark.
    static func isMark(_ line: Substring) -> Bool { line.hasPrefix("    \(description) \(markPrefix)") }

    /// Process-wide settings.
    ///
    /// `hard-stop-after` bounds how long workers of earlier configurations may finish their connections, at about 8 MB
    /// each; ``ReloadThrottle`` bounds how many there come to be. Without `no strict-limits` HAProxy would not start where
    /// it could not have a file open for each server's check at the same time (``OpenFileBudget``). `mworker-max-reloads`
    /// is the last resort where both fail: it ends a worker that has seen so many reloads, connections or not.
    /// `spread-checks` lets no two consumers check an endpoint at the same moments for long. The HTTP client would read
    /// all of the system's certificates at each start, only for scripts; where there may be some, that is left to their
    /// operator.
    private static func globals(_ settings: HAProxySettings, _ shares: ConnectionShares?) -> String {
        let limit = settings.configuredConnections == nil ? shares.map { "    maxconn \($0.all)\n" } ?? "" : ""
        let client = settings.abilities.httpClientVerify && settings.leavesHTTPClientUnused
        return """
                stats socket \(settings.statsSocket) mode 600 level admin expose-fd listeners
                stats timeout 30s
                server-state-file \(settings.statesFile)
                hard-stop-after \(settings.hardStopAfter.components.seconds)s
                mworker-max-reloads 1000
                spread-checks 20
                no strict-limits

            """ + limit + (client ? "    httpclient.ssl.verify none\n" : "") + added(settings.snippets, at: .global)
                + "\n"
    }

    /// What holds for every service.
    ///
    /// Database pools keep connections open and silent for long: an hour of silence is allowed, and TCP keepalives
    /// find peers that are gone. A connection that fails goes to the next server at once (`redispatch 1`), so often that
    /// also most of the servers may be dead (docs/decisions/0010). Hashes are consistent, since only such servers can
    /// come and go while HAProxy runs. Of servers that are spare all are used, not only the first.
    private static func defaults(_ settings: HAProxySettings, _ shares: ConnectionShares?) -> String {
        let limit = shares.map { "    maxconn \($0.ofOne)\n" } ?? ""
        // Each of these is a whole number of one unit.
        func time(_ option: ServiceOption<Duration>) -> String { DurationText.text(option.defaultValue) }
        return """
            defaults
                mode \(ServiceOptions.mode.defaultValue.rawValue)
                balance \(ServiceOptions.balance.defaultValue.rawValue)
                hash-type consistent
                option allbackups
                option redispatch 1
                retries \(ServiceOptions.retries.defaultValue)
                option clitcpka
                option srvtcpka
                timeout connect \(time(ServiceOptions.connectTimeout))
                timeout check \(time(ServiceOptions.checkTimeout))
                timeout client \(time(ServiceOptions.clientTimeout))
                timeout server \(time(ServiceOptions.serverTimeout))
                timeout client-fin 30s
                timeout server-fin 30s
                load-server-state-from-file global

            """ + limit + added(settings.snippets, at: .defaults) + "\n"
    }

    /// What begins a service's section: one with a listener, or without.
    private static let titles: Set<Substring> = ["listen", "backend"]

    /// A section of a title and lines.
    static func section(_ title: String, _ lines: [String]) -> String {
        title + "\n" + lines.map { "    \($0)\n" }.joined()
    }
}

extension HAProxyConfiguration {
    /// The section of a service; nil where there is none.
    func section(of service: ServiceName) -> AcceptedSection? {
        let titles = Self.titles.map { "\($0) \(service)" }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let servers = sections[service], let begin = lines.firstIndex(where: { titles.contains(String($0)) })
        else { return nil }
        let body = lines[begin...].dropFirst().prefix { $0.hasPrefix("    ") && !$0.hasPrefix("    server ") }
        let binds = body.compactMap { line -> BindAddress? in
            let words = line.split(separator: " ")
            return words.count > 1 && words[0] == "bind" ? BindAddress(words[1]) : nil
        }
        guard !binds.isEmpty else { return nil }
        let own = body.filter { !$0.hasPrefix("    \(Section.common) ") }
        let head = ([String(lines[begin])] + own.map(String.init)).map { $0 + "\n" }.joined()
        return AcceptedSection(head: head, binds: binds, servers: servers)
    }

    /// The services that lines of this file belong to, each with the text of such a line.
    func services(atLines numbers: Set<Int>) -> [Int: (service: ServiceName, line: String)] {
        var found: [Int: (service: ServiceName, line: String)] = [:]
        var service: ServiceName?
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            if line.hasPrefix(Self.extraMark) { break }
            if let first = line.first, first != " ", first != "#" {
                let words = line.split(separator: " ")
                service = words.count == 2 && Self.titles.contains(words[0]) ? ServiceName(words[1]) : nil
            }
            if let service, numbers.contains(index + 1) {
                found[index + 1] = (service, line.drop { $0 == " " }.description)
            }
        }
        return found
    }
}
