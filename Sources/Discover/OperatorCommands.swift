import FoundationEssentials
import Shared

/// `route` and `config`: what an operator says of requests, services and endpoints, checked before it is written.
///
/// They ask etcd, and no agent. A key is written only as it was read, so two operators do not write over each other.
struct OperatorCommands: Sendable {
    /// Shows or changes a route.
    static let route = Command(
        "route", operands: ["[NAME]", "[FIELD=VALUE...]"], flags: [unset, delete, wait, timeout],
        help: """
            Lists all routes, shows one, or sets fields of one, such as host=shop.example.com to=web, \
            to=web-v1:90,web-v2:10, path=/api, match=exact, sticky=cookie, strip=true, add=/base, https=redirect, \
            closed='Back at 14:00', when='header:x-canary=always -> web-v2', force=true. Exit status 2: not \
            everybody has confirmed in time.
            """)
    /// Shows or changes what is said of a service or an endpoint.
    static let config = Command(
        "config", operands: ["SERVICE[/ID]", "[FIELD=VALUE...]"], flags: [unset, delete, wait, timeout],
        help: """
            Shows or sets options of a service, or of one of its endpoints, such as check=http:/health or weight=5; \
            they override labels. Exit status 2: not everybody has confirmed in time.
            """)

    private static let unset = Setting(
        flag: "--unset", placeholder: "FIELDS", help: "remove these fields, separated by commas")
    private static let delete = Setting(flag: "--delete", help: "delete the key")
    private static let wait = Setting(flag: "--wait", help: "wait until every docker-discover has applied the change")
    private static let timeout = Setting(
        flag: "--timeout", placeholder: "TIME", fallback: "30s", help: "how long to wait, at most 1h")

    /// The exit status where not everybody has confirmed in time.
    static let unconfirmed: Int32 = 2

    /// For one answer of etcd.
    private static let deadline = Duration.seconds(8)
    /// Between two looks at what client hosts say.
    private static let pause = Duration.milliseconds(25)

    /// Why a command was not carried out.
    enum Failure: Error, Equatable {
        /// libcurl does not work.
        case noHTTP
        /// Somebody else changed the key meanwhile.
        case changedMeanwhile(key: String)
        /// The key has a value that is no object.
        case notAnObject(key: String)
        /// What it comes to would be wrong.
        case wrong([String])
    }

    private let subject: Subject?
    private let fields: [(name: String, value: String)]
    private let unset: [String]
    private let deletes: Bool
    private let patience: Duration?
    private let client: Etcd.Client
    private let keyspace: Keyspace

    /// What a command is about.
    fileprivate enum Subject: Equatable {
        case route(RouteName)
        case service(ServiceName)
        case endpoint(ServiceName, InstanceID)
    }

    /// Reads what a command was told; throws every mistake at once, and nil where it has recorded one.
    init?(_ call: Command.Call, _ reading: inout ParsedSettings) throws {
        let etcd = EtcdSettings.configuration(from: &reading)
        let keyspace = EtcdSettings.keyspace(from: &reading)
        var mistakes: [String] = []
        subject = Self.subject(call, &mistakes)
        fields = call.operands.dropFirst().compactMap { Self.field($0, &mistakes) }
        unset = (reading.text(Self.unset) ?? "").split(separator: ",").map(String.init)
        deletes = reading.isOn(Self.delete)
        let waits = reading.isOn(Self.wait)
        let timeout = reading.duration(Self.timeout, in: .milliseconds(100)...(.seconds(3600)))
        patience = waits ? timeout : nil
        if deletes, !fields.isEmpty || !unset.isEmpty {
            reading.problem(Self.delete, "does not go together with fields")
        }
        if subject == nil, !unset.isEmpty || deletes || waits {
            mistakes.append("a name is needed: \(call.command.usage)")
        }
        try reading.finish()
        guard mistakes.isEmpty else { throw UsageError(problems: mistakes) }
        guard let etcd, let keyspace else { return nil }
        guard let http = HTTPClient() else { throw Failure.noHTTP }
        client = Etcd.Client(http, etcd)
        self.keyspace = keyspace
    }

