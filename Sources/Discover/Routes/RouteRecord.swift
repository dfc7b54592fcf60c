import FoundationEssentials
import Shared

/// What HAProxy's map says of a host and path: fields with `|` between them.
///
/// | field | meaning |
/// |---|---|
/// | 1 | the service, the id of shares, `-` for nobody, or empty where only conditions lead somewhere |
/// | 2 | how many segments of the path are taken off |
/// | 3 | what is put before the path |
/// | 4 | `https` to redirect |
/// | 5 | what is told instead, in base64 |
/// | 6 to 9 | up to two conditions, each with its service |
/// | 10 | the route's name |
///
/// No field has a character that means something to a map, a command or haproxy.cfg: texts are of types that cannot have
/// any, and what people write freely is in base64.
struct RouteRecord: Equatable, Sendable {
    /// The numbers of the fields.
    enum Field: Int {
        case to = 1
        case strip, add, https, closed, firstCondition, firstTarget, secondCondition, secondTarget, name
    }

    /// The fields in their order.
    private var fields = [String](repeating: "", count: Field.name.rawValue)

    /// Who gets requests where nothing usable was named.
    static let nobody = "-"

    subscript(_ field: Field) -> String {
        get { fields[field.rawValue - 1] }
        set { fields[field.rawValue - 1] = newValue }
    }

    /// As the map has it.
    var text: String { fields.joined(separator: "|") }

    /// Reads one; nil for a text that is none.
    init?(_ text: String) {
        let fields = text.split(separator: "|", omittingEmptySubsequences: false).map { String($0) }
        guard fields.count == Field.name.rawValue else { return nil }
        self.fields = fields
    }

    /// What a route says.
    ///
    /// - Parameter isUsable: whether it may lead to services.
    init(_ route: Route, named name: String, isUsable: Bool) {
        self[.name] = name
        self[.https] = route.redirectsToHTTPS ? "https" : ""
        self[.closed] = route.closed.map { Data(Self.escaped($0).utf8).base64EncodedString() } ?? ""
        guard isUsable else {
            self[.to] = Self.nobody
            return
        }
        self[.to] = route.to.map { RouteShares($0, isSticky: route.isSticky)?.id ?? $0.only?.text ?? "" } ?? ""
        // Only a place that is closed has neither.
        if route.to == nil, route.when.isEmpty { self[.to] = Self.nobody }
        self[.strip] = route.strips && route.path.depth > 0 ? String(route.path.depth) : ""
        self[.add] = route.add?.description ?? ""
        let places: [(Field, Field)] = [(.firstCondition, .firstTarget), (.secondCondition, .secondTarget)]
        for (when, place) in zip(route.when, places) {
            self[place.0] = when.condition.id
            self[place.1] = when.to.text
        }
    }

    /// The names of services and of shares that it leads to.
    var targets: [String] {
        [self[.to], self[.firstTarget], self[.secondTarget]].filter { !$0.isEmpty && $0 != Self.nobody }
    }

    /// The ids of its conditions.
    var conditions: [String] { [self[.firstCondition], self[.secondCondition]].filter { !$0.isEmpty } }

    /// Text as it may stand in a page.
    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    }
}

extension RouteCondition {
    /// What the map and haproxy.cfg call it.
    var id: String { "c" + Digest.text(of: description) }
}

extension RoutePlace {
    /// The key of a host and path in the map.
    ///
    /// `?` cannot be in a path: a request's key is its host and path with `/?` behind, so that the one look-up of the
    /// longest beginning compares both whole paths and beginnings of whole segments.
    static func key(_ host: HostPattern, _ path: RoutePath, _ match: Route.Match) -> String {
        switch match {
        case .exact: "\(host)\(path)/?"
        case .prefix: path == .root ? "\(host)/" : "\(host)\(path)/"
        }
    }
}
