import Shared

extension HAProxySettings {
    /// The users of the stats page, and the listener where it is with `/metrics` and `/healthz`; it is there even with
    /// no service, so that the file never lacks a listener.
    ///
    /// `/healthz` is answered before anybody is asked for a password; a note is for whoever reads its answer.
    ///
    /// - Parameter other: where it is besides.
    func statsSections(_ shares: ConnectionShares?, note: String?, also other: BindAddress?) -> String {
        var text = ""
        if !statsUsers.isEmpty {
            text = HAProxyConfiguration.section("userlist \(HealthPage.section)", statsUsers.map(\.line)) + "\n"
        }
        return text
            + HAProxyConfiguration.section(
                "frontend \(HealthPage.section)", statsLines(shares, note: note, also: other))
    }

    private func statsLines(_ shares: ConnectionShares?, note: String?, also other: BindAddress?) -> [String] {
        var lines = ["mode http"] + [statsBind, other].compactMap { $0.map { "bind \($0.words)" } }
        lines += [
            "timeout client 30s", "timeout http-request 10s",
            // A browser that waits for the next refresh must not hold up a stop.
            "timeout http-keep-alive 1s",
        ]
        if let shares { lines.append("maxconn \(shares.ofStats)") }
        if abilities.idleCloseOnResponse { lines.append("option idle-close-on-response") }
        lines += HealthPage.lines
        if let note { lines += HealthPage.lines(saying: note) }
        if !statsUsers.isEmpty {
            lines.append("http-request auth realm docker-discover if !{ http_auth(\(HealthPage.section)) }")
        }
        if abilities.prometheus {
            lines.append("http-request use-service prometheus-exporter if { path /metrics }")
        }
        lines += ["stats enable", "stats uri /", "stats refresh 5s", "stats show-legends"]
        return lines + ["stats show-node \(host.name)", "stats show-desc '\(pageDescription)'"]
    }

    /// What the page says of itself, which HAProxy takes as HTML.
    private var pageDescription: String {
        let pages = (abilities.prometheus ? ["/metrics"] : []) + ["/healthz", "/;csv"]
        let links = pages.map { Self.link(to: $0, $0) }.joined(separator: " ")
        return "docker-discover \(Version.current) \(links)"
    }

    /// A link for the stats page.
    static func link(to target: String, _ text: String) -> String { "<a href=\"\(target)\">\(text)</a>" }
}

/// Who may see the stats page and `/metrics`.
struct StatsUser: Equatable, Sendable {
    /// The name.
    let name: String
    /// The password, which no log and no message shows.
    let password: String

    /// The longest name and the longest password, in bytes: a line of haproxy.cfg has 2048.
    private static let longest = 256

    /// The line of a `userlist`.
    var line: String { "user \(Self.quoted(name)) insecure-password \(Self.quoted(password))" }

    /// A line of haproxy.cfg for people and logs: without a password.
    static func masked(_ line: String) -> String {
        guard let keyword = line.firstRange(of: " insecure-password ") else { return line }
        return line[..<keyword.upperBound] + "***"
    }

    /// Between single quotes HAProxy takes every character as it is, as a shell does.
    private static func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }

    private init?(line: Substring) {
        guard let colon = line.firstIndex(of: ":") else { return nil }
        (name, password) = (String(line[..<colon]), String(line[colon...].dropFirst()))
        let parts = [name, password]
        guard parts.allSatisfy({ !$0.isEmpty && $0.utf8.count <= Self.longest }),
            line.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f })
        else { return nil }
    }
}

extension StatsUser {
    /// Why a file of users cannot be used.
    enum Failure: Error, Equatable {
        /// The system refused.
        case system(FileError)
        /// There is no such file.
        case missing(path: String)
        /// A line of it is wrong.
        case wrong(path: String, line: Int, why: String)
        /// It names nobody, and would so lock everybody out.
        case empty(path: String)
    }

    /// Reads a file of lines `user:password`; empty lines and those that begin with `#` do not count.
    static func read(_ path: String) throws(Failure) -> [StatsUser] {
        let text: String?
        do {
            text = try FileContents(path, limit: 1 << 16).text
        } catch {
            throw .system(error)
        }
        guard let text else { throw .missing(path: path) }
        return try parse(text, of: path)
    }

    /// Parses the text of such a file.
    static func parse(_ text: String, of path: String) throws(Failure) -> [StatsUser] {
        var users: [StatsUser] = []
        let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
        for (index, line) in lines.enumerated() where !line.isEmpty && line.first != "#" {
            guard let user = StatsUser(line: line) else {
                throw .wrong(path: path, line: index + 1, why: "it is not user:password, each of 1 to \(longest) bytes")
            }
            guard !users.contains(where: { $0.name == user.name }) else {
                throw .wrong(path: path, line: index + 1, why: "the user is there twice")
            }
            users.append(user)
        }
        if users.isEmpty { throw .empty(path: path) }
        return users
    }
}

extension StatsUser.Failure: CustomStringConvertible {
    /// One sentence for the log; it shows nothing of a line.
    var description: String {
        switch self {
        case .system(let error): error.description
        case .missing(let path): "there is no file \(path)"
        case .wrong(let path, let line, let why): "\(path), line \(line): \(why)"
        case .empty(let path): "\(path) names no user"
        }
    }
}
