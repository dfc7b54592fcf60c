/// The name of a route; the grammar is that of ``ServiceName``.
package struct RouteName: Hashable, Sendable {
    /// The name as it was given.
    package let text: String

    /// Makes a name; nil where `text` is not one.
    package init?(_ text: some StringProtocol) {
        guard NameGrammar.accepts(text) else { return nil }
        self.text = String(text)
    }
}

extension RouteName: CustomStringConvertible, Comparable {
    /// The name as it was given.
    package var description: String { text }

    /// Orders names by their bytes, the same in every locale.
    package static func < (left: RouteName, right: RouteName) -> Bool { left.text < right.text }
}

/// Which hosts of requests a route is for: one name, all names below one, or all.
package struct HostPattern: Hashable, Sendable {
    /// In lower case: `shop.example.com`, `*.example.com` or `*`.
    package let text: String

    /// All hosts.
    package static let any = HostPattern(known: "*")

    /// What may be written, for messages.
    package static let grammar = "a host name without port, *.name, or *"

    private init(known: String) { text = known }

    /// Makes one; nil for anything else.
    package init?(_ text: some StringProtocol) {
        let lower = text.lowercased()
        let name = lower.hasPrefix("*.") ? Substring(lower.utf8.dropFirst(2)) : lower[...]
        guard lower != "*" else {
            self = .any
            return
        }
        let labels = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard lower.utf8.count <= 253, labels.allSatisfy(Self.isLabel) else { return nil }
        self.text = lower
    }

    private static func isLabel(_ label: Substring.UTF8View.SubSequence) -> Bool {
        (1...63).contains(label.count) && label.allSatisfy { NameGrammar.isLetterOrDigit($0) || "-_".utf8.contains($0) }
    }

    /// Whether it is for more than one host.
    package var isWildcard: Bool { text.utf8.first == UInt8(ascii: "*") }
}

extension HostPattern: CustomStringConvertible, Comparable {
    /// The text.
    package var description: String { text }

    /// Orders by bytes.
    package static func < (left: HostPattern, right: HostPattern) -> Bool { left.text < right.text }
}

/// The path of a route: of RFC 3986, section 3.3, without what means something to HAProxy, and without `.`, `..` and
/// empty segments; at most 512 bytes.
package struct RoutePath: Hashable, Sendable, CustomStringConvertible {
    /// The path as it was given.
    package let description: String

    /// The path `/`.
    package static let root = RoutePath(known: "/")

    /// What may be written, for messages.
    package static let grammar =
        "a path such as /api of letters, digits, and -._~!&()*+,=:@/%, without empty and dot segments"

    private static let characters = Set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!&()*+,=:@/%".utf8)

    private init(known: String) { description = known }

    /// Makes one; nil for anything else.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.first == UInt8(ascii: "/"), text.utf8.count <= 512,
            text.utf8.allSatisfy({ Self.characters.contains($0) }), Self.hasWholeEscapes(text)
        else { return nil }
        let path = String(text)
        let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        guard segments.dropLast().allSatisfy({ !$0.isEmpty }), !segments.contains(where: Self.isDots) else {
            return nil
        }
        description = path
    }

    private static func hasWholeEscapes(_ text: some StringProtocol) -> Bool {
        text.split(separator: "%", omittingEmptySubsequences: false).dropFirst().allSatisfy { rest in
            rest.prefix(2).count == 2 && rest.prefix(2).allSatisfy { $0.isASCII && $0.isHexDigit }
        }
    }

    private static func isDots(_ segment: Substring) -> Bool {
        let text = segment.lowercased().replacing("%2e", with: ".")
        return text == "." || text == ".."
    }

    /// The path without a slash at its end, unless it is the root.
    package var withoutEnd: RoutePath {
        description.utf8.count > 1 && description.utf8.last == UInt8(ascii: "/")
            ? RoutePath(known: String(description.dropLast())) : self
    }

    /// How many segments it has; 0 for the root.
    package var depth: Int { description.split(separator: "/").count }
}

/// A host and the beginning of a path, as a label names them: `shop.example.com/api`.
package struct RoutePlace: Hashable, Sendable {
    /// The host.
    package let host: HostPattern
    /// The path, without a slash at its end.
    package let path: RoutePath

    /// Makes one.
    package init(host: HostPattern, path: RoutePath) {
        (self.host, self.path) = (host, path.withoutEnd)
    }

    /// Parses `host` or `host/path`; nil for anything else.
    package init?(_ text: some StringProtocol) {
        let slash = text.firstIndex(of: "/") ?? text.endIndex
        guard let host = HostPattern(text[..<slash]),
            let path = RoutePath(slash == text.endIndex ? "/" : text[slash...])
        else { return nil }
        self.init(host: host, path: path)
    }
}

extension RoutePlace: CustomStringConvertible {
    /// The text that ``init(_:)`` reads.
    package var description: String { path == .root ? host.text : host.text + path.description }
}

