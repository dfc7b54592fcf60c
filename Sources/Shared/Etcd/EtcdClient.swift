import FoundationEssentials
import Synchronization

extension Etcd {
    /// A client of etcd's v3 JSON gateway, for etcd 3.4 and newer.
    ///
    /// It stays with one member while that one answers and goes on to the next when it does not. For that a call may
    /// reach etcd twice, so all calls are of a kind that may: what a repeated transaction finds done it reports as not
    /// succeeded, and the caller reads.
    package final class Client: Sendable {
        let http: HTTPClient
        private let credentials: Credentials?
        private let directory: MemberDirectory
        private let session: Mutex<Session>

        private struct Session {
            var preferred: Int
            var login = Login()
        }

        /// The longest answer that is read, in bytes.
        static let answerCap = 64 << 20

        /// Makes a client.
        ///
        /// Nothing is sent before the first call.
        ///
        /// - Parameter first: which member to begin with, modulo their number; agents that choose at random spread
        ///   over the cluster.
        package init(_ http: HTTPClient, _ configuration: Configuration, first: Int = 0) {
            self.http = http
            credentials = configuration.credentials
            directory = MemberDirectory(configuration.members)
            session = Mutex(Session(preferred: Int(first.magnitude % UInt(Int.max))))
        }

        /// Calls a route of the gateway.
        ///
        /// - Parameters:
        ///   - route: the path below `/v3/`.
        ///   - deadline: the limit for all tries on all members together.
        /// - Throws: ``Etcd/Error``, ``HTTPError``, or `CancellationError`.
        func call(_ route: String, _ message: some Encodable, deadline: Duration) async throws -> [UInt8] {
            let body = [UInt8](try JSONEncoder().encode(message))
            return try await onMembers(deadline) { member, limit in
                try await self.call(route, body, on: member, deadline: limit)
            }
        }

        /// Calls a route on one member, with a login where needed.
        func call(
            _ route: String, _ body: [UInt8], on member: HTTPOrigin, deadline: Duration
        ) async throws -> [UInt8] {
            try await loggedIn(for: route, on: member, deadline) { headers, limit in
                let request = HTTPRequest(.post(body), "/v3/\(route)", headers: headers)
                let answer = try await self.http.send(request, to: member, deadline: limit, cap: Self.answerCap)
                guard answer.head.isSuccess else { throw Self.failure(answer.head, answer.body, from: member) }
                return answer.body
            }
        }

        /// Tries the members in turn, beginning with the one that answered last.
        func onMembers<Value: Sendable>(
            _ deadline: Duration, _ work: (HTTPOrigin, Duration) async throws -> Value
        ) async throws -> Value {
            let end = ContinuousClock.now + deadline
            let members = try await directory.members(limit: deadline)
            var last: any Swift.Error = HTTPError.timedOut("etcd", after: deadline)
            for round in 0..<members.count {
                let index = session.withLock { $0.preferred } % members.count
                let left = ContinuousClock.now.duration(to: end)
                guard left > .zero else { break }
                do {
                    return try await work(members[index], left / (members.count - round))
                } catch let error where Self.shouldTryNextMember(error) {
                    last = (error as? HTTPError)?.advised(about: members[index]) ?? error
                    leave(members[index])
                }
            }
            throw last
        }

        /// Goes on to the next member after one that has failed, unless somebody else already did.
        func leave(_ member: HTTPOrigin) {
            let members = directory.known
            session.withLock { session in
                guard !members.isEmpty, members[session.preferred % members.count] == member else { return }
                session.preferred = (session.preferred % members.count + 1) % members.count
            }
            directory.lookUpAgain()
        }

        private static func shouldTryNextMember(_ error: any Swift.Error) -> Bool {
            if let error = error as? Etcd.Error { return error.shouldTryNextMember }
            return error is HTTPError
        }

        /// The error that an answer without success carries.
        static func failure(_ head: HTTPHead, _ body: [UInt8], from member: HTTPOrigin) -> Etcd.Error {
            if let failure = try? JSONDecoder().decode(WireFailure.self, from: Data(body)), let error = failure.refusal
            {
                return error
            }
            let text = String(decoding: body.prefix(200), as: UTF8.self).trimmingASCIISpace()
            return .notEtcd(server: member.name, status: head.status, text: String(text))
        }

        /// Decodes an answer.
        static func decode<Answer: Decodable>(_ body: [UInt8], from server: String) throws -> Answer {
            do {
                return try JSONDecoder().decode(Answer.self, from: Data(body))
            } catch {
                throw Etcd.Error.malformed(server: server, reason: "\(error)")
            }
        }

        // MARK: Login

        /// Has the next call log in, with what a password file has now.
        package func logInAgain() { session.withLock { $0.login = Login() } }

        /// Works with a token where etcd asks for one, and gives the token up when it may be what fails (``Login``).
        ///
        /// - Parameter deadline: the limit for the work and the logins together.
        func loggedIn<Value: Sendable>(
            for route: String, on member: HTTPOrigin, _ deadline: Duration,
            _ work: ([(name: String, value: String)], Duration) async throws -> Value
        ) async throws -> Value {
            guard let credentials = credentials else { return try await work([], deadline) }
            let end = ContinuousClock.now + deadline
            func left() -> Duration { max(ContinuousClock.now.duration(to: end), .milliseconds(1)) }
            var token = session.withLock { $0.login.token }
            if token == .unknown { token = try await logIn(credentials, on: member, left()) }
            do {
                let value = try await work(Self.headers(token), left())
                session.withLock { $0.login.succeeded(route) }
                return value
            } catch let error as Etcd.Error where error.mayComeOfToken {
                switch session.withLock({ $0.login.refused(token, at: .now) }) {
                case .keep: throw error
                case .use(let newer): token = newer
                case .logIn: token = try await logIn(credentials, on: member, left())
                }
                let value = try await work(Self.headers(token), left())
                session.withLock { $0.login.helped(route) }
                return value
            } catch {
                // An answer about the request shows that the token is right, and what was not reached says nothing of it.
                if let error = error as? HTTPError, !error.isUnreachable {
                    session.withLock { $0.login.failed(route, with: token) }
                }
                throw error
            }
        }

        /// Fetches a token, which needs none. `POST /v3/auth/authenticate`
        private func logIn(
            _ credentials: Credentials, on member: HTTPOrigin, _ deadline: Duration
        ) async throws -> Login.Token {
            if let refusal = session.withLock({ $0.login.refusal(at: .now) }) { throw refusal }
            let message = WireAuthentication(name: credentials.user, password: credentials.newestPassword())
            let request = HTTPRequest(.post([UInt8](try JSONEncoder().encode(message))), "/v3/auth/authenticate")
            let answer = try await http.send(request, to: member, deadline: deadline, cap: 1 << 20)
            var token = Login.Token.unneeded
            if answer.head.isSuccess {
                let wire: WireToken = try Self.decode(answer.body, from: member.name)
                token = wire.token.map(Login.Token.token) ?? .unneeded
            } else {
                let error = Self.failure(answer.head, answer.body, from: member)
                // "authentication is not enabled": the login is not needed (yet).
                guard case .refused(.failedPrecondition, _) = error else {
                    session.withLock { $0.login.loginFailed(error, at: .now) }
                    throw error
                }
            }
            session.withLock { $0.login.took(token) }
            return token
        }

        private static func headers(_ token: Login.Token) -> [(name: String, value: String)] {
            // etcd takes the bare token; with "Bearer" in front it refuses.
            if case .token(let token) = token { [("Authorization", token)] } else { [] }
        }
    }
}

