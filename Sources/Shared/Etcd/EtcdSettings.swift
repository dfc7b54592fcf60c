import FoundationEssentials

/// The settings that say where etcd is, the same for both agents.
package enum EtcdSettings {
    /// `ETCD_HOST`: the members.
    package static let host = Setting(
        flag: "--etcd", variable: "ETCD_HOST",
        alternatives: [.init("ETCDCTL_ENDPOINTS"), .init("ETCDCTL_DISCOVERY_SRV", prefix: "srv:")],
        placeholder: "HOST[:PORT],...",
        help: """
            etcd endpoints: host:port or http(s) URLs, comma-separated; the default port is 2379. Or srv:DOMAIN for SRV \
            records, or gateway[:PORT] for the default gateway, which for a container is its host
            """)
    /// `ETCD_PREFIX`: where the keys are.
    package static let prefix = Setting(
        flag: "--etcd-prefix", variable: "ETCD_PREFIX", placeholder: "PREFIX", fallback: Keyspace.standard,
        help: "prefix of the registry's keys")
    static let authorities = Setting(
        flag: "--etcd-cacert", variable: "ETCD_CACERT", alternatives: [.init("ETCDCTL_CACERT")], placeholder: "FILE",
        help: "CA bundle (PEM) for etcd; endpoints without a scheme then use https")
    static let certificate = Setting(
        flag: "--etcd-cert", variable: "ETCD_CERT", alternatives: [.init("ETCDCTL_CERT")], placeholder: "FILE",
        help: "client certificate (PEM) for etcd")
    static let key = Setting(
        flag: "--etcd-key", variable: "ETCD_KEY", alternatives: [.init("ETCDCTL_KEY")], placeholder: "FILE",
        help: "private key (PEM) of that certificate")
    static let user = Setting(
        flag: "--etcd-user", variable: "ETCD_USER", alternatives: [.init(nameAndPassword, isSecret: true)],
        placeholder: "NAME",
        help: "etcd user to log in as")
    static let passwordFile = Setting(
        flag: "--etcd-password-file", variable: "ETCD_PASSWORD_FILE", placeholder: "FILE",
        help: "file with that user's password; read at startup, for each login, and on SIGHUP")
    static let password = Setting(
        flag: "--etcd-password", variable: "ETCD_PASSWORD", alternatives: [.init("ETCDCTL_PASSWORD")],
        placeholder: "PASSWORD",
        help: "the password itself; other users of the host may see it, so prefer the file", isSecret: true)

    /// The variable of etcdctl that may have the password as well: `name:password`.
    private static let nameAndPassword = "ETCDCTL_USER"

    /// All of them, in the order of the help.
    package static let settings = [host, prefix, authorities, certificate, key, user, passwordFile, password]

    /// Reads `ETCD_PREFIX`; nil where it is wrong, which is then recorded.
    package static func keyspace(from reading: inout ParsedSettings) -> Keyspace? {
        reading.value(prefix, "a path such as /backends", Keyspace.init(prefix:))
    }

    /// Reads everything else; nil where something is wrong, which is then recorded.
    package static func configuration(from reading: inout ParsedSettings) -> Etcd.Configuration? {
        let tls = HTTPOrigin.TLS(
            authorities: file(authorities, from: &reading), certificate: file(certificate, from: &reading),
            key: file(key, from: &reading))
        if (tls.certificate == nil) != (tls.key == nil) {
            reading.problem(tls.certificate == nil ? certificate : key, "must be set: certificate and key go together")
        }
        let credentials = credentials(from: &reading)
        guard reading.text(host) != nil else {
            reading.problem(host, "must be set: where is etcd? For example 10.0.0.1:2379")
            return nil
        }
        guard reading.text(host)?.contains("@") != true else {
            reading.problem(
                host, "must not contain a user or password; set \(user.variable) and \(passwordFile.variable)")
            return nil
        }
        let isSecure = tls != HTTPOrigin.TLS()
        let expected =
            "host:port or URLs such as https://10.0.0.1:2379, separated by commas; or srv:DOMAIN; or gateway[:PORT]"
        let members = reading.value(host, expected) { text -> Etcd.Members? in
            source(text, isSecure: isSecure, tls: tls).map { Etcd.Members($0, tls: tls, isSecure: isSecure) }
        }
        let sources = settings.compactMap { $0 == prefix ? nil : reading.source(of: $0) }
        return members.map { Etcd.Configuration(members: $0, credentials: credentials, sources: sources) }
    }

    /// Parses what says where the members are.
    private static func source(_ text: String, isSecure: Bool, tls: HTTPOrigin.TLS) -> Etcd.Members.Source? {
        if text.hasPrefix(records) {
            let domain = text.dropFirst(records.count)
            let name = domain.last == "." ? domain.dropLast() : domain
            return isHostName(name) ? .records(domain: String(name)) : nil
        }
        if text == gateway || text.hasPrefix(gateway + ":") {
            return hostAndPort(text[...]).map { .gateway($0.1) }
        }
        let endpoints = text.split(separator: ",").map { endpoint(String($0), isSecure: isSecure, tls: tls) }
        return endpoints.isEmpty || endpoints.contains(nil) ? nil : .listed(endpoints.compactMap(\.self))
    }

    private static let (records, gateway) = ("srv:", "gateway")

    /// Parses one member: `host`, `host:port`, `[ipv6]:port`, with or without scheme and trailing slash.
    static func endpoint(_ text: String, isSecure: Bool, tls: HTTPOrigin.TLS) -> HTTPOrigin? {
        var rest = text.trimmingASCIISpace()
        var scheme = isSecure ? "https" : "http"
        if let end = rest.firstRange(of: "://") {
            scheme = rest[..<end.lowerBound].lowercased()
            rest = rest[end.upperBound...]
        }
        if rest.last == "/" { rest = rest.dropLast() }
        guard scheme == "http" || scheme == "https", let (host, port) = hostAndPort(rest) else { return nil }
        return .tcp("\(scheme)://\(host):\(port)", tls: tls)
    }

    private static func hostAndPort(_ text: Substring) -> (Substring, Port)? {
        let defaultPort = Port(2379)
        if IPAddress(text)?.family == .v6 { return defaultPort.map { ("[\(text)]", $0) } }
        var host = text
        var port = defaultPort
        if let colon = text.lastIndex(of: ":"), !text.hasSuffix("]") {
            host = text[..<colon]
            port = Port(text: text[text.index(after: colon)...])
        }
        let isIPv6 = host.first == "[" && host.last == "]" && IPAddress(host.dropFirst().dropLast())?.family == .v6
        guard let port, isIPv6 || isHostName(host) else { return nil }
        return (host, port)
    }

    /// Whether a text may be a host's name.
    static func isHostName(_ text: some StringProtocol) -> Bool {
        let isAllowed: (Character) -> Bool = { $0.isASCII && ($0.isLetter || $0.isNumber || "-._".contains($0)) }
        return !text.isEmpty && text.utf8.count <= 253 && text.allSatisfy(isAllowed)
    }

    private static func credentials(from reading: inout ParsedSettings) -> Etcd.Credentials? {
        var secret = reading.text(password)
        if let path = reading.text(passwordFile) {
            secret = Etcd.Credentials.password(in: path)
            guard secret != nil else {
                reading.problem(passwordFile, "cannot be read: \(path)")
                return nil
            }
        }
        var name = reading.text(user)
        if reading.source(of: user) == nameAndPassword, let both = name, let colon = both.firstIndex(of: ":") {
            name = String(both[..<colon])
            secret = secret ?? String(both[both.index(after: colon)...])
        }
        guard let name else {
            if secret != nil { reading.problem(user, "must be set, as there is a password") }
            return nil
        }
        guard let secret else {
            reading.problem(passwordFile, "must be set, as \(user.variable) is")
            return nil
        }
        return Etcd.Credentials(user: name, password: secret, passwordFile: reading.text(passwordFile))
    }

    private static func file(_ setting: Setting, from reading: inout ParsedSettings) -> String? {
        guard let path = reading.text(setting) else { return nil }
        if !FileManager.default.isReadableFile(atPath: path) { reading.problem(setting, "cannot be read: \(path)") }
        return path
    }
}
