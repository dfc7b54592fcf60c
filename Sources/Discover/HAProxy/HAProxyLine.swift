/// One line that HAProxy printed: `[WARNING]  (4529) : Server whoami/1 is DOWN, reason: ...`.
struct HAProxyLine: Equatable, Sendable {
    /// How much it matters, as HAProxy sees it.
    enum Level: String, Sendable {
        case notice = "NOTICE"
        case warning = "WARNING"
        case alert = "ALERT"
    }

    /// Its level; notice for a line without.
    let level: Level

    /// The line without level and process id.
    let text: String

    /// Takes a line apart.
    init(_ line: String) {
        guard line.first == "[", let bracket = line.firstIndex(of: "]"),
            let level = Level(rawValue: String(line[..<bracket].dropFirst()))
        else {
            (self.level, text) = (.notice, line)
            return
        }
        var rest = line[bracket...].dropFirst().drop { $0 == " " }
        if rest.first == "(", let end = rest.firstIndex(of: ")") {
            rest = rest[end...].dropFirst().drop { $0 == " " || $0 == ":" }
        }
        (self.level, text) = (level, String(rest))
    }

    /// Whether it only tells of what each reload and each stop brings: workers that stop listening, and go.
    var isRoutine: Bool {
        text.hasPrefix("Proxy ") && text.contains(" stopped (")
            || text.contains(" worker (") && text.contains(" exited with code 0 ")
            || text.hasPrefix("Exiting Master process") || text.hasPrefix("All workers exited")
    }
}
