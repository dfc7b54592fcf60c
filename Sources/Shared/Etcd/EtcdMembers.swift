import Synchronization

extension Etcd {
    /// Where the members of the cluster are: a list, or where they are looked up.
    package struct Members: Hashable, Sendable {
        /// What `ETCD_HOST` says.
        enum Source: Hashable, Sendable {
            /// These.
            case listed([HTTPOrigin])
            /// Those that SRV records of a domain name, as `etcdctl --discovery-srv` finds them.
            case records(domain: String)
            /// This host's router, which for a container is the host, on a port.
            case gateway(Port)
        }

        let source: Source
        /// The files for TLS.
        let tls: HTTPOrigin.TLS
        /// Whether nothing without TLS counts.
        let isSecure: Bool

        /// Takes what says where they are.
        init(_ source: Source, tls: HTTPOrigin.TLS = HTTPOrigin.TLS(), isSecure: Bool = false) {
            (self.source, self.tls, self.isSecure) = (source, tls, isSecure)
        }

        /// Takes a list.
        package init(_ endpoints: [HTTPOrigin]) { self.init(.listed(endpoints)) }

        /// As people are told.
        package var names: [String] {
            switch source {
            case .listed(let members): members.map(\.name)
            case .records(let domain): ["srv:\(domain)"]
            case .gateway(let port): ["gateway:\(port)"]
            }
        }

        /// Looks them up now.
        ///
        /// - Throws: ``HTTPError`` where nobody knows any, or `CancellationError`.
        package func lookUp(limit: Duration) async throws -> [HTTPOrigin] {
            if case .listed(let members) = source { return members }
            do {
                return try await onOwnThread(limit: limit) { find() }.get()
            } catch is DeadlineExceeded {
                throw HTTPError.timedOut(description, after: limit)
            }
        }

        /// Looks them up on the calling thread, which blocks.
        fileprivate func find() -> Result<[HTTPOrigin], HTTPError> {
            switch source {
            case .listed(let members): .success(members)
            case .records(let domain): records(of: domain)
            case .gateway(let port):
                if let address = DefaultGateway.find() {
                    .success([
                        .tcp("\(isSecure ? "https" : "http")://\(Endpoint(address: address, port: port))", tls: tls)
                    ])
                } else {
                    .failure(unknown("there is no default route"))
                }
            }
        }

        /// Those of TLS, if there are any; and only those where TLS is asked for.
        ///
        /// Name servers cannot be trusted: over TLS the certificate has to be that of the domain which was asked for.
        private func records(of domain: String) -> Result<[HTTPOrigin], HTTPError> {
            for (service, scheme) in [("etcd-client-ssl", "https"), ("etcd-client", "http")] {
                guard scheme == "https" || !isSecure else { break }
                switch ServiceRecord.lookUp("_\(service)._tcp.\(domain)") {
                case .failure(let failure): return .failure(unknown("\(failure)"))
                case .success(let records):
                    let members = records.filter { EtcdSettings.isHostName($0.target) }.map { record in
                        let place = "\(record.target):\(record.port)"
                        return scheme == "http"
                            ? HTTPOrigin.tcp("http://\(place)")
                            : HTTPOrigin.tcp("https://\(domain):\(record.port)", at: place, tls: tls)
                    }
                    if !members.isEmpty { return .success(members) }
                }
            }
            let names = isSecure ? "_etcd-client-ssl._tcp" : "_etcd-client-ssl._tcp and _etcd-client._tcp"
            return .failure(unknown("there are no SRV records \(names) of \(domain)"))
        }

        private func unknown(_ reason: String) -> HTTPError {
            .unreachable(description, reason: reason, code: 0)
        }
    }
}

extension Etcd.Members: CustomStringConvertible {
    /// The names with commas between them.
    package var description: String { names.joined(separator: ",") }
}

/// The members as they are known, which are looked up again after one of them has failed.
final class MemberDirectory: Sendable {
    private typealias Answer = Result<[HTTPOrigin], HTTPError>

    private struct State {
        var known: [HTTPOrigin] = []
        /// The look-up that runs.
        var lookUp: Future<Answer>?
        /// When the next one may begin.
        var due = ContinuousClock.now
    }

    private let source: Etcd.Members
    private let state = Mutex(State())

    /// Between two look-ups.
    private static let pause = Duration.seconds(1)

    /// Knows a list from the beginning, and nothing else.
    init(_ source: Etcd.Members) {
        self.source = source
        if case .listed(let members) = source.source { state.withLock { $0.known = members } }
    }

    /// Those that are known; empty before the first look-up.
    var known: [HTTPOrigin] { state.withLock { $0.known } }

    /// Those that are known, or else those that are found.
    func members(limit: Duration) async throws -> [HTTPOrigin] {
        let known = known
        if !known.isEmpty { return known }
        let answer = try begin()
        do {
            return try await withDeadline(limit) { try await answer.get() }.get()
        } catch is DeadlineExceeded {
            throw HTTPError.timedOut("\(source)", after: limit)
        }
    }

    /// Looks them up for the calls to come, and keeps nobody waiting: what is known may still be right.
    func lookUpAgain() {
        if case .listed = source.source { return }
        guard state.withLock({ $0.lookUp == nil && $0.due <= .now }) else { return }
        _ = try? begin()
    }

    /// Begins a look-up, unless one runs.
    private func begin() throws -> Future<Answer> {
        let (answer, isNew) = state.withLock { state in
            if let running = state.lookUp { return (running, false) }
            let answer = Future<Answer>()
            (state.lookUp, state.due) = (answer, .now + Self.pause)
            return (answer, true)
        }
        guard isNew else { return answer }
        let isStarted = BackgroundThread.start { [self] in
            let found = source.find()
            state.withLock { state in
                state.lookUp = nil
                if case .success(let members) = found { state.known = members }
            }
            answer.complete(found)
        }
        guard isStarted else {
            state.withLock { $0.lookUp = nil }
            throw NoThreadLeft()
        }
        return answer
    }
}
