import FoundationEssentials

extension Etcd.Client {
    /// Watches all keys that begin with `prefix` for changes after `revision`. `POST /v3/watch`
    ///
    /// - Parameters:
    ///   - start: the first key, where the range begins before the prefix; nil for the prefix.
    ///   - revision: the revision of the listing that the changes are applied to.
    ///   - clusterID: the cluster of that listing; nil to accept any.
    ///   - timing: the limits.
    ///   - onInterruption: called with the reason each time that a connection is lost or cannot be made; the watch goes
    ///     on trying.
    package func watch(
        prefix: String, from start: String? = nil, after revision: Int64, of clusterID: String? = nil,
        timing: Etcd.Watch.Timing = .init(),
        onInterruption: @escaping @Sendable (any Swift.Error) -> Void = { _ in }
    ) -> Etcd.Watch {
        Etcd.Watch(
            client: self, prefix: prefix, start: start ?? prefix, revision: revision, clusterID: clusterID,
            timing: timing,
            onInterruption: onInterruption)
    }

    /// Opens the stream of one watch on the first member that answers.
    func openWatch(_ watch: Etcd.Watch, after revision: Int64) async throws -> WatchConnection {
        let create = WireWatchRequest.Create(
            key: Data(watch.start.utf8), range_end: Data(Self.end(of: watch.prefix)),
            start_revision: WireInteger(min(revision, .max - 1) + 1))
        let body = [UInt8](try JSONEncoder().encode(WireWatchRequest(create_request: create)))
        return try await onMembers(watch.timing.deadline) { member, limit in
            try await self.loggedIn(for: "watch", on: member, limit) { headers, limit in
                // Without the header a member that lost the quorum keeps the watch open and silent.
                let headers = headers + [("Grpc-Metadata-hasleader", "true")]
                let stream = try await self.http.stream(
                    HTTPRequest(.post(body), "/v3/watch", headers: headers), to: member, deadline: limit,
                    longestLine: Self.answerCap)
                guard stream.head.isSuccess else { throw try await Self.failure(of: stream, from: member, limit) }
                return WatchConnection(self, watch, stream, member, revision: revision)
            }
        }
    }

    /// The error in the first line of a stream without success.
    private static func failure(
        of stream: HTTPStream, from member: HTTPOrigin, _ limit: Duration
    ) async throws -> Etcd.Error {
        let line = try await withDeadline(limit) {
            var lines = stream.makeAsyncIterator()
            return try await lines.next() ?? []
        }
        return failure(stream.head, line, from: member)
    }
}

extension Etcd {
    /// The changes below a prefix, from one revision on, without gap or repetition.
    ///
    /// The iterator connects, and connects again for ever at the next revision when a connection is lost, is found
    /// dead, or its member has no leader. Each time that it is connected it delivers changes without events. It throws
    /// ``Etcd/Error/compacted(oldest:)``, ``Etcd/Error/watchCancelled(reason:)`` or
    /// ``Etcd/Error/storeReplaced(reason:)``, after which only a new listing helps, and `CancellationError`. It never
    /// ends otherwise.
    package struct Watch: AsyncSequence, Sendable {
        /// The limits of a watch.
        package struct Timing: Sendable {
            /// For opening the stream, and for each periodic read.
            package var deadline: Duration
            /// Between the periodic reads that find out whether the member is alive; etcd itself says nothing for ten
            /// minutes.
            package var probeInterval: Duration
            /// The longest wait between two tries to connect.
            package var retryLimit: Duration
            /// Over how long clients spread that find no member which takes them, so that they do not all come at the
            /// moment of etcd's return.
            package var spread: @Sendable () -> Duration

            /// Takes limits.
            package init(
                deadline: Duration = .seconds(5), probeInterval: Duration = .seconds(10),
                retryLimit: Duration = .milliseconds(500), spread: @escaping @Sendable () -> Duration = { .zero }
            ) {
                self.deadline = deadline
                self.probeInterval = probeInterval
                self.retryLimit = retryLimit
                self.spread = spread
            }
        }

        let client: Client
        let prefix: String
        let start: String
        let revision: Int64
        let clusterID: String?
        let timing: Timing
        let onInterruption: @Sendable (any Swift.Error) -> Void

        /// Begins the watch.
        package func makeAsyncIterator() -> Iterator { Iterator(self) }

        /// The reader of a watch.
        package struct Iterator: AsyncIteratorProtocol {
            private let watch: Watch
            private var revision: Int64
            private var connection: WatchConnection?
            private var backoff: Backoff
            private var cancellations = 0

            init(_ watch: Watch) {
                self.watch = watch
                revision = watch.revision
                backoff = Backoff(first: .milliseconds(50), limit: watch.timing.retryLimit)
            }

            /// Waits for the next changes; never nil.
            package mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws -> Changes? {
                while true {
                    do {
                        return try await nextFromConnection()
                    } catch let error where Self.isPassing(error) {
                        try await interrupted(by: error)
                    } catch Error.watchCancelled where cancellations == 0 {
                        // An expired token looks like this: a read logs in again where that helps.
                        cancellations += 1
                        connection = nil
                        _ = try? await watch.client.range(watch.probe, deadline: watch.timing.deadline)
                    }
                }
            }

            private mutating func nextFromConnection() async throws -> Changes {
                if connection == nil { connection = try await watch.client.openWatch(watch, after: revision) }
                while true {
                    if let changes = try await connection?.next() {
                        revision = changes.revision
                        if !changes.events.isEmpty {
                            backoff.reset()
                            cancellations = 0
                        }
                        return changes
                    }
                }
            }

            private mutating func interrupted(by error: any Swift.Error) async throws {
                try Task.checkCancellation()
                var spread = Duration.zero
                if let connection {
                    // Where only its member has gone, another one takes the watch at the next try.
                    watch.client.leave(connection.member)
                    if connection.isSeasoned { backoff.reset() }
                } else {
                    spread = watch.timing.spread() * Double.random(in: 0...1)
                }
                connection = nil
                watch.onInterruption(error)
                try await Task.sleep(for: Swift.max(backoff.next(), spread))
            }

            private static func isPassing(_ error: any Swift.Error) -> Bool {
                switch error as? Etcd.Error {
                case .compacted, .watchCancelled, .storeReplaced: false
                case .refused, .notEtcd, .malformed: true
                case nil: error is HTTPError || error is DeadlineExceeded
                }
            }
        }

        /// A read of as good as nothing that takes the cluster's agreement.
        var probe: WireRangeRequest { WireRangeRequest(key: Data(prefix.utf8)) }
    }
}

