import Shared

/// Where a host serves routes, as its settings say.
struct RouteListeners: Equatable, Sendable {
    /// The address without TLS; nil for none.
    var http: BindAddress?
    /// The address with TLS; nil for none.
    var https: BindAddress?
    /// The clients whose `X-Forwarded-` headers are believed.
    var trusted: [AddressRange] = []

    /// Both addresses.
    var binds: [BindAddress] { [http, https].compactMap(\.self) }
}

/// Where HAProxy listens for routes now.
struct RouteBinds: Equatable, Sendable {
    /// The address without TLS.
    private(set) var http: BindAddress?
    /// The address with TLS.
    private(set) var https: BindAddress?

    /// Nowhere.
    init() {}

    /// As settings say, as far as nothing of this host is in the way.
    init(_ wanted: RouteListeners?, _ host: HostSettings, hasCertificate: Bool, _ diagnostics: inout Set<Diagnostic>) {
        guard let wanted else { return }
        (http, https) = (wanted.http, wanted.https)
        if https != nil, !hasCertificate {
            https = nil
            diagnostics.insert(.route(.noCertificate))
        }
        var taken: [BindAddress: String] = [:]
        for bind in wanted.binds where host.reserved.binds.contains(where: bind.overlaps) {
            taken[bind] = "where a section of EXTRA_FILE listens"
        }
        remove(taken, &diagnostics)
    }

    /// All of them.
    var all: [BindAddress] { [http, https].compactMap(\.self) }

    /// Removes those that something is in the way of.
    mutating func remove(_ obstacles: [BindAddress: String], _ diagnostics: inout Set<Diagnostic>) {
        if let bind = http, let obstacle = obstacles[bind] {
            http = nil
            diagnostics.insert(.route(.notListening(setting: "HTTP_BIND", "\(bind)", obstacle: obstacle)))
        }
        if let bind = https, let obstacle = obstacles[bind] {
            https = nil
            diagnostics.insert(.route(.notListening(setting: "HTTPS_BIND", "\(bind)", obstacle: obstacle)))
        }
    }
}
