import FoundationEssentials
import Shared

/// The installed HAProxy: where it is and what it can do.
struct HAProxyProgram: Sendable {
    /// Its path.
    let path: String
    /// Its version.
    let version: HAProxyVersion
    /// What this build can do.
    let abilities: HAProxyFeatures

    /// Why there is none to work with.
    enum Failure: Error, Equatable {
        /// No such program.
        case missing(name: String)
        /// It runs, but is no HAProxy.
        case foreign(path: String)
        /// It is too old.
        case tooOld(path: String, HAProxyVersion)
        /// It does not end when it is asked for its version.
        case silent(path: String, after: Duration)
    }

    /// HAProxy's refusal of a file, in its own words.
    struct Rejection: Error, Equatable {
        /// The lines that say why.
        let alerts: [String]
    }

    /// The limit for each call of the program, which takes 0.4 s for 10 000 servers.
    static let deadline = Duration.seconds(15)

    /// The limit for its version, which takes some milliseconds; what is no HAProxy may never end.
    static let versionDeadline = Duration.seconds(5)

    /// Finds the program and tries what it can do.
    ///
    /// - Parameters:
    ///   - name: a path, or a name that is looked for in `searchPath` and where Debian installs daemons.
    ///   - scratch: a file that may be overwritten.
    ///   - limit: for its version.
    static func probe(
        _ name: String, searchPath: String, scratch: AtomicFile, limit: Duration = versionDeadline
    ) async throws -> HAProxyProgram {
        guard let path = find(name, in: searchPath) else { throw Failure.missing(name: name) }
        let build: [String]
        do {
            build = try await Program(path, ["-vv"]).run(deadline: limit).lines
        } catch ProgramError.tookTooLong {
            throw Failure.silent(path: path, after: limit)
        }
        guard let version = HAProxyVersion(output: build) else { throw Failure.foreign(path: path) }
        guard version >= .oldest else { throw Failure.tooOld(path: path, version) }
        let services = build.first { $0.hasPrefix("Available services") } ?? ""
        let (idleClose, verify) = ("option idle-close-on-response", "httpclient.ssl.verify none")
        // Nearly every build knows them all.
        let knowsAll = try await accepts(verify, idleClose, path, scratch)
        let knowsIdleClose = knowsAll ? true : try await accepts("", idleClose, path, scratch)
        let knowsVerify = knowsAll ? true : try await accepts(verify, "", path, scratch)
        return HAProxyProgram(
            path: path, version: version,
            abilities: HAProxyFeatures(
                idleCloseOnResponse: knowsIdleClose, prometheus: services.contains("prometheus-exporter"),
                httpClientVerify: knowsVerify, tls: build.contains(where: Self.tellsTLS)))
    }

    /// Whether a line of `haproxy -vv` says that the build has TLS, from 3.2 on without naming the library.
    private static func tellsTLS(_ line: String) -> Bool {
        line.hasPrefix("Built with OpenSSL") || line.hasPrefix("Built with SSL library")
    }

    /// Has HAProxy check a file; throws ``Refusal`` where it would not start with it.
    func check(_ file: String) async throws {
        let outcome = try await Program(path, ["-c", "-f", file]).run(deadline: Self.deadline)
        if !outcome.isSuccess { throw Rejection(lines: outcome.lines) }
    }

    /// The path of a program; names are looked up as a shell does.
    static func find(_ name: String, in searchPath: String) -> String? {
        let candidates: [String]
        if name.contains("/") {
            candidates = [name]
        } else {
            let folders = searchPath.split(separator: ":").map(String.init) + usualFolders
            candidates = folders.map { "\($0)/\(name)" }
        }
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    /// PATH may lack those of daemons, and in a container there may be none.
    private static let usualFolders = [
        "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
    ]

    private static func accepts(
        _ global: String, _ line: String, _ path: String, _ scratch: AtomicFile
    ) async throws -> Bool {
        let text = """
            global
                \(global)
            frontend -probe
                mode http
                bind 127.0.0.1:1
                timeout client 1s
                \(line)

            """
        let candidate = try scratch.candidate(Array(text.utf8))
        defer { candidate.discard() }
        return try await Program(path, ["-c", "-f", candidate.path]).run(deadline: deadline).isSuccess
    }
}

extension HAProxyProgram.Rejection: CustomStringConvertible {
    /// Takes what HAProxy printed; where it printed no alert, its last lines have to do.
    init(lines: [String]) {
        let printed = lines.map(HAProxyLine.init)
        let alerts = printed.filter { $0.level == .alert }.map(\.text)
        // The last ones only say that there were some.
        let reasons = alerts.filter { !$0.contains("rrors found in configuration") && !$0.contains("rror(s) found in") }
        let told = reasons.isEmpty ? alerts : reasons
        self.init(alerts: told.isEmpty ? printed.suffix(3).map(\.text) : Array(told.prefix(10)))
    }

    /// The alerts in one line.
    var description: String { alerts.isEmpty ? "HAProxy gave no reason" : alerts.joined(separator: "; ") }
}

extension HAProxyProgram.Failure: CustomStringConvertible {
    /// One sentence for the person who starts the program.
    var description: String {
        switch self {
        case .missing(let name): "HAPROXY: there is no program \(name); install haproxy or give its path"
        case .foreign(let path): "HAPROXY: \(path) does not say its version as HAProxy does"
        case .tooOld(let path, let version):
            "HAPROXY: \(path) is HAProxy \(version); \(HAProxyVersion.oldest) or newer is needed"
        case .silent(let path, let limit):
            "HAPROXY: '\(path) -vv' did not end within \(DurationText.text(limit)) and was killed; is it HAProxy?"
        }
    }
}

/// A version of HAProxy, as far as it decides what can be used.
struct HAProxyVersion: Equatable, Comparable, Sendable, CustomStringConvertible {
    /// The first number.
    let major: Int
    /// The second number; even ones are supported for long.
    let minor: Int

    /// The oldest that docker-discover works with: the first whose servers can be changed while it runs.
    static let oldest = HAProxyVersion(major: 2, minor: 4)

    /// `2.6`.
    var description: String { "\(major).\(minor)" }

    /// Makes one.
    init(major: Int, minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Finds it in what `haproxy -v` prints: `HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/`.
    init?(output: some Sequence<String>) {
        for line in output {
            let words = line.split(separator: " ")
            guard words.count >= 3, words[0] == "HAProxy" || words[0] == "HA-Proxy", words[1] == "version" else {
                continue
            }
            // 3.3-dev4 and 2.6.12-1 alike.
            let numbers = words[2].split { !$0.isNumber }.compactMap { Int($0) }
            guard numbers.count >= 2 else { return nil }
            self.init(major: numbers[0], minor: numbers[1])
            return
        }
        return nil
    }

    /// Orders by age.
    static func < (left: HAProxyVersion, right: HAProxyVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }
}
