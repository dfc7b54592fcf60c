import FoundationEssentials
import Shared

/// A built-in format of outputs: one that leaves nothing to taste.
///
/// docs/outputs.md has the grammar of each.
enum OutputFormat: Equatable, Sendable {
    /// The catalog itself, or one service of it.
    case json
    /// A DNS master file (RFC 1035, section 5): addresses and SRV records.
    case zone(ZoneFormat)
    /// hosts(5): a line for each service and address.
    case hosts(domain: DomainName?)
    /// Variables for a shell, systemd or Docker.
    case env
    /// Targets for Prometheus, as file_sd reads them.
    case prometheus

    /// The names of the formats.
    enum Name: String, CaseIterable {
        case json, zone, hosts, env, prometheus

        /// What it may be, for messages.
        static let grammar = "one of " + allCases.map(\.rawValue).joined(separator: ", ")
    }

    /// Takes a name, and what the format can be told.
    init(_ name: Name, domain: DomainName? = nil, ttl: Int? = nil) {
        switch name {
        case .json: self = .json
        case .zone: self = .zone(ZoneFormat(domain: domain ?? .standard, ttl: ttl ?? 5))
        case .hosts: self = .hosts(domain: domain)
        case .env: self = .env
        case .prometheus: self = .prometheus
        }
    }

    /// Whether names in it end with a domain.
    var hasDomain: Bool {
        switch self {
        case .zone, .hosts: true
        case .json, .env, .prometheus: false
        }
    }

    /// Whether it says how long an answer may be kept.
    var hasTTL: Bool { if case .zone = self { true } else { false } }

    /// The text of a file, and what was left out of it, and why.
    struct Text: Equatable {
        /// The text.
        var bytes: [UInt8] = []
        /// A sentence for each thing that was left out.
        var problems: [String] = []
    }

    /// Renders a catalog.
    ///
    /// - Parameter before: what the file says now; nil where there is none.
    func text(of catalog: OutputCatalog, after before: [UInt8]?) throws -> Text {
        switch self {
        case .json: Text(bytes: try catalog.json())
        case .zone(let zone): zone.text(of: catalog, after: before)
        case .hosts(let domain): Self.hosts(catalog, domain)
        case .env: Self.variables(catalog)
        case .prometheus: Text(bytes: try Self.targets(catalog))
        }
    }

    /// `10.0.0.11 web web.example.com`, each name once an address; endpoints of weight 0 are left out.
    private static func hosts(_ catalog: OutputCatalog, _ domain: DomainName?) -> Text {
        var names = HostNames()
        var text = Text()
        for service in catalog.services {
            guard let name = names.name(of: service.name.text) else { continue }
            for address in service.addresses {
                text.bytes += Array("\(address) \(name)\(domain.map { " \(name).\($0)" } ?? "")\n".utf8)
            }
        }
        text.problems = names.problems
        return text
    }

    /// `WEB_PORT=8000` for programs on this host, and `WEB_ENDPOINTS=10.0.0.11:49153,10.0.0.12:49153`.
    private static func variables(_ catalog: OutputCatalog) -> Text {
        var text = Text()
        var owners: [String: ServiceName] = [:]
        for service in catalog.services {
            let letters = service.name.text.uppercased().utf8.map {
                NameGrammar.isLetterOrDigit($0) ? $0 : UInt8(ascii: "_")
            }
            let word = String(decoding: letters, as: UTF8.self)
            // A variable does not begin with a digit.
            let name =
                word.utf8.first.map { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } == true ? "_\(word)" : word
            if let owner = owners[name] {
                text.problems.append("\(service.name) is left out: \(name)_PORT is already the variable of \(owner)")
                continue
            }
            owners[name] = service.name
            let endpoints = service.endpoints.filter { $0.weight > 0 }.map(\.hostAndPort).joined(separator: ",")
            if let port = service.port { text.bytes += Array("\(name)_PORT=\(port)\n".utf8) }
            text.bytes += Array("\(name)_ENDPOINTS=\(endpoints)\n".utf8)
        }
        return text
    }

