import FoundationEssentials
import Shared
import Synchronization

extension Docker {
    /// Follows one engine and hands over the newest whole list of its running containers.
    ///
    /// It subscribes to the events first and lists then; every event only makes it look again. It lists again after
    /// each `resync` and each lost connection, and never gives up. A failed look hands nothing over.
    struct ContainerWatcher: Sendable {
        private let http: HTTPClient
        private let origin: HTTPOrigin
        private let deadline: Duration
        private let resync: Duration
        private let stopMargin: Duration
        private let shortestStream: Duration
        private let logger: Logger

        /// Why to look again.
        private enum Reason: Hashable {
            case event
            case echo
            case resync
            case failure
            /// A container has been inspected.
            case inspected
            /// An inspection may have taken long.
            case patience
        }

        /// Prepares to follow the engine at `origin`.
        ///
        /// - Parameters:
        ///   - deadline: the limit of each request.
        ///   - resync: between two lists without events.
        ///   - stopMargin: for how long past its stop timeout a container that got its stop signal counts as stopping.
        ///   - shortestStream: a stream of events that ends after more than this is no loss yet: proxies end each one
        ///     after some minutes.
        init(
            _ http: HTTPClient, _ origin: HTTPOrigin, deadline: Duration, resync: Duration,
            stopMargin: Duration = .seconds(5), shortestStream: Duration = .seconds(5), logger: Logger
        ) {
            self.shortestStream = shortestStream
            self.stopMargin = stopMargin
            self.http = http
            self.origin = origin
            self.deadline = deadline
            self.resync = resync
            self.logger = logger
        }

        /// Follows the engine until the task is cancelled.
        ///
        /// - Parameters:
        ///   - handOver: is called with the newest list.
        ///   - lose: is called when the engine does not answer any more, with the error.
        func run(
            handOver: @escaping @Sendable (ContainerList) -> Void,
            lose: @escaping @Sendable (any Swift.Error) -> Void = { _ in }
        ) async throws {
            // Short, so that everything is right again within a second of the engine's return.
            var backoff = Backoff(first: .milliseconds(50), limit: .milliseconds(400))
            var loss = EngineConnection(shortestStream: shortestStream)
            var known = ContainerCache()
            while true {
                let begin = ContinuousClock.now
                var hasLooked = false
                do {
                    let client = try await Client.connect(http, origin, deadline: deadline)
                    let events = try await client.events()
                    try await follow(client, events, &known) { list in
                        handOver(list)
                        if loss.looked(inStreamOf: .now - begin) {
                            logger.info("Docker Engine reachable again", ["engine": origin.name])
                        }
                        hasLooked = true
                        if !loss.isFlapping { backoff.reset() }
                    }
                } catch {
                    try Task.checkCancellation()
                    if loss.ended(after: .now - begin, hasLooked: hasLooked) {
                        logger.warning(
                            "Docker Engine unreachable; keeping what is registered",
                            ["engine": origin.name, "error": "\(error)"])
                        lose(error)
                    } else {
                        logger.debug("following the Docker Engine again", ["error": "\(error)"])
                    }
                }
                try await Task.sleep(for: backoff.next())
            }
        }

        /// Looks once, at everything.
        func once(_ client: Client) async throws -> ContainerList {
            var known = ContainerCache()
            let found = known.update(with: try await client.list(all: true), isFull: true, .nothing)
            try await withThrowingTaskGroup(of: Inspection.self) { group in
                for (index, id) in found.sorted().enumerated() {
                    if index >= Self.sideBySide, let next = try await group.next() { try apply(next, to: &known) }
                    group.addTask { await Self.inspect(id, client) }
                }
                for try await next in group { try apply(next, to: &known) }
            }
            return known.list
        }

        /// How many containers are inspected side by side by ``once(_:)``.
        private static let sideBySide = 8