extension Etcd {
    /// A lease as etcd granted it.
    package struct Lease: Equatable, Sendable {
        /// Its number.
        package var id: Int64
        /// How long it lives without a keep-alive, in seconds.
        ///
        /// etcd raises what is below its minimum.
        package var ttl: Int64

        /// Names a lease.
        package init(id: Int64, ttl: Int64) {
            self.id = id
            self.ttl = ttl
        }
    }

    /// What etcd says of a lease.
    package struct LeaseState: Equatable, Sendable {
        /// Seconds that are left; nil where the lease is gone.
        package var remaining: Int64?
        /// The keys that go with it.
        package var keys: [[UInt8]]
    }
}

extension Etcd.Client {
    /// The TTLs that etcd grants, in seconds: anything else is no lease to rely on.
    private static let ttls: ClosedRange<Int64> = 1...9_000_000_000

    /// Grants a lease. `POST /v3/lease/grant`
    package func grantLease(ttl: Int64, deadline: Duration) async throws -> Etcd.Lease {
        let message = WireLeaseRequest(TTL: WireInteger(ttl))
        let answer: WireLeaseResponse = try Self.decode(
            try await call("lease/grant", message, deadline: deadline), from: "etcd")
        guard let id = answer.ID?.value, id != 0, let ttl = answer.TTL?.value, Self.ttls.contains(ttl) else {
            throw Etcd.Error.malformed(server: "etcd", reason: "a lease without ID, or without a possible TTL")
        }
        return Etcd.Lease(id: id, ttl: ttl)
    }

