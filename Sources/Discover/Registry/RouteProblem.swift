import Shared

/// Who asks for requests to a host and path.
enum RouteID: Hashable, Sendable {
    /// An operator, by a key.
    case named(RouteName)
    /// A service, by its labels, for one place.
    case label(ServiceName, RoutePlace)
}

extension RouteID: CustomStringConvertible, Comparable {
    /// In a few words: `route shop` or `label of service web`.
    var description: String {
        switch self {
        case .named(let name): "route \(name)"
        case .label(let service, _): "the label of service \(service)"
        }
    }

    /// What the access log calls it.
    var logName: String {
        switch self {
        case .named(let name): name.text
        case .label(let service, _): "label:\(service)"
        }
    }

    private var order: (Int, String, String) {
        switch self {
        case .named(let name): (0, name.text, "")
        case .label(let service, let place): (1, service.text, place.description)
        }
    }

    /// Orders those of operators first, then by name.
    static func < (left: RouteID, right: RouteID) -> Bool { left.order < right.order }
}

/// Something wrong with a route, or with what all routes need, that costs only itself.
enum RouteProblem: Hashable, Sendable {
    /// Another one has the place already.
    case claimed(RouteID, place: String, by: RouteID)
    /// It leads to a service whose connections are no HTTP.
    case targetIsTCP(RouteID, ServiceName)
    /// There are more conditions on this host than HAProxy's rules are made for.
    case tooManyConditions(RouteID)
    /// A field that decides of it is wrong, so it answers 503.
    case unusable(RouteID)
    /// Its new target has no endpoint that is up, so it leads where it led.
    case waits(RouteID, services: [ServiceName], until: String)
    /// So many went with etcd's store and are kept for a while.
    case lost(count: Int, until: String)
    /// The user of etcd may not read them.
    case unreadable
    /// Nothing can listen for routes at the address of a setting.
    case notListening(setting: String, String, obstacle: String)
    /// There is no certificate that can be used.
    case noCertificate
    /// A certificate cannot be used.
    case certificate(file: String, String)
    /// A service's listener would be where routes are served.
    case portOfRoutes(ServiceName, Port, isRouted: Bool)

    /// What it comes to, as the log's message.
    var message: StaticString {
        switch self {
        case .claimed: "route conflict: another route has the host and path"
        case .targetIsTCP, .tooManyConditions, .unusable: "route answers 503"
        case .lost: "keeping lost routes"
        case .unreadable: "no permission to read routes"
        case .waits: "route waits for its new target; it leads where it led"
        case .notListening, .noCertificate: "routes not served"
        case .certificate: "certificate not used"
        case .portOfRoutes(_, _, true): "service has no listener of its own; routes lead to it"
        case .portOfRoutes: "service not served"
        }
    }

    /// Whether a person must act before something is reachable that should be.
    var isSevere: Bool {
        switch self {
        case .waits, .lost, .portOfRoutes(_, _, true): false
        default: true
        }
    }

    /// What it concerns.
    var subject: String {
        switch self {
        case .claimed(let id, _, _), .targetIsTCP(let id, _), .tooManyConditions(let id), .unusable(let id),
            .waits(let id, _, _):
            id.subject
        case .lost(let count, _): String(count)
        case .unreadable: "ETCD_USER"
        case .notListening(let setting, _, _): setting
        case .noCertificate: "CERTIFICATES"
        case .certificate(let file, _): file
        case .portOfRoutes(let service, _, _): service.text
        }
    }

    /// What the log's field says.
    var name: String {
        switch self {
        case .claimed(.named(let name), _, _), .targetIsTCP(.named(let name), _), .tooManyConditions(.named(let name)),
            .unusable(.named(let name)), .waits(.named(let name), _, _):
            name.text
        default: subject
        }
    }

    /// The log's field that names it.
    var field: String {
        switch self {
        case .claimed(.named, _, _), .targetIsTCP(.named, _), .tooManyConditions(.named), .unusable(.named), .waits:
            "route"
        case .claimed, .targetIsTCP, .tooManyConditions, .unusable, .portOfRoutes: "service"
        case .lost: "routes"
        case .unreadable, .notListening, .noCertificate: "setting"
        case .certificate: "file"
        }
    }

    /// What is wrong, and what would be right.
    var explanation: String {
        switch self {
        case .claimed(_, let place, let other): "\(place) belongs to \(other), which claimed it first"
        case .targetIsTCP(_, let service):
            "service \(service) has mode tcp; a route needs one with mode http, or without a mode"
        case .tooManyConditions: "more than \(RouteProblem.mostConditions) different conditions are in use"
        case .unusable: "a field that decides which requests it gets is wrong"
        case .waits(_, let services, let until):
            "no endpoint of \(services.map(\.text).joined(separator: ", ")) is up; it changes at \(until) at the latest"
        case .lost(_, let until): "etcd's store was replaced, and they are not in the new one; kept until \(until)"
        case .unreadable: "its role has to allow the range from /backends-routes/ to /backends0 (with ETCD_PREFIX)"
        case .notListening(_, let bind, let obstacle): "\(bind) is \(obstacle)"
        case .noCertificate: "no usable certificate, so HTTPS_BIND is not served"
        case .certificate(_, let why): why
        case .portOfRoutes(_, let port, _): "port \(port) is HTTP_BIND's or HTTPS_BIND's"
        }
    }

    /// How many different conditions routes may have on one host.
    static let mostConditions = 16
}

extension RouteID {
    /// What a message names.
    var subject: String {
        switch self {
        case .named(let name): "route \(name)"
        case .label(let service, _): service.text
        }
    }
}