    private static func subject(_ call: Command.Call, _ mistakes: inout [String]) -> Subject? {
        guard let text = call.operands.first else { return nil }
        if call.command == route {
            if let name = RouteName(text) { return .route(name) }
            mistakes.append("\"\(text)\" is no name of a route: \(ServiceName.grammar)")
            return nil
        }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        if let service = ServiceName(parts[0]) {
            if parts.count == 1 { return .service(service) }
            if parts.count == 2, let id = InstanceID(parts[1]) { return .endpoint(service, id) }
        }
        mistakes.append("\"\(text)\" is neither SERVICE nor SERVICE/ID: each is \(ServiceName.grammar)")
        return nil
    }

    private static func field(_ text: String, _ mistakes: inout [String]) -> (name: String, value: String)? {
        guard let equals = text.firstIndex(of: "="), equals > text.startIndex else {
            mistakes.append("\"\(text)\" is not FIELD=VALUE")
            return nil
        }
        return (String(text[..<equals]), String(text[equals...].dropFirst()))
    }

    /// Carries it out, and gives the exit status.
    func run() async throws -> Int32 {
        guard let subject else { return try await list() }
        let key = keyspace.text(of: subject.key)
        let known = try await client.commit(Etcd.Transaction([.read(key: key)]), deadline: Self.deadline).reads.first
        let old = known.flatMap(\.self)
        guard !fields.isEmpty || !unset.isEmpty || deletes else { return try show(old, key) }
        let condition: Etcd.Transaction.Condition =
            old.map { .unchanged(key: key, modRevision: $0.modRevision) } ?? .missing(key: key)
        let next = deletes ? nil : try changed(old, subject, key)
        if next == nil, old == nil {
            StandardError.write("there is no \(key)")
            return ExitStatus.failure
        }
        let operation: Etcd.Transaction.Operation =
            next.map { .put(key: key, value: Array(LocatedJSON.Value.object($0).json.utf8), lease: 0) }
            ?? .delete(key: key)
        let result = try await client.commit(Etcd.Transaction(if: [condition], [operation]), deadline: Self.deadline)
        guard result.succeeded else { throw Failure.changedMeanwhile(key: key) }
        let words = next.map { Self.shown($0, subject) } ?? ["deleted"]
        print(([key] + words).joined(separator: " "))
        if case .route = subject, let next { try await warnOfMissing(Route(next)) }
        return try await confirmed(result.revision, isAsked: next != nil)
    }

    // MARK: Showing

    private func list() async throws -> Int32 {
        let listing = try await client.range(prefix: keyspace.routes, deadline: Self.deadline)
        var table = TextTable(["ROUTE", "FIELDS"])
        for keyValue in listing.keyValues {
            guard case .route(let name)? = try? keyspace.parse(keyValue.key),
                let members = Self.members(keyValue.value)
            else { continue }
            table.add([name.text, Self.shown(members, .route(name)).joined(separator: " ")])
        }
        print(listing.keyValues.isEmpty ? "there are no routes" : table.lines.joined(separator: "\n"))
        return ExitStatus.success
    }

    private func show(_ old: Etcd.KeyValue?, _ key: String) throws -> Int32 {
        guard let old, let subject else {
            StandardError.write("there is no \(key)")
            return ExitStatus.failure
        }
        guard let members = Self.members(old.value) else { throw Failure.notAnObject(key: key) }
        print(key)
        for line in Self.shown(members, subject) { print("  \(OneLine.text(line))") }
        for problem in subject.problems(members) { StandardError.write("wrong: \(problem)") }
        return ExitStatus.success
    }

    private static func members(_ value: [UInt8]) -> [LocatedJSON.Member]? {
        guard let json = try? LocatedJSONParser.parse(value), case .object(let members) = json.value else { return nil }
        return members
    }

    /// The fields as this command takes them.
    private static func shown(_ members: [LocatedJSON.Member], _ subject: Subject) -> [String] {
        members.filter { $0.name != "confirm" }.sorted { $0.name < $1.name }.map { member in
            let text: String
            switch (subject, member.name) {
            case (.route, "to"), (.route, "when"), (.route, "host"):
                text = RouteFieldText.text(member.name, member.value.value)
            default: text = member.value.scalar ?? member.value.value.json
            }
            let isPlain = text.utf8.allSatisfy { NameGrammar.isLetterOrDigit($0) || "-._~:/,*=%+@".utf8.contains($0) }
            return "\(member.name)=" + (isPlain ? text : "'\(text.replacing("'", with: #"'\''"#))'")
        }
    }

    // MARK: Changing

