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
    /// The whole section.
    let text: String

    /// Renders a listener.
    fileprivate init(_ listener: DesiredState.Listener, _ settings: HAProxySettings, _ texts: inout ServerTexts) {
        service = listener.service
        let title = "listen \(listener.service)"
        head =
            "\n" + (listener.written?.head ?? HAProxyConfiguration.section(title, listener.head(settings)))
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

    /// Makes an empty one.
    init() {}

    /// The sections of a plan, all of one HAProxy on one host.
    mutating func sections(of plan: DesiredState, _ settings: HAProxySettings) -> [Section] {
        let before = known
        known = [:]
        texts.prune()
        return plan.listeners.map { listener in
            if let old = before[listener.service], old.of == listener {
                // With the newer listener, which later ones share their servers with: those are equal at a glance.
                known[listener.service] = (listener, old.section)
                return old.section
            }
            let section = Section(listener, settings, &texts)
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
    func head(_ settings: HAProxySettings) -> [String] {
        let place = ["description \(description(settings.host))", "bind \(bind.words)"]
        return place + options.mode(settings.abilities) + options.balanceLines + options.checkLines + options.limits
            + options.logLines
    }

    /// What the stats page shows beside the name: the port, which is a link where a browser can do something with it.
    private func description(_ host: HostSettings) -> String {
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
    fileprivate func mode(_ abilities: HAProxyFeatures) -> [String] {
        guard mode == .http else { return [] }
        var lines = ["mode http"]
        if abilities.idleCloseOnResponse { lines.append("option idle-close-on-response") }
        if self[ServiceOptions.forwardedFor] { lines.append("option forwardfor") }
        if let cookie { lines.append("cookie \(cookie) insert indirect nocache") }
        if differs(ServiceOptions.retryOn) {
            lines.append("retry-on \(self[ServiceOptions.retryOn].words.joined(separator: " "))")
        }
        if differs(ServiceOptions.compression) {
            lines += [
                "compression algo \(self[ServiceOptions.compression].rawValue)",
                "compression type \(Self.compressedTypes)",
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

    fileprivate var balanceLines: [String] {
        differs(ServiceOptions.balance) ? ["balance \(self[ServiceOptions.balance].rawValue)"] : []
    }

    /// Times and retries.
    fileprivate var limits: [String] {
        let times: [(String, (ListenerOptions) -> Duration)] = [
            ("connect", { $0[ServiceOptions.connectTimeout] }), ("client", { $0[ServiceOptions.clientTimeout] }),
            ("server", { $0[ServiceOptions.serverTimeout] }), ("queue", \.queueTimeout),
            ("check", { $0[ServiceOptions.checkTimeout] }),
        ]
        let lines = times.filter { $1(self) != $1(Self.defaults) }.map { "timeout \($0) \(HAProxyTime.text($1(self)))" }
        return lines + (differs(ServiceOptions.retries) ? ["retries \(self[ServiceOptions.retries])"] : [])
    }

    fileprivate var logLines: [String] {
        guard self[ServiceOptions.accessLog] else { return [] }
        return ["log stdout format raw local0 info", "log-format \"\(AccessLogLine.format(of: mode))\""]
    }

    /// The rules of an HTTP check.
    ///
    /// HTTP/1.1 demands a `Host`; without one the request is of HTTP/1.0, which does not.
    fileprivate var checkLines: [String] {
        guard case .http(let path) = self[ServiceOptions.check] else { return [] }
        let version = checkHost.map { "ver HTTP/1.1 hdr Host \($0)" } ?? "ver HTTP/1.0"
        return [
            "option httpchk",
            "http-check send meth \(self[ServiceOptions.checkMethod].rawValue) uri \(path) \(version)",
            "http-check expect status \(self[ServiceOptions.checkStatus])",
        ]
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
