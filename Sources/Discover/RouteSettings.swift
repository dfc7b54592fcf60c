import Shared

/// Where requests are routed by host and path.
extension DiscoverSettings {
    /// `HTTP_BIND`: where routes are served.
    static let httpBind = Setting(
        flag: "--http-bind", variable: "HTTP_BIND", placeholder: "ADDRESS",
        help: "serve routes (by host and path) at this address, such as :80; not set: no routes without TLS")
    /// `HTTPS_BIND`: the same with TLS.
    static let httpsBind = Setting(
        flag: "--https-bind", variable: "HTTPS_BIND", placeholder: "ADDRESS",
        help: "serve routes with TLS and HTTP/2 at this address, such as :443; needs CERTIFICATES")
    /// `CERTIFICATES`: the folder of what TLS needs.
    static let certificatesFolder = Setting(
        flag: "--certificates", variable: "CERTIFICATES", placeholder: "FOLDER",
        help: """
            folder with the certificates of HTTPS_BIND: NAME.pem with certificate and key, NAME.crt with NAME.key, or \
            folders with fullchain.pem and privkey.pem; read every second
            """)
    /// `TRUSTED_PROXIES`: whose word is taken for the client's address.
    static let trustedProxies = Setting(
        flag: "--trusted-proxies", variable: "TRUSTED_PROXIES", placeholder: "ADDRESSES",
        help: """
            addresses and ranges, separated by commas, of proxies in front of HTTP_BIND and HTTPS_BIND whose \
            X-Forwarded-For, -Proto, and -Host headers are kept; those of all other clients are replaced
            """)

    /// The folder of certificates.
    static func certificates(from reading: inout ParsedSettings) -> String? {
        reading.value(certificatesFolder, "an absolute path") { Folder.isPath($0) ? $0 : nil }
    }

    /// Where routes are served; nil for nowhere, or where a setting is wrong, which is then recorded.
    static func routes(from reading: inout ParsedSettings, besides statsBind: BindAddress?) -> RouteListeners? {
        var routes = RouteListeners()
        routes.http = reading.value(httpBind, BindAddress.grammar) { BindAddress($0) }
        routes.https = reading.value(httpsBind, BindAddress.grammar) { BindAddress($0) }
        routes.trusted =
            reading.value(trustedProxies, "a list of \(AddressRange.grammar)") { AddressRange.list($0) } ?? []
        checkPlaces(routes, statsBind, &reading)
        let folder = reading.text(certificatesFolder)
        if routes.https != nil, folder == nil {
            reading.problem(httpsBind, "needs \(certificatesFolder.variable), the folder of its certificates")
        }
        if folder != nil, reading.text(httpsBind) == nil {
            reading.problem(certificatesFolder, "does nothing without \(httpsBind.variable)")
        }
        if !routes.trusted.isEmpty, reading.text(httpBind) == nil, reading.text(httpsBind) == nil {
            reading.problem(trustedProxies, "does nothing without \(httpBind.variable) or \(httpsBind.variable)")
        }
        return routes.binds.isEmpty ? nil : routes
    }

    private static func checkPlaces(
        _ routes: RouteListeners, _ statsBind: BindAddress?, _ reading: inout ParsedSettings
    ) {
        for (setting, bind) in [(httpBind, routes.http), (httpsBind, routes.https)] {
            if let bind, let statsBind, bind.overlaps(statsBind) {
                reading.problem(setting, "\(bind) is the stats page's (\(Self.statsBind.variable))")
            }
        }
        if let http = routes.http, let https = routes.https, http.overlaps(https) {
            reading.problem(httpsBind, "\(https) is also \(httpBind.variable); each needs its own port")
        }
    }
}