    /// A target group for each endpoint (https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config);
    /// also for one of weight 0, which goes on working; none over UDP, as Prometheus speaks HTTP.
    private static func targets(_ catalog: OutputCatalog) throws -> [UInt8] {
        struct Group: Encodable {
            var targets: [String]
            var labels: [String: String]
        }
        let encoder = JSONEncoder.oneLine
        var lines: [[UInt8]] = []
        for service in catalog.services where service.mode != OutputService.udp {
            for endpoint in service.endpoints {
                let said: [(String, String?)] = [
                    ("service", service.name.text), ("id", endpoint.id), ("container", endpoint.container),
                    ("image", endpoint.image), ("host", endpoint.host), ("zone", endpoint.zone),
                    ("tags", endpoint.tags.isEmpty ? nil : ",\(endpoint.tags.joined(separator: ",")),"),
                ]
                let labels = said.reduce(into: [:]) { labels, label in labels["__meta_sidekick_\(label.0)"] = label.1 }
                lines.append([UInt8](try encoder.encode(Group(targets: [endpoint.hostAndPort], labels: labels))))
            }
        }
        return Array("[\n".utf8) + Array(lines.joined(separator: Array(",\n".utf8))) + Array("\n]\n".utf8)
    }
}

extension OutputService {
    /// The endpoints that DNS leads to: those that take new connections, backups where there is nothing else.
    var answering: [Endpoint] {
        let taking = endpoints.filter { $0.weight > 0 }
        let first = taking.filter { !$0.backup }
        return first.isEmpty ? taking : first
    }

    /// The addresses of those, each once.
    var addresses: [String] { Set(answering.map(\.address)).sorted() }
}

/// A domain: labels of letters, digits and dashes with dots between them, lower case, without one at the end.
struct DomainName: Equatable, Sendable, CustomStringConvertible {
    /// The name.
    let description: String

    /// Where services are unless somebody says otherwise.
    static let standard = DomainName(known: "sidekick")

    /// What it may be, for messages.
    static let grammar = "a domain such as sidekick or services.example.com"

    /// Reads a name; nil for anything else.
    init?(_ text: String) {
        let name = text.hasSuffix(".") ? String(text.dropLast()) : text
        let labels = name.lowercased().split(separator: ".", omittingEmptySubsequences: false)
        guard name.utf8.count <= 200, labels.allSatisfy({ HostNames.isLabel($0) }) else { return nil }
        description = name.lowercased()
    }

    private init(known: String) { description = known }
}

/// Names of services as host names; of two that fall together the first one has it.
struct HostNames {
    private var owners: [String: String] = [:]
    /// What was left out, and why.
    private(set) var problems: [String] = []

    /// Makes an empty one.
    init() {}

    /// The host name of a service; nil where it cannot have one, which is then recorded.
    mutating func name(of service: String) -> String? {
        let name = service.lowercased()
        guard Self.isLabel(name[...]) else {
            problems.append("\(service) is left out: a host name has letters, digits, and dashes, at most 63")
            return nil
        }
        if let owner = owners[name] {
            problems.append("\(service) is left out: its host name is that of \(owner)")
            return nil
        }
        owners[name] = service
        return name
    }

    /// Whether a lower-case text is one label of a host name (RFC 1123, section 2.1).
    static func isLabel(_ text: Substring) -> Bool {
        (1...63).contains(text.utf8.count) && text.first != "-" && text.last != "-"
            && text.utf8.allSatisfy { NameGrammar.isLetterOrDigit($0) || $0 == UInt8(ascii: "-") }
    }
}

/// A DNS master file of services: who asks for `web.sidekick` gets its addresses, who asks for SRV its ports, too.
struct ZoneFormat: Equatable, Sendable {
    /// The zone.
    var domain: DomainName
    /// How long an answer may be kept, also that there is none; in seconds.
    var ttl: Int

