import FoundationEssentials

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
        let message: WireStreamLine<WireWatchAnswer> = try Etcd.Client.decode(line, from: member.name)
        if let error = message.error?.refusal { throw error }
        guard let answer = message.result else {
            throw Etcd.Error.malformed(server: member.name, reason: "neither result nor error in a watch")
        }
        return try take(answer)
    }

    /// Reads one answer.
    private mutating func take(_ answer: WireWatchAnswer) throws -> Etcd.Changes? {
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
                let decoded: WireRangeAnswer = try Etcd.Client.decode(answer, from: member.name)
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

extension WireWatchAnswer.Event {
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