    /// Keeps a lease alive for another TTL; false where it is gone. `POST /v3/lease/keepalive`
    ///
    /// A lease that is gone is answered with success, but without TTL.
    package func keepAlive(lease: Int64, deadline: Duration) async throws -> Bool {
        let body = try await call("lease/keepalive", WireLeaseRequest(ID: WireInteger(lease)), deadline: deadline)
        let line: WireStreamLine<WireLeaseResponse> = try Self.decode(body, from: "etcd")
        if let error = line.error?.refusal { throw error }
        guard let result = line.result else {
            throw Etcd.Error.malformed(server: "etcd", reason: "a keep-alive without result")
        }
        let ttl = result.TTL?.value ?? 0
        guard ttl == 0 || Self.ttls.contains(ttl) else {
            throw Etcd.Error.malformed(server: "etcd", reason: "a lease with the TTL \(ttl)")
        }
        return ttl > 0
    }

    /// Asks how long a lease has left, and which keys it holds. `POST /v3/lease/timetolive`
    package func timeToLive(lease: Int64, deadline: Duration) async throws -> Etcd.LeaseState {
        let message = WireLeaseRequest(ID: WireInteger(lease), keys: true)
        let answer: WireLeaseResponse = try Self.decode(
            try await call("lease/timetolive", message, deadline: deadline), from: "etcd")
        let remaining = answer.TTL?.value ?? 0
        guard remaining <= Self.ttls.upperBound else {
            throw Etcd.Error.malformed(server: "etcd", reason: "a lease with \(remaining) s left")
        }
        return Etcd.LeaseState(
            remaining: remaining < 0 ? nil : remaining, keys: (answer.keys ?? []).map { [UInt8]($0) })
    }

    /// Deletes a key, or does nothing where there is none; also where etcd has no room left. `POST /v3/kv/deleterange`
    ///
    /// Old versions refuse every transaction then, one that only deletes as well.
    ///
    /// - Returns: the store's revision afterwards.
    package func delete(_ key: String, deadline: Duration) async throws -> Int64 {
        let answer: WireDeleteResponse = try Self.decode(
            try await call("kv/deleterange", WireDelete(key: Data(key.utf8)), deadline: deadline), from: "etcd")
        return answer.header?.revision?.value ?? 0
    }

    /// Revokes a lease; its keys go with it. `POST /v3/lease/revoke`
    package func revoke(lease: Int64, deadline: Duration) async throws {
        _ = try await call("lease/revoke", WireLeaseRequest(ID: WireInteger(lease)), deadline: deadline)
    }
}