    /// Renders a catalog.
    ///
    /// Servers take a file for new only where its serial number is greater, and endpoints go by checks, too, which have no
    /// revision. So a changed file has the time in seconds, or one more than the file before it.
    func text(of catalog: OutputCatalog, after before: [UInt8]?) -> OutputFormat.Text {
        var names = HostNames()
        let records = catalog.services.compactMap { service in
            names.name(of: service.name.text).map { Self.records(of: service, $0) }
        }.flatMap(\.self)
        let old = before.flatMap(Self.serial)
        let same = file(serial: old ?? 0, records)
        if same == before { return OutputFormat.Text(bytes: same, problems: names.problems) }
        let now = UInt32(truncatingIfNeeded: Int64(Timestamp.now() / .seconds(1)))
        let serial = max(now, (old ?? 0) &+ 1)
        return OutputFormat.Text(bytes: file(serial: serial, records), problems: names.problems)
    }

    private func file(serial: UInt32, _ records: [String]) -> [UInt8] {
        let head = """
            $ORIGIN \(domain).
            $TTL \(ttl)
            @ SOA localhost. hostmaster.localhost. \(serial) 60 10 86400 \(ttl)
            @ NS localhost.

            """
        return Array(head.utf8) + records.flatMap { Array($0.utf8) + [UInt8(ascii: "\n")] }
    }

    private static func serial(of file: [UInt8]) -> UInt32? {
        let head = String(decoding: file.prefix(1000), as: UTF8.self)
        let line = head.split(separator: "\n").first { $0.hasPrefix("@ SOA ") }
        let words = line?.split(separator: " ") ?? []
        return words.count > 4 ? UInt32(words[4]) : nil
    }

    /// The records of a service: `web`, `<tag>.web`, `<id>.web`, `_web._tcp` or `_web._udp`, `_web._<tag>`.
    private static func records(of service: OutputService, _ name: String) -> [String] {
        let endpoints = service.answering
        var lines: [String] = []
        var targets: [String: String] = [:]
        var taken: Set<String> = []
        for endpoint in endpoints {
            var label = label(of: endpoint.id)
            while !taken.insert(label).inserted { label = "\(label.prefix(60))-2" }
            targets[endpoint.id] = "\(label).\(name)"
            lines.append(address(endpoint.address, "\(label).\(name)"))
        }
        func add(_ endpoints: [OutputService.Endpoint], _ hostNames: [String], _ serviceNames: [String]) {
            let addresses = Set(endpoints.map(\.address)).sorted()
            for host in hostNames { lines += addresses.map { address($0, host) } }
            for owner in hostNames + serviceNames {
                lines += endpoints.map { endpoint in
                    let target = targets[endpoint.id] ?? name
                    return "\(owner) SRV 0 \(endpoint.weight) \(endpoint.port) \(target)"
                }
            }
        }
        add(endpoints, [name], ["_\(name)._\(service.mode == OutputService.udp ? "udp" : "tcp")"])
        for tag in service.tags {
            let label = tag.lowercased()
            // An endpoint's own name comes first.
            guard HostNames.isLabel(label[...]), !targets.values.contains("\(label).\(name)") else { continue }
            let tagged = endpoints.filter { $0.tags.contains(tag) }
            guard !tagged.isEmpty else { continue }
            add(tagged, ["\(label).\(name)"], label == "tcp" || label == "udp" ? [] : ["_\(name)._\(label)"])
        }
        return Set(lines).sorted()
    }

    private static func address(_ address: String, _ name: String) -> String {
        "\(name) \(address.contains(":") ? "AAAA" : "A") \(address)"
    }

    /// An id as a label: what is no letter, digit or dash becomes a dash.
    private static func label(of id: String) -> String {
        let dashes = id.lowercased().utf8.map { NameGrammar.isLetterOrDigit($0) ? $0 : UInt8(ascii: "-") }
        var label = String(decoding: dashes.prefix(63), as: UTF8.self)
        while label.last == "-" { label.removeLast() }
        return label
    }
}
