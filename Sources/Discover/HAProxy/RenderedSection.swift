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
    fileprivate init(_ listener: ProxyPlan.Listener, _ abilities: HAProxyAbilities, _ texts: inout ServerTexts) {
        service = listener.service
        let title = "listen \(listener.service)"
        head =
            "\n" + (listener.written?.head ?? HAProxyConfiguration.section(title, listener.head(abilities)))
        lines = listener.written?.servers ?? listener.servers.map { texts.line($0) }
        text = lines.reduce(into: head) { text, line in text += "    server \(line.id) \(line.words)\n" }
    }
}

/// The sections of an earlier configuration, so that those of services which did not change are not made again.
struct SectionMemory {
    private var known: [ServiceName: (of: ProxyPlan.Listener, section: RenderedSection)] = [:]
    private var texts = ServerTexts()

    /// Makes an empty one.
    init() {}

    /// The sections of a plan, all of one HAProxy.
    mutating func sections(of plan: ProxyPlan, _ abilities: HAProxyAbilities) -> [RenderedSection] {
        let before = known
        known = [:]
        texts.prune()
        return plan.listeners.map { listener in
            if let old = before[listener.service], old.of == listener {
                // With the newer listener, which later ones share their servers with: those are equal at a glance.
                known[listener.service] = (listener, old.section)
                return old.section
            }
            let section = RenderedSection(listener, abilities, &texts)
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
