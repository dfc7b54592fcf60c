import Shared

/// One service's section of haproxy.cfg.
///
/// It never changes; configurations share it.
final class Section: Sendable {
    /// The service.
    let service: ServiceName
    /// The section without its servers, which only a reload changes; it begins with an empty line.
    let head: String
    /// Its servers.
    let lines: [ServerLine]
    /// The lines of the head that come from options; none where an accepted section stands in.
    let configured: [ConfigLine]
    /// The whole section.
    let text: String

    /// Renders a listener.
    fileprivate init(
        _ listener: DesiredState.Listener, _ settings: HAProxySettings, _ shares: ConnectionShares?,
        _ texts: inout ServerTexts
    ) {
        service = listener.service
        let title = "\(listener.hasPort ? "listen" : "backend") \(listener.service)"
        let rendered = listener.written == nil ? listener.head(settings, shares) : []
        configured = rendered.filter { !$0.options.isEmpty }
        head = "\n" + (listener.written?.head ?? HAProxyConfiguration.section(title, rendered.map(\.text)))
        lines = listener.servers.map { listener.written?.servers[$0.id] ?? texts.line($0) }
        let check = Self.commonCheck(of: lines)
        let intro = check.isEmpty ? head : head + "    \(Self.common) \(check)\n"
        let text = lines.reduce(into: intro) { text, line in
            text += "    server "
            text += line.id.text
            text += " "
            line.write(to: &text, without: check)
            text += "\n"
        }
        // Without the room that it grew into.
        self.text = String(decoding: text.utf8, as: UTF8.self)
    }

    /// The keyword for what all servers of a section have in common.
    ///
    /// HAProxy reads the file in half the time with it.
    static let common = "default-server"

    /// The words about the check, where they are the same for several servers and there is no other; else nothing.
    private static func commonCheck(of lines: [ServerLine]) -> Substring {
        guard lines.count > 1, let check = lines[0].check else { return "" }
        return lines.dropFirst().allSatisfy { $0.fixed == lines[0].fixed || $0.check == check } ? check : ""
    }
}

/// The sections of an earlier configuration, so that those of services which did not change are not made again.
struct SectionCache {
    private var known: [ServiceName: (of: DesiredState.Listener, section: Section)] = [:]
    private var texts = ServerTexts()
    private var shares: ConnectionShares?

    /// Makes an empty one.
    init() {}

    /// The sections of a plan, all of one HAProxy on one host.
    mutating func sections(of plan: DesiredState, _ settings: HAProxySettings, _ shares: ConnectionShares?)
        -> [Section]
    {
        let before = shares == self.shares ? known : [:]
        (known, self.shares) = ([:], shares)
        texts.prune()
        return plan.listeners.map { listener in
            if let old = before[listener.service], old.of == listener {
                // With the newer listener, which later ones share their servers with: those are equal at a glance.
                known[listener.service] = (listener, old.section)
                return old.section
            }
            let section = Section(listener, settings, shares, &texts)
            known[listener.service] = (listener, section)
            return section
        }
    }
}

/// The texts of keywords, so that servers with equal ones share theirs.
private struct ServerTexts {
    private var known: [ServerOptions: String] = [:]

    mutating func line(_ server: DesiredState.Server) -> ServerLine {
        let text = known[server.keywords] ?? server.keywords.fixed
        known[server.keywords] = text
        return ServerLine(server, fixed: text)
    }

    /// Forgets texts where there are more than many services need.
    mutating func prune() {
        if known.count > 10_000 { known = [:] }
    }
}

/// FNV-1a, 64 bits: it tells files apart and guards nothing.
struct ConfigHash {
    private var value: UInt64 = 0xcbf2_9ce4_8422_2325

    /// Digests a text.
    init(_ text: String) { add(text) }

    /// Digests further text.
    mutating func add(_ text: String) {
        value = text.utf8.reduce(value) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    /// In hexadecimal digits.
    var text: String { String(value, radix: 16) }
}

extension DesiredState.Listener {
    /// The lines of its section before its servers: only what differs from the defaults section.
    ///
    /// They do not depend on the servers, which come and go without a reload.
    func head(_ settings: HAProxySettings, _ shares: ConnectionShares?) -> [ConfigLine] {
        let limits = (shares?.lines ?? []).map { ConfigLine($0) }
        var place = [ConfigLine("description 'no port of its own'", "port")]
        if hasPort {
            place =
                [ConfigLine("description \(description(bind, settings.host))")]
                + binds.map { ConfigLine("bind \($0.words)", "port", "listen_address") } + limits
        }
        let all =
            place + options.mode(settings.abilities) + options.balanceLines + options.checkLines + options.limits
            + options.logLines + (isRouted ? options.routeLogLines : [])
        return hasPort ? all : all.filter { !$0.isOfFrontend }
    }

    /// What the stats page shows beside the name: the port, which is a link where a browser can do something with it.
    private func description(_ bind: BindAddress, _ host: HostSettings) -> String {
        let port = bind.port
        guard options.mode == .http else {
            return bind.address.map { "port \(port) of \($0)" } ?? "port \(port)"
        }
        let target = bind.address == nil || bind.isOfBothFamilies ? "\(host.name):\(port)" : "\(bind)"
        return "'port \(HAProxySettings.link(to: "http://\(target)/", "\(port)"))'"
    }
}

extension ListenerOptions {
    private static let defaults = ListenerOptions()