/// One connection of a watch: reads its lines while a prober finds out whether its member is still alive.
struct WatchConnection: Sendable {
    let member: HTTPOrigin
    private let watch: Etcd.Watch
    private let since = ContinuousClock.now
    private let prober: WatchProber
    private var lines: HTTPStream.Iterator
    private var revision: Int64
    private var fragments: [Etcd.Event] = []

    init(_ client: Etcd.Client, _ watch: Etcd.Watch, _ stream: HTTPStream, _ member: HTTPOrigin, revision: Int64) {
        self.member = member
        self.watch = watch
        self.revision = revision
        lines = stream.makeAsyncIterator()
        prober = WatchProber(client, watch, stream, member, revision)
    }

    /// Whether it has lived long enough that its loss is no sign of a member that takes connections only to drop them.
    var isSeasoned: Bool { ContinuousClock.now - since > .seconds(5) }

    /// Waits for the next line; nil where it changes nothing.
    mutating func next() async throws -> Etcd.Changes? {
        guard let line = try await lines.next() else {
            throw HTTPError.broken(member.name, reason: "the watch ended")
        }
        let message: WireStreamLine<WireWatchResponse> = try Etcd.Client.decode(line, from: member.name)
        if let error = message.error?.refusal { throw error }
        guard let answer = message.result else {
            throw Etcd.Error.malformed(server: member.name, reason: "neither result nor error in a watch")
        }
        return try take(answer)
    }

    /// Reads one answer.
    private mutating func take(_ answer: WireWatchResponse) throws -> Etcd.Changes? {
        if answer.canceled == true {
            if let oldest = answer.compact_revision?.value, oldest > 0 { throw Etcd.Error.compacted(oldest: oldest) }
            throw Etcd.Error.watchCancelled(reason: answer.cancel_reason ?? "no reason given")
        }
        try watch.checkStore(answer.header, reached: revision)
        if answer.created == true { return Etcd.Changes(revision: revision, events: []) }
        fragments += (answer.events ?? []).map(\.event)
        guard answer.fragment != true, !fragments.isEmpty else { return nil }
        defer { fragments = [] }
        revision = fragments.map(\.revision).reduce(revision, max)
        return Etcd.Changes(revision: revision, events: fragments)
    }
}

/// Asks a watch's member from time to time, and closes the stream when it no longer answers reads or answers from
/// another store.
///
/// Letting go of it closes the stream too.
final class WatchProber: Sendable {
    private let stream: HTTPStream
    private let task: Task<Void, Never>

    init(_ client: Etcd.Client, _ watch: Etcd.Watch, _ stream: HTTPStream, _ member: HTTPOrigin, _ revision: Int64) {
        self.stream = stream
        task = Task { await Self.probe(client, watch, stream, member, revision) }
    }

    deinit {
        task.cancel()
        stream.close()
    }

    private static func probe(
        _ client: Etcd.Client, _ watch: Etcd.Watch, _ stream: HTTPStream, _ member: HTTPOrigin, _ revision: Int64
    ) async {
        guard let body = try? JSONEncoder().encode(watch.probe) else { return }
        while true {
            do {
                try await Task.sleep(for: watch.timing.probeInterval)
                let answer = try await client.call(
                    "kv/range", [UInt8](body), on: member, deadline: watch.timing.deadline)
                let decoded: WireRangeResponse = try Etcd.Client.decode(answer, from: member.name)
                try watch.checkStore(decoded.header, reached: revision)
            } catch {
                if !(error is CancellationError) { stream.close(error) }
                return
            }
        }
    }
}

extension Etcd.Watch {
    /// Throws where an answer comes from another cluster, or from a store that is behind what was already seen.
    func checkStore(_ header: WireHeader?, reached revision: Int64) throws {
        if let clusterID, let answering = header?.clusterID, answering != clusterID {
            throw Etcd.Error.storeReplaced(reason: "cluster \(answering) answers instead of \(clusterID)")
        }
        if let current = header?.revision?.value, current < revision {
            throw Etcd.Error.storeReplaced(reason: "it is at revision \(current), after it had been at \(revision)")
        }
    }
}

extension WireWatchResponse.Event {
    /// The event; `type` is left out for puts.
    var event: Etcd.Event {
        type == "DELETE" ? .delete(key: kv.keyValue.key, modRevision: kv.keyValue.modRevision) : .put(kv.keyValue)
    }
}

extension Etcd.Event {
    /// The revision of the change.
    package var revision: Int64 {
        switch self {
        case .put(let keyValue): keyValue.modRevision
        case .delete(_, let revision): revision
        }
    }

    /// The key that changed.
    package var key: [UInt8] {
        switch self {
        case .put(let keyValue): keyValue.key
        case .delete(let key, _): key
        }
    }
}
