import Shared

/// One service's section of haproxy.cfg.
///
/// It never changes; configurations share it.
final class RenderedSection: Sendable {
    /// The service.
    let service: ServiceName
    /// The section without its servers, which only a reload changes; it begins with an empty line.
    let head: String
    /// Its servers.
    let lines: [ServerLine]
    /// The whole section.
    let text: String

    /// Renders a listener.
    fileprivate init(_ listener: ProxyPlan.Listener, _ settings: HAProxySettings, _ texts: inout ServerTexts) {
        service = listener.service
        let title = "listen \(listener.service)"
        head =
            "\n" + (listener.written?.head ?? HAProxyConfiguration.section(title, listener.head(settings)))
        lines = listener.written?.servers ?? listener.servers.map { texts.line($0) }
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
struct SectionMemory {
    private var known: [ServiceName: (of: ProxyPlan.Listener, section: RenderedSection)] = [:]
    private var texts = ServerTexts()

    /// Makes an empty one.
    init() {}

    /// The sections of a plan, all of one HAProxy on one host.
    mutating func sections(of plan: ProxyPlan, _ settings: HAProxySettings) -> [RenderedSection] {
        let before = known
        known = [:]
        texts.prune()
        return plan.listeners.map { listener in
            if let old = before[listener.service], old.of == listener {
                // With the newer listener, which later ones share their servers with: those are equal at a glance.
                known[listener.service] = (listener, old.section)
                return old.section
            }
            let section = RenderedSection(listener, settings, &texts)
            known[listener.service] = (listener, section)
            return section
        }
    }
}

/// The texts of keywords, so that servers with equal ones share theirs.
private struct ServerTexts {
    private var known: [ServerKeywords: String] = [:]

    mutating func line(_ server: ProxyPlan.Server) -> ServerLine {
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
struct MarkDigest {
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
