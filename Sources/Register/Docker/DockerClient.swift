import FoundationEssentials
import Shared

extension Docker {
    /// A client of one engine, after the API version was negotiated.
    struct Client: Sendable {
        private let http: HTTPClient
        private let origin: HTTPOrigin
        private let deadline: Duration
        /// The version that all requests name.
        let version: Version
        /// Whether Podman answers, which knows fewer filters.
        let isPodman: Bool

        /// Longest answers and lines, in bytes.
        private static let answerCap = 64 << 20
        private static let longestEvent = 1 << 20

        /// The limit of one inspection.
        ///
        /// A container whose lock is stuck must not hold the others up for long.
        private static let inspectionLimit = Duration.seconds(2)

        /// Finds out which version the engine speaks. `GET /_ping`
        ///
        /// - Parameter deadline: the limit of this and of each later request.
        /// - Throws: ``Docker/Error``, or `CancellationError`.
        static func connect(_ http: HTTPClient, _ origin: HTTPOrigin, deadline: Duration) async throws -> Client {
            let answer = try await ping("", http, origin, deadline)
            guard answer.head.isSuccess else { throw refusal("/_ping", answer.head, answer.body) }
            let said = answer.head.headers["api-version"] ?? ""
            guard let offered = Version(said), let known = Version.negotiated(with: offered) else {
                throw Error.tooOld(server: origin.name, version: said.isEmpty ? "of no known number" : said)
            }
            var version = known
            if offered > known {
                // Engines give up what is old, and what the agent reads is in all versions so far.
                // A proxy before it may not let this question pass, though it lets pass what follows.
                let isGivenUp = try? await ping("/v\(known)", http, origin, deadline).head.status == 400
                try Task.checkCancellation()
                if isGivenUp == true { version = offered }
            }
            let isPodman = answer.head.headers["libpod-api-version"] != nil
            return Client(http: http, origin: origin, deadline: deadline, version: version, isPodman: isPodman)
        }

        /// Asks whether the engine is there, in front of all else that it can refuse. `GET /_ping`
        private static func ping(
            _ version: String, _ http: HTTPClient, _ origin: HTTPOrigin, _ deadline: Duration
        ) async throws -> HTTPResponse {
            do {
                let request = HTTPRequest(.get, version + "/_ping")
                return try await http.send(request, to: origin, deadline: deadline, cap: 1 << 20)
            } catch let error as HTTPError {
                throw Error(error, origin)
            }
        }

        /// Who the engine is. `GET /info`
        func identity() async throws -> Identity {
            let info: WireInfo = try await get("/info")
            let boot = (try? FileContents("/proc/sys/kernel/random/boot_id").text)?.split(separator: "\n").first
            let place = boot.flatMap { boot in info.DockerRootDir.map { "\(boot) \($0)" } }
            return Identity(id: info.ID ?? "", name: info.Name ?? "", place: place ?? "")
        }

        /// Lists the containers that run, are paused or restart, or all of them. `GET /containers/json`
        func list(all: Bool = false) async throws -> [Listed] {
            let wire: [WireListed] = try await get("/containers/json" + (all ? "?all=1" : ""))
            return wire.map(Listed.init)
        }

        /// One container in full. `GET /containers/{id}/json`
        func inspect(_ id: String) async throws -> Inspected {
            do {
                let wire: WireContainer = try await get("/containers/\(id)/json", within: Self.inspectionLimit)
                return try wire.inspected()
            } catch Error.refused(_, status: 404, _) {
                return .gone
            }
        }

        /// What happens from now on, one line of JSON for each event. `GET /events`
        ///
        /// The engine sends nothing while nothing happens.
        func events() async throws -> HTTPStream {
            var filters = ["type": ["container", "network"]]
            // Each health check makes three exec events. Podman refuses names that it does not know.
            if !isPodman { filters["event"] = Self.eventNames }
            let json = String(decoding: try JSONEncoder().encode(filters), as: UTF8.self)
            let route = "/events?filters=\(Self.escaped(json))"
            let stream = try await http.stream(
                HTTPRequest(.get, path(route)), to: origin, deadline: deadline, longestLine: Self.longestEvent)
            guard stream.head.isSuccess else {
                let line = try await withDeadline(deadline) {
                    var lines = stream.makeAsyncIterator()
                    return try await lines.next() ?? []
                }
                throw Self.refusal("/events", stream.head, line)
            }
            return stream
        }

        private static let eventNames = [
            "start", "die", "stop", "kill", "oom", "pause", "unpause", "restart", "rename", "update", "destroy",
            "health_status", "connect", "disconnect",
        ]

        private func get<Answer: Decodable>(_ route: String, within limit: Duration? = nil) async throws -> Answer {
            let limit = min(limit ?? deadline, deadline)
            let answer = try await http.send(
                HTTPRequest(.get, path(route)), to: origin, deadline: limit, cap: Self.answerCap)
            guard answer.head.isSuccess else { throw Self.refusal(route, answer.head, answer.body) }
            do {
                return try JSONDecoder().decode(Answer.self, from: Data(answer.body))
            } catch {
                throw Error.malformed(route: route, reason: "\(error)")
            }
        }

        private func path(_ route: String) -> String { "/v\(version)\(route)" }

        /// Error bodies are JSON, but plain text where an old engine refuses a version.
        private static func refusal(_ route: String, _ head: HTTPHead, _ body: [UInt8]) -> Error {
            let wire = try? JSONDecoder().decode(WireError.self, from: Data(body))
            let firstLine = body.prefix(200).prefix { $0 != UInt8(ascii: "\n") }
            return .refused(
                route: route, status: head.status, message: wire?.message ?? String(decoding: firstLine, as: UTF8.self))
        }

        /// Percent-encodes everything but the unreserved characters of RFC 3986.
        static func escaped(_ text: String) -> String {
            let digits = Array("0123456789ABCDEF".unicodeScalars)
            var escaped = String.UnicodeScalarView()
            for byte in text.utf8 {
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: "~"):
                    escaped.append(Unicode.Scalar(byte))
                default:
                    escaped.append(contentsOf: ["%", digits[Int(byte >> 4)], digits[Int(byte & 15)]])
                }
            }
            return String(escaped)
        }
    }
}

extension Docker.Error {
    /// Says what to do about a connection that could not be made.
    init(_ error: HTTPError, _ origin: HTTPOrigin) {
        var reason = "\(error)"
        var code: Int32 = 0
        if case .unreachable(_, let words, let number) = error { (reason, code) = (words, number) }
        let advice =
            switch SystemError(code).kind {
            case .forbidden:
                "run docker-register as root, or as a member of the group that owns the socket (docker)"
            case .missing: "is Docker installed and running? DOCKER_HOST names another socket"
            case .refused: "nothing listens there: is Docker running? DOCKER_HOST names another socket"
            case .exhausted: "raise the limit of open files (ulimit -n, or LimitNOFILE= of systemd)"
            case .other: error.isInsecure ? "check the files in DOCKER_CERT_PATH" : "check DOCKER_HOST"
            }
        self = .unusable(server: origin.name, reason: reason, advice: advice)
    }
}
