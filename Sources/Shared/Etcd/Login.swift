extension Etcd {
    /// What is known of the login of one client: the token, and when to give it up.
    ///
    /// A token is given up when etcd refuses a request that had it, in whatever words, or when two requests of one
    /// route in a row fail with it in whatever other way: after a restore from a snapshot etcd waits for the raft index
    /// in which a token ends, and says nothing. The next login then waits longer each time, unless the last one helped.
    struct Login: Sendable {
        /// What goes with each call.
        enum Token: Equatable, Sendable {
            /// To be fetched.
            case unknown
            /// etcd asks for none.
            case unneeded
            /// Sent with every call.
            case token(String)
        }

        /// What follows a refusal.
        enum Step: Equatable {
            /// Nothing: the last login is too short ago.
            case keep
            /// Somebody else has logged in meanwhile.
            case use(Token)
            /// A login.
            case logIn
        }

        /// The token.
        private(set) var token = Token.unknown
        private var failures: [String: Int] = [:]
        private var backoff = Backoff(first: .milliseconds(100), limit: .seconds(5))
        private var due: ContinuousClock.Instant?
        /// Why the last login failed.
        private var refusal: Etcd.Error?

        /// Failures of a route in a row after which a token is given up.
        private static let mostFailures = 2

        /// Notes that a request succeeded.
        mutating func succeeded(_ route: String) { failures[route] = nil }

        /// Notes that a request succeeded after the login that its refusal led to.
        mutating func helped(_ route: String) {
            succeeded(route)
            backoff.reset()
        }

        /// Notes that a request failed without an answer of etcd's.
        mutating func failed(_ route: String, with token: Token) {
            guard token == self.token else { return }
            failures[route, default: 0] += 1
            if failures[route] == Self.mostFailures { (self.token, failures) = (.unknown, [:]) }
        }

        /// Notes that etcd refused a request with this token.
        mutating func refused(_ token: Token, at now: ContinuousClock.Instant) -> Step {
            if self.token != token, self.token != .unknown { return .use(self.token) }
            guard due.map({ now >= $0 }) ?? true else { return .keep }
            due = now + backoff.next()
            return .logIn
        }

        /// Why no login is tried now; nil where one may be.
        func refusal(at now: ContinuousClock.Instant) -> Etcd.Error? {
            due.map { now < $0 } ?? false ? refusal : nil
        }

        /// Notes that etcd refused a login.
        mutating func loginFailed(_ error: Etcd.Error, at now: ContinuousClock.Instant) {
            (token, refusal, due) = (.unknown, error, now + backoff.next())
        }

        /// Notes a login.
        mutating func took(_ token: Token) { (self.token, refusal, failures) = (token, nil, [:]) }
    }
}
