import Shared

/// An HAProxy that docker-discover works with: one of its own, or one that something else runs.
///
/// Attaching to it is a throwing initializer. It finds out who serves and has files loaded; what a worker runs, and which
/// commands it is given, is the same for both, and ``HAProxyController``'s.
protocol HAProxyInstance: Sendable {
    /// How it is reached.
    var access: HAProxyAccess { get }

    /// What is known without asking its worker: that it does not run, and who starts it, or that it does.
    var presence: KnownState { get }

    /// Looks who serves; returns whether that is somebody else than before, or nobody any more.
    mutating func look() async -> Bool

    /// Returns when somebody else than at the last look serves, or nobody any more.
    func changed() async throws

    /// Starts it with a file, or has it load one without losing a connection.
    ///
    /// Only a worker that says that it has loaded the file counts. Whatever fails, the file before it is in place then.
    mutating func load(_ request: LoadRequest) async throws -> LoadOutcome

    /// Leaves it: ends it within the grace period, if it is docker-discover's own.
    func stop(grace: Duration) async
}

/// What is to be loaded, and what may stand in for it at a start.
struct LoadRequest: Sendable {
    /// What is to be loaded.
    let next: HAProxyConfiguration
    /// The file that is in place; nil where it is not known.
    var inPlace: HAProxyConfiguration?
    /// The newest that a worker has loaded, so that it needs no check.
    var accepted: HAProxyConfiguration?
    /// What is started, in this order, where it is not to be started with what is wanted.
    var fallbacks: [HAProxyConfiguration] = []
}

/// What came of a load.
enum LoadOutcome: Sendable {
    /// A worker has loaded a configuration; where that is not the one that was asked for, HAProxy rejected it.
    case loaded(HAProxyWorker, HAProxyConfiguration, rejection: (any Error)?)
    /// Nothing runs, and it is to be tried again after this time; the file is in place if it is given.
    case waiting(Duration, file: HAProxyConfiguration? = nil)
}

/// Why a start or a reload did not come to its end.
enum LoadFailure: Error, Equatable {
    /// HAProxy said no and goes on as before, or ended.
    case refused([String])
    /// It neither confirmed nor refused in time: what it runs is not known.
    case unconfirmed(after: Duration)

    /// Throws where a master's answer to `reload` says that it failed; before 2.7 there is none.
    static func check(_ answer: String) throws(LoadFailure) {
        guard answer.hasPrefix("Success=0") else { return }
        throw .refused(HAProxyProgram.Rejection(lines: answer.split(separator: "\n").map(String.init)).alerts)
    }
}

extension LoadFailure: CustomStringConvertible {
    /// One sentence for the log.
    var description: String {
        switch self {
        case .refused(let alerts): HAProxyProgram.Rejection(alerts: alerts).description
        case .unconfirmed(let limit): "HAProxy did not confirm within \(limit)"
        }
    }
}
