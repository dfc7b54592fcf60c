import Shared

/// One server as HAProxy is told of it, in haproxy.cfg or through the runtime API.
struct ServerLine: Sendable {
    /// The instance, which gives the server its name.
    let id: InstanceID
    /// Its address; the runtime API changes it.
    var endpoint: Endpoint
    /// Its share; the runtime API changes it.
    var weight: Int
    /// How many connections it takes, 0 for no limit; the runtime API changes it.
    var maxConnections: Int
    /// The keywords that only a new server takes; nil where they are not known, which no other line equals.
    let fixed: String?
    /// Whether it takes no traffic before its first check has passed.
    ///
    /// That is no keyword, so a file does not tell it again.
    var startsDown = false

    /// Makes the line of a server.
    ///
    /// - Parameter fixed: what ``ServerKeywords/fixed`` gives, so that equal ones share their text.
    init(_ server: DesiredState.Server, fixed: String) {
        id = server.id
        endpoint = server.endpoint
        weight = server.keywords.weight
        maxConnections = server.keywords.maxConnections ?? 0
        startsDown = server.keywords.startsDown
        self.fixed = server.keywords.hasCookie ? "cookie \(id) \(fixed)" : fixed
    }

    /// Makes one of a server of which HAProxy tells only this.
    init(id: InstanceID, endpoint: Endpoint, weight: Int) {
        self.id = id
        self.endpoint = endpoint
        self.weight = weight
        maxConnections = 0
        fixed = nil
    }

    /// Reads the words of a line that an earlier run wrote, without `server`; nil for a line that it did not.
    init?(words: some Collection<Substring>) {
        var rest = Array(words)
        guard rest.count >= 4, rest[2] == "weight", let id = InstanceID(rest[0]), let endpoint = Endpoint(rest[1]),
            let weight = Int(rest[3])
        else { return nil }
        rest.removeFirst(4)
        var limit = 0
        if rest.count >= 2, rest[0] == "maxconn", let number = Int(rest[1]) {
            limit = number
            rest.removeFirst(2)
        }
        self.id = id
        self.endpoint = endpoint
        self.weight = weight
        maxConnections = limit
        fixed = rest.joined(separator: " ")
    }

    /// The words that follow `add server`, without the name.
    var words: String {
        var text = ""
        write(to: &text, without: "")
        return text
    }

    /// Adds the words that follow `server`, without the name and those that end the line and are said elsewhere.
    func write(to text: inout String, without end: Substring) {
        // Thousands are written at a time, and interpolations take several times as long.
        text += endpoint.description
        text += " weight "
        text += String(weight)
        if maxConnections > 0 { text += " maxconn \(maxConnections)" }
        let rest = (fixed ?? "").utf8.dropLast(end.isEmpty ? 0 : end.utf8.count + 1)
        if rest.isEmpty { return }
        text += " "
        text += Substring(rest)
    }

    /// Whether a cookie keeps clients at it.
    var hasCookie: Bool { fixed?.hasPrefix("cookie ") == true }

    /// The words about its check, which end the line; nil where it is not checked.
    var check: Substring? {
        guard let fixed else { return nil }
        return fixed.split(separator: " ").first { $0 == "check" }.map { fixed[$0.startIndex...] }
    }

    /// Whether it is checked.
    var isChecked: Bool { check != nil }

    /// Whether a server that runs by one line can be changed to the other while it runs.
    func isChangeable(to other: ServerLine) -> Bool { fixed != nil && fixed == other.fixed }
}

extension ServerLine: Equatable {
    /// Whether the two say the same of a server.
    static func == (left: ServerLine, right: ServerLine) -> Bool {
        left.id == right.id && left.endpoint == right.endpoint && left.weight == right.weight
            && left.maxConnections == right.maxConnections && left.isChangeable(to: right)
    }
}
