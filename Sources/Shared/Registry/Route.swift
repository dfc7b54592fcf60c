/// What an operator says of requests to hosts and paths: the JSON object at `<prefix>-routes/<name>`.
///
/// A wrong field is named in ``problems``. One that decides who gets which requests makes the route unusable, so that
/// no request gets to a service that nobody named for it; any other one counts as absent.
package struct Route: Hashable, Sendable {
    /// How a path is compared.
    package enum Match: String, CaseIterable, Sendable {
        /// By whole segments from its beginning.
        case prefix
        /// As a whole.
        case exact
    }

    /// A condition and where it leads.
    package struct When: Hashable, Sendable {
        /// What has to hold.
        package let condition: RouteCondition
        /// The service that gets the request then.
        package let to: ServiceName
    }

    /// The hosts, in the order in which they were given.
    package private(set) var hosts: [HostPattern] = []
    /// The path.
    package private(set) var path = RoutePath.root
    /// How it is compared.
    package private(set) var match = Match.prefix
    /// Who gets the requests; nil where only conditions decide, or it is closed.
    package private(set) var to: RouteTargets?
    /// Whether a cookie keeps a client at its share.
    package private(set) var isSticky = false
    /// What is looked at before `to`, in this order.
    package private(set) var when: [When] = []
    /// Whether the path is taken off before the request goes on.
    package private(set) var strips = false
    /// What is put before the path.
    package private(set) var add: RoutePath?
    /// Whether clients without TLS are sent to HTTPS.
    package private(set) var redirectsToHTTPS = false
    /// What everybody is told instead.
    package private(set) var closed: String?
    /// Whether a change is made although the new target has no endpoint that is up.
    package private(set) var isForced = false
    /// Whether somebody waits until all consumers have confirmed it.
    package private(set) var asksConfirmation = false

    /// The fields that were wrong, with what they should be.
    package private(set) var problems: [String] = []
    /// Whether a field that decides who gets which requests is wrong.
    package private(set) var isUnusable = false

    /// A service's own place, as its labels ask for it.
    package init(_ place: RoutePlace, to service: ServiceName, strips: Bool, redirectsToHTTPS: Bool) {
        (hosts, path, to) = ([place.host], place.path, RouteTargets(service))
        self.strips = strips && place.path.depth <= Self.deepestStrip
        self.redirectsToHTTPS = redirectsToHTTPS
    }

    /// Parses a value; nil where it is not a JSON object.
    package init?(json: some Collection<UInt8>) {
        guard let json = try? LocatedJSONParser.parse(json), case .object(let members) = json.value else { return nil }
        self.init(members)
    }

    /// Reads the fields of an object.
    package init(_ members: [LocatedJSON.Member]) {
        var fields = RouteFields(members)
        hosts = fields.hosts()
        path = fields.decisive("path", RoutePath.grammar, RoutePath.init) ?? .root
        match = fields.decisive("match", "prefix or exact", { Match(rawValue: $0) }) ?? .prefix
        if match == .prefix { path = path.withoutEnd }
        to = fields.targets()
        when = fields.conditions()
        isSticky = fields.optional("sticky", "cookie", { $0 == "cookie" ? true : nil }) ?? false
        strips = fields.flag("strip")
        add = fields.optional("add", RoutePath.grammar, RoutePath.init)?.withoutEnd
        redirectsToHTTPS = fields.optional("https", "redirect", { $0 == "redirect" ? true : nil }) ?? false
        closed = fields.optional("closed", Self.closedGrammar, { Self.isClosedText($0) ? $0 : nil })
        isForced = fields.flag("force")
        asksConfirmation = fields.flag("confirm")
        fields.checkUnknown()
        (problems, isUnusable) = (fields.problems, fields.isUnusable)
        checkTogether()
    }

    /// What goes with what.
    private mutating func checkTogether() {
        if hosts.isEmpty, !problems.contains(where: { $0.hasPrefix("host") }) {
            problems.append("host: missing; it has to be \(HostPattern.grammar), or a list of these")
        }
        if to == nil, when.isEmpty, closed == nil, !isUnusable {
            problems.append("to: missing; it has to be \(RouteTargets.grammar)")
            isUnusable = true
        }
        if isSticky, to.map({ $0.only != nil }) ?? true {
            // A share that has become the whole is no mistake.
            if (to?.weights.count ?? 0) < 2 { problems.append("sticky: goes with weights in to only") }
            isSticky = false
        }
        if strips, path.depth > Self.deepestStrip {
            problems.append("strip: goes with paths of at most \(Self.deepestStrip) segments")
            strips = false
        }
        if add == .root { add = nil }
    }

    /// The deepest path that HAProxy's rules take off.
    package static let deepestStrip = 4
    /// The most conditions of one route.
    package static let mostConditions = 2
    private static let longestClosed = 500
    private static let closedGrammar = "a text of 1 to \(longestClosed) bytes without control characters"

    private static func isClosedText(_ text: String) -> Bool {
        (1...longestClosed).contains(text.utf8.count)
            && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }

    /// The fields, for messages and the command.
    package static let fields = [
        "host", "path", "match", "to", "sticky", "when", "strip", "add", "https", "closed", "force", "confirm",
    ]

    /// The services that it may lead to.
    package var services: Set<ServiceName> {
        Set((to?.active.map(\.service) ?? []) + when.map(\.to))
    }

    /// Where it is: a host, a path, and how that is compared.
    package var places: [(host: HostPattern, path: RoutePath, match: Match)] { hosts.map { ($0, path, match) } }
}

/// The fields of a route's object, read one by one.
private struct RouteFields {
    private var fields: [String: LocatedJSON] = [:]
    private(set) var problems: [String] = []
    private(set) var isUnusable = false