    /// The object with the fields that were given; nil where nothing is left of it.
    private func changed(
        _ old: Etcd.KeyValue?, _ subject: Subject, _ key: String
    ) throws -> [LocatedJSON.Member]? {
        var members: [LocatedJSON.Member] = []
        if let old {
            guard let known = Self.members(old.value) else { throw Failure.notAnObject(key: key) }
            members = known.filter { $0.name != "confirm" && !unset.contains($0.name) }
        }
        let place = LocatedJSON.Location(line: 1, column: 1)
        func set(_ name: String, _ value: LocatedJSON.Value) {
            members.removeAll { $0.name == name }
            members.append(
                LocatedJSON.Member(place: place, name: name, value: LocatedJSON(place: place, value: value)))
        }
        var mistakes = unset.filter { !subject.fields.contains($0) }
            .filter { name in old.flatMap { Self.members($0.value) }?.contains { $0.name == name } != true }
            .map { "\($0): there is no such field" + Suggestion.text(for: $0, among: subject.fields) }
        for field in fields {
            guard subject.fields.contains(field.name) else {
                mistakes.append(
                    "\(field.name): there is no such field" + Suggestion.text(for: field.name, among: subject.fields))
                continue
            }
            set(field.name, subject.value(field.name, field.value))
        }
        if case .route = subject {} else if members.isEmpty { return nil }
        mistakes += subject.problems(members)
        guard mistakes.isEmpty else { throw Failure.wrong(mistakes) }
        if patience != nil { set("confirm", .boolean(true)) }
        return members
    }

    private func warnOfMissing(_ route: Route) async throws {
        for service in route.services.sorted() {
            let prefix = "\(keyspace.prefix)\(service)/"
            if try await client.count(prefix: prefix, deadline: Self.deadline) == 0 {
                StandardError.write("service \(service) has no endpoint yet")
            }
        }
    }

    /// Waits until every client host has applied a revision, where somebody wants that.
    private func confirmed(_ revision: Int64, isAsked: Bool) async throws -> Int32 {
        guard let patience else { return ExitStatus.success }
        guard isAsked else {
            StandardError.write("nobody confirms that a key is gone; not waiting")
            return ExitStatus.success
        }
        let end = ContinuousClock.now + patience
        let cluster = try await client.position(readingAt: keyspace.prefix, deadline: Self.deadline).clusterID
        while true {
            let listing = try await client.range(prefix: keyspace.consumers, deadline: Self.deadline)
            let hosts = listing.keyValues.compactMap { ConsumerRecord(json: $0.value) }
            let missing = hosts.filter { $0.cluster != cluster || $0.revision < revision }
            if missing.isEmpty {
                print(hosts.isEmpty ? "no docker-discover runs" : "\(hosts.count) docker-discover confirmed it")
                return ExitStatus.success
            }
            guard ContinuousClock.now < end else {
                let names = missing.map(\.host).sorted().joined(separator: ", ")
                StandardError.write(
                    """
                    \(missing.count) of \(hosts.count) docker-discover have not confirmed it within \
                    \(DurationText.text(patience)): \(names)
                    """)
                return Self.unconfirmed
            }
            try await Task.sleep(for: Self.pause)
        }
    }
}

extension OperatorCommands.Subject {
    /// Its key.
    fileprivate var key: Keyspace.Key {
        switch self {
        case .route(let name): .route(name)
        case .service(let service): .config(service)
        case .endpoint(let service, let id): .endpointConfig(service, id)
        }
    }

    /// The fields that can be set.
    fileprivate var fields: [String] {
        switch self {
        case .route: Route.fields.filter { $0 != "confirm" }
        case .service: ServiceOptions.fields.map(\.name)
        case .endpoint: ServiceOptions.fields.filter { $0.scope != .service }.map(\.name)
        }
    }

    /// What is wrong with an object.
    fileprivate func problems(_ members: [LocatedJSON.Member]) -> [String] {
        switch self {
        case .route: return Route(members).problems
        case .service, .endpoint:
            let json = Array(LocatedJSON.Value.object(members).json.utf8)
            let config = ServiceConfig(json: json)
            let known = if case .endpoint = self { config?.ofEndpoint } else { config }
            return (known?.problems ?? []) + UnknownFields.ofConfig(json)
        }
    }

    /// A field's value as JSON.
    fileprivate func value(_ name: String, _ text: String) -> LocatedJSON.Value {
        guard case .route = self else {
            switch ServiceOptions.field(name)?.kind {
            case .number where Int(text) != nil: return .number(text)
            case .boolean: return BooleanText.of(text).map { .boolean($0) } ?? .text(text)
            default: return .text(text)
            }
        }
        return RouteFieldText.value(name, text)
    }
}

