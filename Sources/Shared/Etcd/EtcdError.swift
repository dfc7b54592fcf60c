extension Etcd {
    /// What a call to etcd failed with.
    package enum Error: Swift.Error, Equatable, Sendable {
        /// etcd refused the call; `message` is in its own words.
        case refused(Code, message: String)
        /// What answers there is not etcd's JSON gateway.
        case notEtcd(server: String, status: Int, text: String)
        /// The answer is not what the gateway is documented to send.
        case malformed(server: String, reason: String)
        /// The revisions that a watch wanted to go on from are gone; list again.
        case compacted(oldest: Int64)
        /// etcd ended the watch, for this reason.
        case watchCancelled(reason: String)
        /// The store is another one, or went back to an earlier state; list again.
        case storeReplaced(reason: String)
    }

    /// The gRPC status codes (https://grpc.io/docs/guides/status-codes/) that etcd uses.
    package struct Code: RawRepresentable, Hashable, Sendable {
        /// The number in the answer's `code` or `grpc_code` field.
        package let rawValue: Int

        /// Takes a number.
        package init(rawValue: Int) { self.rawValue = rawValue }

        /// A wrong argument; also the answer to a call without token while authentication is on.
        package static let invalidArgument = Code(rawValue: 3)
        /// No such lease.
        package static let notFound = Code(rawValue: 5)
        /// The user may not do this.
        package static let permissionDenied = Code(rawValue: 7)
        /// No room left in etcd's database, or too many requests.
        package static let resourceExhausted = Code(rawValue: 8)
        /// Authentication is not enabled; the lease exists.
        package static let failedPrecondition = Code(rawValue: 9)
        /// A compacted or future revision.
        package static let outOfRange = Code(rawValue: 11)
        /// No leader, shutting down.
        package static let unavailable = Code(rawValue: 14)
        /// A wrong or expired token.
        package static let unauthenticated = Code(rawValue: 16)
    }
}

extension Etcd {
    /// Whether an error stays until a person changes something: rights, a password, a certificate, room.
    package static func needsOperator(_ error: any Swift.Error) -> Bool {
        if case HTTPError.insecure? = error as? HTTPError { return true }
        guard case Error.refused(let code, _)? = error as? Error else { return false }
        let lasting: [Code] = [
            .invalidArgument, .permissionDenied, .resourceExhausted, .failedPrecondition, .unauthenticated,
        ]
        return lasting.contains(code)
    }

    /// Whether etcd answers, and only does not accept what is to be written: other errors, who reads logs as well.
    package static func isDeniedOrNoRoom(_ error: any Swift.Error) -> Bool {
        (error as? Error).map { $0.isDenied || $0.isNoRoom } ?? false
    }

    /// Whether an error is a loss of etcd already, and no break that passes at once: a person is needed, or an answer
    /// did not come within its limit.
    package static func isCertainLoss(_ error: any Swift.Error) -> Bool {
        switch error as? HTTPError {
        case .timedOut, .silent: true
        default: needsOperator(error)
        }
    }
}

extension Etcd.Error {
    /// Whether a lease is gone.
    package var isLeaseGone: Bool {
        if case .refused(.notFound, _) = self { true } else { false }
    }

    /// Whether the token, or that there is none, may be why etcd refused.
    ///
    /// Its versions have many codes and words for that; these codes alone show that it has looked at the request.
    var mayComeOfToken: Bool {
        guard case .refused(let code, _) = self else { return false }
        let ofRequest: [Etcd.Code] = [
            .notFound, .permissionDenied, .resourceExhausted, .failedPrecondition, .outOfRange,
        ]
        return !ofRequest.contains(code)
    }

    /// Whether the user may not do this.
    package var isDenied: Bool {
        if case .refused(.permissionDenied, _) = self { true } else { false }
    }

    /// Whether etcd has no room for what was to be written.
    package var isNoRoom: Bool {
        if case .refused(.resourceExhausted, _) = self { true } else { false }
    }

    /// Which setting is wrong or missing, where etcd's words alone do not tell.
    private static func advice(_ message: String) -> String {
        if message.contains("user name is empty") {
            "; etcd requires a login: set \(EtcdSettings.user.variable) and \(EtcdSettings.passwordFile.variable)"
        } else if message.contains("invalid user ID or password") {
            "; check \(EtcdSettings.user.variable) and \(EtcdSettings.passwordFile.variable)"
        } else {
            ""
        }
    }

    /// Whether another member may well answer the same call.
    var shouldTryNextMember: Bool {
        switch self {
        case .refused(let code, _): code == .unavailable || code.rawValue == 2
        case .notEtcd, .malformed: true
        case .compacted, .watchCancelled, .storeReplaced: false
        }
    }
}

extension Etcd.Error: CustomStringConvertible {
    /// One sentence for a log line.
    package var description: String {
        switch self {
        case .refused(_, let message): "etcd refused: \(message)\(Self.advice(message))"
        case .notEtcd(let server, let status, let text):
            "\(server) does not answer as etcd's v3 gateway does: status \(status) \(text)"
        case .malformed(let server, let reason): "\(server) answered with something else than documented: \(reason)"
        case .compacted(let oldest): "etcd has compacted the revisions before \(oldest)"
        case .watchCancelled(let reason): "etcd cancelled the watch: \(reason)"
        case .storeReplaced(let reason): "etcd's store was replaced: \(reason)"
        }
    }
}

extension HTTPError {
    /// Names the setting that is probably wrong, as libcurl's words do not.
    func advised(about member: HTTPOrigin) -> HTTPError {
        let hasCertificate = member.tls.certificate != nil
        switch self {
        case .insecure(let server, let reason) where reason.contains("alert"):
            let advice =
                hasCertificate
                ? "etcd rejects the client certificate in ETCD_CERT"
                : "etcd asks for a client certificate: set ETCD_CERT and ETCD_KEY"
            return .insecure(server, reason: "\(reason); \(advice)")
        case .insecure(let server, let reason) where reason.contains("issuer") || reason.contains("self"):
            return .insecure(server, reason: "\(reason); ETCD_CACERT must have the CA that signed etcd's certificate")
        case .broken(let server, _) where endedUnanswered && member.base.hasPrefix("https:"):
            let advice =
                hasCertificate
                ? "does it trust the client certificate in ETCD_CERT?"
                : "does it ask for a client certificate (ETCD_CERT and ETCD_KEY)?"
            return .broken(server, reason: "closed by etcd before it answered; \(advice)")
        case .broken(let server, let reason) where reason.contains("Empty reply"):
            let advice = "if this port is for TLS, ETCD_HOST needs https://"
            return .broken(server, reason: "closed by the server before it answered; \(advice)")
        default: return self
        }
    }
}