    /// What is about mode http.
    fileprivate func mode(_ abilities: HAProxyFeatures) -> [ConfigLine] {
        guard mode == .http else { return [] }
        var lines = [ConfigLine("mode http", "mode")]
        if abilities.idleCloseOnResponse { lines.append(ConfigLine("option idle-close-on-response")) }
        if self[ServiceOptions.forwardedFor] { lines.append(ConfigLine("option forwardfor", "forwarded_for")) }
        if let cookie { lines.append(ConfigLine("cookie \(cookie) insert indirect nocache", "cookie")) }
        if differs(ServiceOptions.retryOn) {
            let conditions = self[ServiceOptions.retryOn].words.joined(separator: " ")
            lines.append(ConfigLine("retry-on \(conditions)", "retry_on"))
        }
        if differs(ServiceOptions.compression) {
            lines += [
                ConfigLine("compression algo \(self[ServiceOptions.compression].rawValue)", "compression"),
                ConfigLine("compression type \(Self.compressedTypes)", "compression"),
            ]
        }
        return lines
    }

    /// What is worth compressing; pictures and archives are compressed already.
    private static let compressedTypes = """
        text/html text/plain text/css text/csv text/xml text/javascript application/javascript application/json \
        application/xml image/svg+xml
        """

    /// Whether an option has another value than the defaults section gives.
    private func differs<Value: Equatable>(_ option: ServiceOption<Value>) -> Bool {
        self[option] != option.defaultValue
    }

    fileprivate var balanceLines: [ConfigLine] {
        guard differs(ServiceOptions.balance) else { return [] }
        return [ConfigLine("balance \(self[ServiceOptions.balance].rawValue)", "balance")]
    }

    /// Times and retries.
    fileprivate var limits: [ConfigLine] {
        let times: [(String, (ListenerOptions) -> Duration)] = [
            ("connect", { $0[ServiceOptions.connectTimeout] }), ("client", { $0[ServiceOptions.clientTimeout] }),
            ("server", { $0[ServiceOptions.serverTimeout] }), ("queue", \.queueTimeout),
        ]
        var lines = times.filter { $1(self) != $1(Self.defaults) }
            .map { ConfigLine("timeout \($0) \(HAProxyTime.text($1(self)))", "timeout_\($0)") }
        if differs(ServiceOptions.checkTimeout) {
            let time = HAProxyTime.text(self[ServiceOptions.checkTimeout])
            lines.append(ConfigLine("timeout check \(time)", "check_timeout"))
        }
        if differs(ServiceOptions.retries) {
            lines.append(ConfigLine("retries \(self[ServiceOptions.retries])", "retries"))
        }
        return lines
    }

    fileprivate var logLines: [ConfigLine] {
        guard self[ServiceOptions.accessLog] else { return [] }
        return ["log stdout format raw local0 info", "log-format \"\(AccessLogLine.format(of: mode))\""].map {
            ConfigLine($0, "access_log")
        }
    }

    /// Requests that come by a route are logged there, where nothing else is.
    fileprivate var routeLogLines: [ConfigLine] {
        guard self[ServiceOptions.accessLog] else { return [] }
        return [ConfigLine("http-request set-log-level info", "access_log")]
    }

    /// The rules of an HTTP check.
    ///
    /// HTTP/1.1 demands a `Host`; without one the request is of HTTP/1.0, which does not.
    fileprivate var checkLines: [ConfigLine] {
        guard case .http(let path) = self[ServiceOptions.check] else { return [] }
        let version = checkHost.map { "ver HTTP/1.1 hdr Host \($0)" } ?? "ver HTTP/1.0"
        let method = self[ServiceOptions.checkMethod].rawValue
        return [
            ConfigLine("option httpchk", "check"),
            ConfigLine("http-check send meth \(method) uri \(path) \(version)", "check", "check_method", "check_host"),
            ConfigLine("http-check expect status \(self[ServiceOptions.checkStatus])", "check_status"),
        ]
    }
}

/// A line of haproxy.cfg, with the options that it is made of.
struct ConfigLine: Equatable, Sendable {
    /// The line without its indent.
    let text: String
    /// The names of the options, such as `check_interval`.
    let options: [String]

    /// Whether it means something only where HAProxy listens.
    var isOfFrontend: Bool {
        let words = ["option idle-close-on-response", "timeout client ", "log ", "log-format "]
        return words.contains { text.hasPrefix($0) }
    }

    /// Puts both together.
    init(_ text: String, _ options: String...) {
        self.text = text
        self.options = options
    }

    /// The options of a `server` line's keywords; those of its check, which stand on all lines, are left out.
    static func options(ofServerLine text: String) -> [String] {
        let words = Set(text.split(separator: " ").map(String.init))
        let keywords = [
            ("maxconn", "maxconn"), ("cookie", "cookie"), ("backup", "backup"), ("slowstart", "slow_start"),
            ("send-proxy", "proxy_protocol"), ("send-proxy-v2", "proxy_protocol"),
        ]
        return keywords.filter { words.contains($0.0) }.map(\.1)
    }
}

/// Times as haproxy.cfg takes them: one number with one unit.
enum HAProxyTime {
    /// Writes a time, rounded down to a millisecond.
    static func text(_ duration: Duration) -> String {
        let milliseconds = Int64(duration / .milliseconds(1))
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}