    init(_ members: [LocatedJSON.Member]) {
        for member in members where member.value.value != .null { fields[member.name] = member.value }
    }

    /// Names a field that is wrong and decides who gets which requests.
    private mutating func refuse(_ name: String, _ expected: String) {
        problems.append("\(name): not \(expected)")
        isUnusable = true
    }

    mutating func decisive<Value>(_ name: String, _ expected: String, _ parse: (String) -> Value?) -> Value? {
        guard let field = fields[name] else { return nil }
        if case .text(let text) = field.value, let value = parse(text) { return value }
        refuse(name, expected)
        return nil
    }

    mutating func optional<Value>(_ name: String, _ expected: String, _ parse: (String) -> Value?) -> Value? {
        guard let field = fields[name] else { return nil }
        if case .text(let text) = field.value, let value = parse(text) { return value }
        problems.append("\(name): not \(expected)")
        return nil
    }

    mutating func flag(_ name: String) -> Bool {
        guard let field = fields[name] else { return false }
        if let isOn = field.scalar.flatMap({ BooleanText.of($0) }) { return isOn }
        problems.append("\(name): not \(BooleanText.grammar)")
        return false
    }

    mutating func hosts() -> [HostPattern] {
        guard let field = fields["host"] else { return [] }
        let texts: [LocatedJSON] = if case .list(let list) = field.value { list } else { [field] }
        let hosts = texts.compactMap { element -> HostPattern? in
            if case .text(let text) = element.value { HostPattern(text) } else { nil }
        }
        guard hosts.count == texts.count, (1...64).contains(hosts.count) else {
            refuse("host", "\(HostPattern.grammar), or a list of up to 64 of these")
            return []
        }
        return hosts.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    mutating func targets() -> RouteTargets? {
        guard let field = fields["to"] else { return nil }
        switch field.value {
        case .text(let text):
            if let service = ServiceName(text) { return RouteTargets(service) }
        case .object(let members):
            let weights = members.compactMap { member -> RouteTargets.Weight? in
                guard let service = ServiceName(member.name), case .number(let text) = member.value.value,
                    let weight = RouteTargets.thousandths(text)
                else { return nil }
                return RouteTargets.Weight(service: service, thousandths: weight)
            }
            if weights.count == members.count, let targets = RouteTargets(weights) { return targets }
        case .null, .boolean, .number, .list: break
        }
        refuse("to", RouteTargets.grammar)
        return nil
    }

    mutating func conditions() -> [Route.When] {
        guard let field = fields["when"] else { return [] }
        guard case .list(let list) = field.value, list.count <= Route.mostConditions else {
            refuse("when", "a list of up to \(Route.mostConditions) objects")
            return []
        }
        return list.compactMap { element in
            guard case .object(let members) = element.value else {
                refuse("when", "a list of up to \(Route.mostConditions) objects")
                return nil
            }
            return condition(members)
        }
    }

    private mutating func condition(_ members: [LocatedJSON.Member]) -> Route.When? {
        var tests: [RouteCondition.Test] = []
        var service: ServiceName?
        for member in members {
            switch (member.name, member.value.value) {
            case ("to", .text(let text)) where ServiceName(text) != nil: service = ServiceName(text)
            case ("header", .object(let headers)):
                for header in headers {
                    guard let name = Self.headerName(header.name), let value = Self.value(header.value) else {
                        refuse("when.header", "an object of header names, each with \(RouteCondition.valueGrammar)")
                        return nil
                    }
                    tests.append(.header(name, value: value == "*" ? nil : value))
                }
            case ("cookie", .object(let cookies)):
                for cookie in cookies {
                    guard let name = CookieName(cookie.name), let value = Self.value(cookie.value) else {
                        refuse("when.cookie", "an object of cookie names, each with \(RouteCondition.valueGrammar)")
                        return nil
                    }
                    tests.append(.cookie(name, value: value == "*" ? nil : value))
                }
            case ("method", let value):
                guard let methods = Self.methods(value) else {
                    refuse("when.method", "one or a list of \(RouteCondition.methods.joined(separator: ", "))")
                    return nil
                }
                tests.append(.method(methods))
            default:
                let hint = Suggestion.text(for: member.name, among: ["to", "header", "cookie", "method"])
                refuse("when.\(member.name)", "one of header, cookie, method and to, or not as it has to be\(hint)")
                return nil
            }
        }
        guard let service else {
            refuse("when.to", "a service")
            return nil
        }
        guard let condition = RouteCondition(tests) else {
            refuse("when", "a list of objects with a header, a cookie or a method each")
            return nil
        }
        return Route.When(condition: condition, to: service)
    }

    private static func headerName(_ text: String) -> String? {
        guard (1...64).contains(text.utf8.count),
            text.utf8.allSatisfy({ NameGrammar.isLetterOrDigit($0) || "-_".utf8.contains($0) })
        else { return nil }
        return text.lowercased()
    }

    private static func value(_ json: LocatedJSON) -> String? {
        guard case .text(let text) = json.value, RouteCondition.isValue(text) else { return nil }
        return text
    }

    private static func methods(_ value: LocatedJSON.Value) -> [String]? {
        let elements: [LocatedJSON.Value] = if case .list(let list) = value { list.map(\.value) } else { [value] }
        let methods = elements.compactMap { element -> String? in
            guard case .text(let text) = element, RouteCondition.methods.contains(text.uppercased()) else { return nil }
            return text.uppercased()
        }
        guard methods.count == elements.count, !methods.isEmpty else { return nil }
        return Set(methods).sorted()
    }

    mutating func checkUnknown() {
        problems += UnknownFields.problems(Set(fields.keys), known: Route.fields)
    }
}
