import Shared

extension StatusReport {
    /// The most lines of endpoints that get no connections; the table below has them all.
    private static let mostIdle = 20

    /// The most lines of problems; `--json` has them all.
    private static let mostProblems = 100

    /// What `status` prints for people.
    var text: String {
        var lines = head
        let wrong = wrong
        if !wrong.isEmpty { lines += ["", "PROBLEMS"] + wrong.map { "  \($0)" } }
        lines.append("")
        if services.isEmpty {
            lines.append(etcd.revision == nil ? "Nothing is known of the registry." : "The registry has no service.")
        } else {
            lines += table
        }
        if let routing { lines += [""] + routing.lines }
        if !withdrawn.isEmpty { lines += [""] + withdrawals }
        if let outputs, !outputs.isEmpty { lines += [""] + Self.table(of: outputs) }
        return lines.joined(separator: "\n") + "\n"
    }

    private var head: [String] {
        let version = agent.version + (agent.running ? "" : ", does not answer")
        var table = TextTable(["docker-discover", version])
        if let process = agent.process, let started = agent.started {
            table.add(["process", "\(process), since \(started)"])
        }
        table.add(["etcd", etcd.words])
        table.add(["prefix", "\(etcd.prefix), by \(etcd.mode)"])
        if let zone = agent.zone { table.add(["zone", zone]) }
        table.add(["revision", etcd.progress])
        table.add(["HAProxy", haproxy.words])
        if let reloads = haproxy.reloads {
            let last = haproxy.lastReload.map { ", the last at \($0.time): \($0.reason)" } ?? ""
            table.add(["reloads", "\(reloads)\(last)"])
        }
        table.add(["stats page", haproxy.stats])
        if let routing { table.add(["routes", routing.place]) }
        if let first = routing?.certificates.first, let expires = first.expires {
            table.add(["next certificate to expire", "\(first.name), at \(expires)"])
        }
        if etcd.lost == nil, let last = etcd.lastError {
            table.add(["last error of etcd", "\(last.time): \(last.error)"])
        }
        if haproxy.failure == nil, let last = haproxy.lastError {
            table.add(["last error of HAProxy", "\(last.time): \(last.error)"])
        }
        return table.lines
    }

    /// What somebody should look at.
    private var wrong: [String] {
        var lines: [String] = []
        if let lost = etcd.lost { lines.append("etcd unreachable since \(lost.time): \(lost.error)") }
        if let failure = haproxy.failure { lines.append("HAProxy: since \(failure.time): \(failure.error)") }
        var groups = RemarkGroups()
        for problem in problems { groups.add(problem.of, problem.problem, cause: problem.problem) }
        lines += groups.lines(most: Self.mostProblems, "problems")
        var idle = RemarkGroups()
        for service in services {
            for endpoint in service.endpoints where endpoint.isTrouble || endpoint.held != nil {
                idle.add("\(service.name)/\(endpoint.id)", endpoint.remark, cause: endpoint.cause)
            }
        }
        lines += idle.lines(most: Self.mostIdle, "endpoints")
        return lines.map { OneLine.text($0) }
    }

    private var table: [String] {
        var table = TextTable([
            "SERVICE", "LISTENER", "MODE", "BALANCE", "ID", "ENDPOINT", "STATE", "HAPROXY", "LAST CHECK", "HOST",
            "CONTAINER",
        ])
        for service in services {
            let head = [service.name, service.place, service.mode, service.balance]
            for (index, endpoint) in service.endpoints.enumerated() {
                table.add((index == 0 ? head : ["", "", "", ""]) + endpoint.cells)
            }
        }
        return table.lines
    }

    private static func table(of outputs: [OutputStatus]) -> [String] {
        var table = TextTable(["OUTPUT", "STATE", "WRITTEN", "RELOADED"])
        for output in outputs {
            table.add([output.file, output.words, output.written ?? "-", output.reloaded ?? "-"])
        }
        return table.lines
    }

    private var withdrawals: [String] {
        var table = TextTable(["WITHDRAWN", "CONTAINER", "AT", "REASON"])
        for gone in withdrawn {
            table.add(["\(gone.service)/\(gone.id)", gone.container ?? "-", gone.at ?? "-", gone.reason])
        }
        return table.lines
    }
}

extension StatusReport.Store {
    /// Where it is, and whether it answers.
    var words: String {
        var words = members.joined(separator: ", ")
        if let lost { words += "; lost since \(lost.time)" }
        if copy == true { words += "; this is the copy on this host's disk" }
        if let age { words += "; last answer \(DurationText.text(.milliseconds(Int64(age * 1000)))) ago" }
        return words
    }

    /// How far HAProxy is behind what was read.
    var progress: String {
        guard let revision else { return "none was read" }
        guard let applied else { return "\(revision) read" + (behindSince == nil ? "" : ", not applied yet") }
        guard let behindSince else { return "\(revision) read, \(applied) applied" }
        return "\(revision) read, \(applied) applied; the newer one waits since \(behindSince)"
    }
}

