import Shared

extension StatusReport {
    /// What `status` prints for people.
    var text: String {
        var lines = head
        lines.append("")
        if containers.isEmpty {
            lines.append("This host has no containers.")
        } else {
            var table = TextTable(["CONTAINER", "ID", "IMAGE", "STATE", "SERVICE", "ENDPOINT", "REGISTRY"])
            for container in containers { container.addRows(to: &table, self) }
            lines += table.lines
        }
        if !services.isEmpty {
            var table = TextTable(["SERVICES FILE", "ENDPOINT", "REGISTRY"])
            for entry in services { table.add([entry.service, entry.endpoint, entry.fate(self)]) }
            lines += [""] + table.lines
        }
        for key in leftovers { lines.append("\(key) is still in etcd, and its container is gone.") }
        return lines.joined(separator: "\n") + "\n"
    }

    private var head: [String] {
        var table = TextTable(
            ["docker-register", "\(agent.version) on \(agent.host)" + (agent.running ? "" : ", not running")])
        if let process = agent.process, let started = agent.started {
            table.add(["process", "\(process), since \(started)"])
        }
        if let leader = agent.standsByFor { table.add(["stands by", "its entries are kept by \(leader)"]) }
        table.add(["HOST_IP", agent.address])
        for warning in agent.warnings { table.add(["warning", warning]) }
        table.add(["owner", agent.owner])
        table.add(["engine", engine.map { "\($0.address), API \($0.api)" + Self.lost($0.lost) } ?? "none"])
        table.add(["etcd", etcd.members.joined(separator: ", ") + Self.lost(etcd.lost)])
        table.add(["prefix", etcd.prefix])
        if agent.running {
            table.add(["lease", etcd.lease.map { "\($0.id), TTL \($0.ttl) s" } ?? "none"])
        }
        if etcd.lost == nil, let last = etcd.lastError { table.add(["last error", "\(last.time): \(last.error)"]) }
        return table.lines
    }

    private static func lost(_ trouble: ErrorRecord?) -> String {
        trouble.map { "; lost since \($0.time): \($0.error)" } ?? ""
    }
}

extension ContainerReport {
    /// A row for each entry, reason and warning; the container is named in the first one.
    fileprivate func addRows(to table: inout TextTable, _ report: StatusReport) {
        var rows: [[String]] = entries.map { [$0.service, $0.endpoint, $0.fate(report)] }
        rows += reasons.map { ["-", "-", $0] }
        rows += warnings.map { ["-", "-", "warning: \($0)"] }
        if rows.count > Self.mostRows {
            let rest = rows.count - Self.mostRows
            rows = rows.prefix(Self.mostRows) + [["-", "-", "and \(rest) more, which docker-register why \(id) shows"]]
        }
        var isFirst = true
        for row in rows.isEmpty ? [["-", "-", ""]] : rows {
            table.add((isFirst ? [name.isEmpty ? "-" : name, id, shortImage, state] : ["", "", "", ""]) + row)
            isFirst = false
        }
    }

    /// One container may have thousands of ports and labels.
    private static let mostRows = 32

    /// An image may be an id of 64 digits.
    private var shortImage: String { image.count > 40 ? image.prefix(39) + "…" : image }

    /// What `why` prints for people.
    func text(_ report: StatusReport) -> String {
        let health = health.map { ", \($0)" } ?? ""
        var lines = ["\(name) (\(id)), image \(image), \(state.isEmpty ? "state unknown" : state)\(health)"]
        lines += section("Labels", labels.map(\.lines), otherwise: "none of ours")
        lines += section("Ports", ports.map(\.lines), otherwise: "none that are published")
        lines += section("Registry", entries.map { $0.lines(report) }, otherwise: "nothing")
        lines += section("Why not", reasons.map { [$0] })
        lines += section("Warnings", warnings.map { [$0] })
        return lines.map { OneLine.text($0) }.joined(separator: "\n") + "\n"
    }

    private func section(_ name: String, _ parts: [[String]], otherwise: String? = nil) -> [String] {
        let lines = parts.flatMap(\.self)
        guard !lines.isEmpty else { return otherwise.map { ["", "\(name): \($0)"] } ?? [] }
        return ["", "\(name):"] + lines.map { "  \($0)" }
    }
}

extension ServicesFileReport {
    /// What `why` prints for people.
    func text(_ report: StatusReport) -> String {
        let lines = services.flatMap { ["\($0.service) of the services file"] + $0.lines(report).map { "  \($0)" } }
        return lines.map { OneLine.text($0) }.joined(separator: "\n") + "\n"
    }
}

extension ContainerReport.Label {
    fileprivate var lines: [String] {
        let counts = counts.flatMap { $0 == value ? nil : "counts as \($0)" }
        let what = [problem, counts, decides].compactMap(\.self).joined(separator: "; ")
        return ["\(name)=\(value)", "    \(source); \(what)"]
    }
}

extension ContainerReport.Port {
    fileprivate var lines: [String] {
        let place = published.isEmpty ? "not published" : "published at \(published.joined(separator: ", "))"
        let fates = services.isEmpty ? [] : ["service \(services.joined(separator: ", "))"]
        return ["\(port), \(place)"] + (fates + reasons).map { "    \($0)" }
    }
}

extension ContainerReport.Entry {
    /// Whether it is in the registry, in a few words.
    fileprivate func fate(_ report: StatusReport) -> String {
        let revision = revision.map { " (revision \($0))" } ?? ""
        switch state {
        case .registered: return "in etcd" + (since.map { " since \($0)" } ?? "") + revision
        case .differs: return "etcd has something else: \(foundEndpoint ?? "another meta")" + revision
        case .missing where reason != nil: return "not registered: \(reason ?? "")"
        case .missing where report.etcd.lost != nil: return "not in etcd: etcd unreachable"
        case .missing: return report.agent.running ? "not in etcd yet" : "not in etcd"
        case .unknown: return "unknown: " + (report.etcd.lost == nil ? "etcd has not answered yet" : "etcd unreachable")
        case .yielded: return "left to another docker-register of this engine"
        }
    }

    fileprivate func lines(_ report: StatusReport) -> [String] {
        var lines = ["service \(service), port \(port.map(String.init) ?? "-"): \(fate(report))"]
        lines.append("    \(key) = \(foundEndpoint ?? endpoint)")
        if foundEndpoint != nil { lines.append("        should be \(endpoint)") }
        lines.append("    \(key)/meta = \(foundMeta ?? meta)")
        if foundMeta != nil { lines.append("        should be \(meta)") }
        return lines
    }
}
