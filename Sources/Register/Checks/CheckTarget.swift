import Shared

/// Something that the agent itself checks before it registers it, and while it is registered: an endpoint in one life
/// of what is behind it.
///
/// Targets that differ in anything have results of their own.
struct CheckTarget: Hashable, Sendable {
    /// What is tried.
    enum Probe: Hashable, Sendable {
        /// To connect.
        case tcp
        /// To ask for a path.
        case http(HTTPProbe)
    }

    /// A request, and the answers that are good.
    struct HTTPProbe: Hashable, Sendable {
        /// What is asked for.
        var path: HTTPPath
        /// How.
        var method: CheckMethod
        /// The `Host` header; nil for the endpoint itself.
        var host: HostHeader?
        /// The statuses that pass.
        var statuses: StatusCodes?

        /// Whether a status passes; 200 to 399 do where nothing is said.
        func passes(_ status: Int) -> Bool {
            guard let statuses else { return (200...399).contains(status) }
            return statuses.ranges.contains { $0.contains(status) }
        }
    }

    /// Whose endpoint it is, and since when: what was found out does not outlive a restart.
    var life: String
    /// Where it is checked: as other hosts reach it.
    var endpoint: Endpoint
    /// What is tried.
    var probe: Probe
    /// Between two checks.
    var interval: Duration
    /// The limit of one check.
    var timeout: Duration
    /// How many checks in a row have to pass before it is registered.
    var rise: Int
    /// How many failures in a row withdraw it.
    var fall: Int

    /// What is to be checked of an endpoint; nil where nothing is.
    ///
    /// - Parameter options: what else is said of the endpoint: host, method and statuses of the check count here too.
    init?(life: String, endpoint: Endpoint, _ check: RegistrationCheck, _ options: ServiceOptions) {
        switch check.check ?? ServiceCheck.none {
        case .none: return nil
        case .tcp: probe = .tcp
        case .http(let path):
            probe = .http(
                HTTPProbe(
                    path: path, method: options.checkMethod ?? .get, host: options.checkHost,
                    statuses: options.checkStatus))
        }
        self.life = life
        self.endpoint = endpoint
        interval = check.interval ?? .seconds(2)
        timeout = check.timeout ?? .seconds(1)
        rise = check.rise ?? 1
        fall = check.fall ?? 3
    }
}

/// Why a check has failed.
enum CheckFailure: Error, Hashable, Sendable {
    /// There was no connection, for this reason.
    case noConnection(String)
    /// The whole check took longer than its limit.
    case noAnswer(within: Duration)
    /// The answer has a status that does not pass.
    case status(Int)
    /// The connection ended before there was an answer, or what came is not HTTP, for this reason.
    case broken(String)
}

extension CheckFailure: CustomStringConvertible {
    /// A few words for a log line.
    var description: String {
        switch self {
        case .noConnection(let reason): "no connection: \(reason)"
        case .noAnswer(let limit): "no answer within \(DurationText.text(limit))"
        case .status(let status): "HTTP status \(status)"
        case .broken(let reason): "no answer: \(reason)"
        }
    }
}

/// How the agent itself checks a port before it registers it, and while it is registered.
///
/// nil means that nothing is said.
struct RegistrationCheck: Hashable, Sendable {
    /// What is tried; nil or ``ServiceCheck/none`` for no check.
    var check: ServiceCheck?
    /// Between two checks.
    var interval: Duration?
    /// The limit of one check.
    var timeout: Duration?
    /// How many checks in a row have to pass before the port is registered.
    var rise: Int?
    /// How many failures in a row withdraw it.
    var fall: Int?

    /// This check, with what `other` says instead where it says something.
    func overridden(by other: RegistrationCheck) -> RegistrationCheck {
        RegistrationCheck(
            check: other.check ?? check, interval: other.interval ?? interval, timeout: other.timeout ?? timeout,
            rise: other.rise ?? rise, fall: other.fall ?? fall)
    }
}
