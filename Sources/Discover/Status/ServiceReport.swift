import Shared

/// What is known of one service, as `--json` prints it.
struct ServiceReport: Encodable, Equatable, Sendable {
    /// Whether it is served.
    enum State: String, Encodable, Sendable {
        /// HAProxy listens for it.
        case served
        /// HAProxy does not listen for it yet.
        case pending
        /// It has no listener; the problems say why.
        case leftOut
        /// It should be served, and HAProxy does not answer.
        case unknown
    }

    /// A listener port that the service keeps.
    struct Claim: Encodable, Equatable, Sendable {
        /// The port.
        var port: UInt16
        /// The port that it asked for then.
        var wish: UInt16
        /// The revision of the claim.
        var revision: Int64
    }

    /// Its name.
    var name: String
    /// Whether it is served.
    var state: State
    /// Where HAProxy listens for it, or should; nil where it has no listener.
    var listener: String?
    /// The port that it asks for.
    var port: UInt16
    /// Who names that port: its config, its port key, or its endpoints.
    var portFrom: String
    /// The claim of a port, where there is one.
    var claim: Claim?
    /// What HAProxy understands of its connections.
    var mode: String
    /// How they are spread.
    var balance: String
    /// How its endpoints are checked.
    var check: String
    /// What an operator's config says of it, by field.
    var config: [String: String]
    /// What is wrong with it, or was not understood.
    var problems: [ProblemReport]
    /// Its endpoints, by id.
    var endpoints: [EndpointReport]

    /// Whether connections to it come to an endpoint.
    var isRouted: Bool { state == .served && endpoints.contains { $0.state == .serving } }
}

/// Something that is wrong, as `--json` prints it.
struct ProblemReport: Encodable, Equatable, Sendable {
    /// A key, a service, or a setting.
    var of: String
    /// What is wrong, and what would be right.
    var problem: String
    /// Whether a service is not reachable where it should be, before somebody acts.
    var severe: Bool
}

extension ProblemReport {
    /// Takes a problem.
    init(_ problem: Problem) {
        self.init(of: problem.subject, problem: problem.explanation, severe: problem.isSevere)
    }
}
