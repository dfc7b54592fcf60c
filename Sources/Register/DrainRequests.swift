import Shared
import Synchronization

/// What people ask of the running agent, for its loop to answer.
final class DrainRequests: Sendable {
    /// One request.
    struct Request: Sendable {
        /// What to do.
        enum Kind: Equatable, Sendable {
            /// Withdraw it, and have consumers confirm that.
            case drain(confirm: Bool)
            /// Let it come back.
            case undrain
        }

        /// What to do.
        var kind: Kind
        /// With which container.
        var container: InstanceID
        /// What came of it.
        let outcome = Promise<Outcome>()
    }

    /// What came of a request.
    enum Outcome: Equatable, Sendable {
        /// The registry has it.
        ///
        /// - Parameter revision: that of the withdrawal; nil where nothing was registered.
        case done(revision: Int64?)
    }

    private let waiting = Mutex<[Request]>([])

    /// Adds a request.
    func put(_ request: Request) { waiting.withLock { $0.append(request) } }

    /// Takes all that came since the last time.
    func take() -> [Request] {
        waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
    }
}