/// Fields of routes as people write them on a command line.
enum RouteFieldText {
    /// The JSON of a text; what is no text of the field becomes something that is found wrong.
    static func value(_ name: String, _ text: String) -> LocatedJSON.Value {
        if text.hasPrefix("{") || text.hasPrefix("["), let json = try? LocatedJSONParser.parse(Array(text.utf8)) {
            return json.value
        }
        switch name {
        case "host":
            let hosts = text.split(separator: ",").map { LocatedJSON.Value.text(String($0)) }
            return hosts.count == 1 ? hosts[0] : .list(hosts.map(located))
        case "to" where text.contains(":"): return weights(text)
        case "when": return .list(text.split(separator: ";").map { located(condition($0)) })
        case "strip", "force": return BooleanText.of(text).map { .boolean($0) } ?? .text(text)
        default: return .text(text)
        }
    }

    /// The text of a value, which ``value(_:_:)`` reads again.
    static func text(_ name: String, _ value: LocatedJSON.Value) -> String {
        switch (name, value) {
        case (_, .text(let text)): return text
        case ("host", .list(let hosts)): return hosts.compactMap(\.scalar).joined(separator: ",")
        case ("to", .object(let weights)):
            return weights.sorted { $0.name < $1.name }.map { "\($0.name):\($0.value.scalar ?? "?")" }
                .joined(separator: ",")
        case ("when", .list):
            let member = LocatedJSON.Member(place: place, name: "when", value: located(value))
            let route = Route([member])
            guard !route.isUnusable else { return value.json }
            return route.when.map { "\($0.condition) -> \($0.to)" }.joined(separator: "; ")
        default: return value.json
        }
    }

    /// `web-v1:90,web-v2:10`.
    private static func weights(_ text: String) -> LocatedJSON.Value {
        .object(
            text.split(separator: ",").map { part in
                let words = part.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                let weight = words.count == 2 ? String(words[1]) : ""
                let isNumber = RouteTargets.thousandths(weight) != nil
                return member(String(words[0]), isNumber ? .number(weight) : .text(weight))
            })
    }

    /// `header:x-canary=always cookie:beta=* method:PUT,POST -> web-v2`.
    private static func condition(_ text: Substring) -> LocatedJSON.Value {
        guard let arrow = text.firstRange(of: "->") else { return .text(String(text)) }
        var headers: [LocatedJSON.Member] = []
        var cookies: [LocatedJSON.Member] = []
        var fields: [LocatedJSON.Member] = []
        for word in text[..<arrow.lowerBound].split(separator: " ") {
            let parts = word.split(separator: ":", maxSplits: 1).map(String.init)
            let pair = (parts.last ?? "").split(separator: "=", maxSplits: 1).map(String.init)
            switch parts.first {
            case "header" where pair.count == 2: headers.append(member(pair[0], .text(pair[1])))
            case "cookie" where pair.count == 2: cookies.append(member(pair[0], .text(pair[1])))
            case "method" where parts.count == 2:
                let methods = parts[1].split(separator: ",").map { located(.text(String($0))) }
                fields.append(member("method", .list(methods)))
            default: return .text(String(text))
            }
        }
        if !headers.isEmpty { fields.append(member("header", .object(headers))) }
        if !cookies.isEmpty { fields.append(member("cookie", .object(cookies))) }
        fields.append(member("to", .text(String(text[arrow.upperBound...].filter { $0 != " " }))))
        return .object(fields)
    }

    private static let place = LocatedJSON.Location(line: 1, column: 1)

    private static func located(_ value: LocatedJSON.Value) -> LocatedJSON { LocatedJSON(place: place, value: value) }

    private static func member(_ name: String, _ value: LocatedJSON.Value) -> LocatedJSON.Member {
        LocatedJSON.Member(place: place, name: name, value: located(value))
    }
}

extension OperatorCommands.Failure: CustomStringConvertible {
    /// What is wrong, for whoever asks.
    var description: String {
        switch self {
        case .noHTTP: "cannot initialize libcurl"
        case .changedMeanwhile(let key): "\(key) was changed by somebody else meanwhile; nothing was written"
        case .notAnObject(let key): "\(key) is not a JSON object; --delete removes it"
        case .wrong(let problems): "nothing was written: " + problems.joined(separator: "; ")
        }
    }
}