/// The places of a service that its labels name, separated by commas.
package struct RoutePlaces: Hashable, Sendable, CustomStringConvertible {
    /// The places, in the order in which they were given.
    package let places: [RoutePlace]

    private static let most = 32

    /// What may be written, for messages.
    package static let grammar =
        "up to \(most) of HOST or HOST/PATH, separated by commas: \(HostPattern.grammar), and \(RoutePath.grammar)"

    /// Makes them; nil for anything else.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { part in
            RoutePlace(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed().map { String($0) }.joined())
        }
        let places = parts.compactMap(\.self)
        guard places.count == parts.count, (1...Self.most).contains(places.count) else { return nil }
        self.places = places.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    /// The places, separated by commas.
    package var description: String { places.map(\.description).joined(separator: ", ") }
}

/// Services with the share of each, in the order of their names.
package struct RouteTargets: Hashable, Sendable {
    /// A service with its weight.
    package struct Weight: Hashable, Sendable {
        /// The service.
        package let service: ServiceName
        /// Its weight in thousandths.
        package let thousandths: Int

        /// Takes both.
        package init(service: ServiceName, thousandths: Int) {
            (self.service, self.thousandths) = (service, thousandths)
        }

        /// The weight as somebody writes it: `90` or `33.3`.
        package var text: String {
            let (whole, rest) = thousandths.quotientAndRemainder(dividingBy: 1000)
            guard rest > 0 else { return String(whole) }
            let digits = String(1000 + rest).dropFirst()
            return "\(whole)." + String(digits.reversed().drop { $0 == "0" }.reversed())
        }
    }

    /// All that were named, also those of weight 0; one alone has any weight.
    package let weights: [Weight]

    /// What may be written, for messages.
    package static let grammar = """
        a service, or an object of up to \(most) services with weights from 0 to 1000000, one of them above 0
        """

    private static let most = 16

    /// One service.
    package init(_ service: ServiceName) { weights = [Weight(service: service, thousandths: 1000)] }

    /// Several; nil where there are none or too many, one is named twice, or none has a weight above 0.
    package init?(_ weights: [Weight]) {
        guard (1...Self.most).contains(weights.count), Set(weights.map(\.service)).count == weights.count,
            weights.contains(where: { $0.thousandths > 0 })
        else { return nil }
        self.weights = weights.sorted { $0.service < $1.service }
    }

    /// Parses a weight: a number from 0 to 1000000 with up to three decimals; nil for anything else.
    package static func thousandths(_ text: some StringProtocol) -> Int? {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let areDigits = parts.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
        guard areDigits, parts[0].utf8.count <= 7, let whole = Int(parts[0]), whole <= 1_000_000 else {
            return nil
        }
        guard parts.count == 2 else { return whole * 1000 }
        guard parts[1].utf8.count <= 3, let rest = Int((parts[1] + "00").prefix(3)) else { return nil }
        return whole * 1000 + rest
    }

    /// Those that get requests.
    package var active: [Weight] { weights.filter { $0.thousandths > 0 } }

    /// The one that gets all requests; nil where several get some.
    package var only: ServiceName? { active.count == 1 ? active[0].service : nil }
}

extension RouteTargets: CustomStringConvertible {
    /// As the `route` command takes it: `web`, or `web-v1:90,web-v2:10`.
    package var description: String {
        weights.count == 1
            ? weights[0].service.text : weights.map { "\($0.service):\($0.text)" }.joined(separator: ",")
    }
}

/// What has to hold of a request besides its host and path: all of its tests.
package struct RouteCondition: Hashable, Sendable {
    /// One test.
    package enum Test: Hashable, Sendable {
        /// A header has a value, or is there at all.
        case header(String, value: String?)
        /// A cookie has a value, or is there at all.
        case cookie(CookieName, value: String?)
        /// The method is one of these.
        case method([String])
    }

    /// The tests, in the order of their texts; not empty.
    package let tests: [Test]

    /// The methods that can be named.
    package static let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]

    /// Makes one; nil without any test.
    package init?(_ tests: [Test]) {
        guard !tests.isEmpty else { return nil }
        self.tests = tests.sorted { $0.description < $1.description }
    }

    /// Whether HAProxy can compare a header or cookie with a text as it is: printable ASCII without quotes,
    /// backslashes and braces.
    package static func isValue(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x20...0x7e).contains($0) && !#"'"\{}|;"#.utf8.contains($0) }
            && text.first != " " && text.last != " "
    }

    /// What a value may be, for messages.
    package static let valueGrammar = #"1 to 128 printable ASCII characters except ' " \ { } | ;, or * for any value"#
}

extension RouteCondition.Test: CustomStringConvertible {
    /// As the `route` command takes it: `header:x-canary=always`, `cookie:beta=*` or `method:PUT,POST`.
    package var description: String {
        switch self {
        case .header(let name, let value): "header:\(name)=\(value ?? "*")"
        case .cookie(let name, let value): "cookie:\(name)=\(value ?? "*")"
        case .method(let methods): "method:\(methods.joined(separator: ","))"
        }
    }
}

extension RouteCondition: CustomStringConvertible, Comparable {
    /// The tests, separated by spaces.
    package var description: String { tests.map(\.description).joined(separator: " ") }

    /// Orders by the text.
    package static func < (left: RouteCondition, right: RouteCondition) -> Bool {
        left.description < right.description
    }
}