extension StatusReport.Proxy {
    /// What runs, in a few words.
    var words: String {
        guard none != true else { return "none; only outputs are written" }
        guard running else { return "does not answer: \(silence ?? "it does not run")" }
        let master = master.map { "process \($0), " } ?? ""
        let old = oldWorkers.map { $0 == 0 ? "" : ", and \($0) workers of earlier configurations" } ?? ""
        return "\(version ?? "?"), \(master)worker \(worker.map(String.init) ?? "?")\(old)"
    }
}

extension RoutingReport {
    /// Where they are served.
    fileprivate var place: String {
        let places = [http.map { "HTTP at \($0)" }, https.map { "HTTPS at \($0)" }].compactMap(\.self)
        return places.isEmpty ? "not served" : places.joined(separator: ", ")
    }

    fileprivate var lines: [String] {
        guard !routes.isEmpty else { return ["There are no routes."] }
        var table = TextTable(["ROUTE", "HOST", "PATH", "TO", "STATE"])
        for route in routes {
            let path = route.match == "exact" ? "\(route.path) (exact)" : route.path
            table.add([
                route.label == true ? "(label of \(route.name))" : route.name, route.hosts.joined(separator: ", "),
                path,
                route.targetText, ([route.state.rawValue] + route.reasons).joined(separator: "; "),
            ])
        }
        return table.lines
    }
}

extension RouteReport {
    /// Where it leads, in a few words.
    var targetText: String {
        let all = to.sorted { $0.key < $1.key }
            .map { to.count == 1 ? $0.key : "\($0.key):\($0.value)" }.joined(separator: ",")
        return ([all.isEmpty ? "-" : all] + when).joined(separator: "; ")
    }
}

extension OutputStatus {
    /// How it is, in a word.
    var words: String { failure != nil ? "failing" : current ? "current" : "pending" }
}

extension ServiceReport {
    /// Where it listens, or that it does not.
    var place: String {
        switch state {
        case .served, .unknown: listener ?? "-"
        case .pending: "(\(listener ?? "-"))"
        case .leftOut, .outputsOnly: "-"
        }
    }
}

extension EndpointReport {
    /// Whether somebody may want to know why it gets no connections.
    var isTrouble: Bool {
        switch state {
        case .serving, .spare, .leaving, .unknown, .leftOut: false
        case .down, .drained, .maintenance, .pending: true
        }
    }

    /// Why it gets no connections, and that it is held.
    var remark: String {
        (reasons + [heldWords].compactMap(\.self)).joined(separator: "; ")
    }

    /// The same without what differs among endpoints with one cause: times, and what a check took.
    fileprivate var cause: String {
        let lost = held.map { "lost: \($0.because)" } ?? ""
        switch state {
        case .down:
            let check = haproxy?.lastCheck ?? ""
            let words = check.firstRange(of: ": ").map { check[$0.upperBound...] } ?? ""
            return "down: \(check.prefix { $0 != " " && $0 != ":" }) \(words) \(lost)"
        case .maintenance: return "maintenance \(lost)"
        case .drained where haproxy?.status.hasPrefix("DRAIN") == true && weight != 0: return "drained \(lost)"
        default: return reasons.joined(separator: "; ") + lost
        }
    }

    /// That its entry was lost.
    var heldWords: String? {
        held.map { "its entry was lost at \($0.since) (\($0.because)), and it is held until \($0.until)" }
    }

    fileprivate var cells: [String] {
        let state = held == nil ? state.words : "\(state.words), held"
        let connections = haproxy.map { $0.connections == 0 ? "" : ", \($0.connections) conn." } ?? ""
        return [
            id, endpoint, state, haproxy.map { $0.status + connections } ?? "-", haproxy?.lastCheck ?? "-",
            host ?? "-", container ?? "-",
        ]
    }
}

extension EndpointStatus.State {
    /// For people.
    var words: String { self == .leftOut ? "left out" : rawValue }
}

/// Lines about many things: what has one cause is one line with a count.
private struct RemarkGroups {
    private struct Group {
        let remark: String
        var names: [String]
        var count: Int
    }

    private var groups: [Group] = []
    private var places: [String: Int] = [:]

    /// The most names of one line.
    private static let mostNames = 3

    /// Adds a thing with what is said of it.
    mutating func add(_ name: String, _ remark: String, cause: String) {
        guard let place = places[cause] else {
            places[cause] = groups.count
            groups.append(Group(remark: remark, names: [name], count: 1))
            return
        }
        groups[place].count += 1
        if groups[place].count <= Self.mostNames { groups[place].names.append(name) }
    }

    /// The lines, in the order in which their causes came.
    ///
    /// - Parameter kind: what they are about, such as `endpoints`.
    func lines(most: Int, _ kind: String) -> [String] {
        var lines = groups.prefix(most).map { group in
            let more = group.count - group.names.count
            let names = group.names.joined(separator: ", ") + (more > 0 ? " and \(more) more" : "")
            return "\(names): \(group.remark)"
        }
        let left = groups.dropFirst(most).reduce(0) { $0 + $1.count }
        if left > 0 { lines.append("and \(left) \(kind) more") }
        return lines
    }
}