        /// Looks at once, and again after each event and resync, until the stream or a list fails.
        ///
        /// Containers are inspected beside the loop, so that one that hangs delays no other.
        private func follow(
            _ client: Client, _ events: HTTPStream, _ known: inout ContainerCache, _ handOver: (ContainerList) -> Void
        ) async throws {
            defer { events.close() }
            let bell = Doorbell<Reason>()
            let hints = EventHints()
            let finished = Finished()
            var inspections = InspectionQueue()
            var (named, isNew, handedOver) = (EventHints.Named.nothing, false, ContinuousClock.now)
            let listener = Task { try await Self.listen(to: events, hints, bell) }
            let clock = Task { try await bell.ring(.resync, every: resync) }
            var alarms: [Reason: Task<Void, any Swift.Error>] = [:]
            defer {
                listener.cancel()
                clock.cancel()
                for alarm in alarms.values { alarm.cancel() }
            }
            func ring(_ reason: Reason, in pause: Duration) {
                alarms[reason]?.cancel()
                alarms[reason] = Task {
                    try await Task.sleep(for: pause)
                    bell.ring(reason)
                }
            }
            // Events have been missed: everything is inspected again.
            known.distrust()
            bell.ring(.resync)
            try await withThrowingDiscardingTaskGroup { group in
                defer { group.cancelAll() }
                while let reasons = await bell.answer() {
                    if reasons.contains(.failure) { _ = try await listener.value }
                    let fresh = hints.take()
                    named = named.followed(by: fresh, keeping: inspections.ids)
                    for inspection in finished.take() {
                        inspections.end(inspection.id)
                        try apply(inspection, to: &known)
                        isNew = true
                    }
                    // At once, from what is known: with many containers a list takes longer than a stop may.
                    if known.recordStops(named, margin: stopMargin, now: .now) { handOver(known.list) }
                    if !reasons.isSubset(of: [.inspected, .patience]) {
                        let isFull = reasons.contains(.resync)
                        let changed = known.update(with: try await client.list(all: isFull), isFull: isFull, fresh)
                        inspections.add(changed, of: known.followed.keys)
                        isNew = true
                    }
                    for id in inspections.begin(now: .now) {
                        group.addTask {
                            finished.put(await Self.inspect(id, client))
                            bell.ring(.inspected)
                        }
                    }
                    let now = ContinuousClock.now
                    known.recordStops(named, margin: stopMargin, now: now)
                    let isSettled = inspections.isSettled(now: now)
                    if isNew, isSettled || now - handedOver > Self.longestSilence {
                        handOver(known.list)
                        (isNew, handedOver) = (false, now)
                    }
                    if !isSettled { ring(.patience, in: InspectionQueue.patience) }
                    var pauses = known.followed.values.compactMap { $0.stop.map { now.duration(to: $0.until) } }
                    // Also after a look without an event: it takes the place of the echo that an event has asked for.
                    if reasons.contains(.event) || !fresh.containers.isEmpty { pauses.append(EventHints.lifetime) }
                    if known.followed.values.contains(where: \.isUnreadable) { pauses.append(deadline) }
                    if let pause = pauses.min() { ring(.echo, in: pause) }
                }
                throw CancellationError()
            }
        }

        /// What is known is handed over in any case after this time, although there is more to be inspected.
        private static let longestSilence = Duration.milliseconds(500)

        private static func listen(to events: HTTPStream, _ hints: EventHints, _ bell: Doorbell<Reason>) async throws {
            defer { bell.ring(.failure) }
            for try await line in events {
                // A line that cannot be read still says that something happened.
                if let wire = try? JSONDecoder().decode(WireEvent.self, from: Data(line)) { hints.add(Event(wire)) }
                bell.ring(.event)
            }
            throw HTTPError.broken("docker", reason: "the stream of events ended")
        }

        // MARK: Inspecting

        /// What came of the inspection of a container.
        private struct Inspection: Sendable {
            var id: String
            var result: Result<Inspected, any Swift.Error>
        }

        /// The inspections that have ended since the loop asked last.
        private final class Finished: Sendable {
            private let all = Mutex<[Inspection]>([])

            func put(_ inspection: Inspection) { all.withLock { $0.append(inspection) } }

            func take() -> [Inspection] {
                all.withLock { all in
                    defer { all = [] }
                    return all
                }
            }
        }

        private static func inspect(_ id: String, _ client: Client) async -> Inspection {
            do {
                return Inspection(id: id, result: .success(try await client.inspect(id)))
            } catch {
                return Inspection(id: id, result: .failure(error))
            }
        }

        /// An answer that makes no sense, breaks off or does not come concerns its container alone.
        private func apply(_ inspection: Inspection, to known: inout ContainerCache) throws {
            switch inspection.result {
            case .success(let inspected): known.update(with: inspected, of: inspection.id)
            case .failure(let error as CancellationError): throw error
            case .failure(HTTPError.unreachable(let server, let reason, let code)):
                throw HTTPError.unreachable(server, reason: reason, code: code)
            case .failure(let error):
                guard known.recordFailure(of: inspection.id) else { return }
                let container = inspection.id.prefix(12)
                logger.warning("cannot inspect a container", ["container": container, "error": "\(error)"])
            }
        }
    }
}

extension Docker {
    /// Whether an engine is lost, as the log has it: each change once.
    ///
    /// An engine, or a proxy before it, that ends its streams of events soon after they began would be back at each of
    /// them. After the second one in a row it counts as lost until a stream has lasted.
    struct EngineConnection: Equatable {
        /// From when on a stream has lasted.
        let shortestStream: Duration
        /// Whether the engine counts as lost, which is in the log.
        private(set) var isLost = false
        /// The streams in a row that ended soon after a look.
        private var shortStreams = 0

        /// Begins with an engine that is there.
        init(shortestStream: Duration) { self.shortestStream = shortestStream }

        /// Whether the engine ends its streams again and again.
        var isFlapping: Bool { shortStreams > 1 }

        /// Says that a look has succeeded, in a stream that has lasted for `age` so far.
        ///
        /// - Returns: whether to log that the engine is back.
        mutating func looked(inStreamOf age: Duration) -> Bool {
            if age > shortestStream { shortStreams = 0 }
            guard isLost, !isFlapping else { return false }
            isLost = false
            return true
        }

        /// Says that a stream has ended, or that there was none.
        ///
        /// - Parameters:
        ///   - age: how long the stream lasted.
        ///   - hasLooked: whether a look succeeded in it.
        /// - Returns: whether to log that the engine is lost.
        mutating func ended(after age: Duration, hasLooked: Bool) -> Bool {
            if hasLooked, age > shortestStream {
                shortStreams = 0
                return false
            }
            if hasLooked { shortStreams += 1 }
            guard !isLost else { return false }
            isLost = true
            return true
        }
    }
}
