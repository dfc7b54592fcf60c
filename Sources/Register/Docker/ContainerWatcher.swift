import FoundationEssentials
import Shared

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
        }

        /// Prepares to follow the engine at `origin`.
        ///
        /// - Parameters:
        ///   - deadline: the limit of each request.
        ///   - resync: between two looks without events.
        ///   - stopMargin: for how long past its stop timeout a container that was told to stop counts as stopping.
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
        ///   - handOver: takes the newest list.
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
                    try await follow(client, events, &known) { look in
                        handOver(look)
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
            let nothing = EventHints.Named(containers: [], inNetworks: [], signals: [:], begun: [])
            return try await look(client, &known, nothing, isFull: true)
        }

        /// Looks at once, and again after each event and resync, until the stream or a look fails.
        private func follow(
            _ client: Client, _ events: HTTPStream, _ known: inout ContainerCache, _ handOver: (ContainerList) -> Void
        ) async throws {
            defer { events.close() }
            let bell = Doorbell<Reason>()
            let hints = EventHints()
            let listener = Task { try await Self.listen(to: events, hints, bell) }
            let clock = Task { try await bell.ring(.resync, every: resync) }
            var echo: Task<Void, any Swift.Error>?
            defer {
                listener.cancel()
                clock.cancel()
                echo?.cancel()
            }
            // Events have been missed: everything is inspected again.
            known.distrust()
            bell.ring(.resync)
            while let reasons = await bell.answer() {
                if reasons.contains(.failure) { _ = try await listener.value }
                let named = hints.take()
                // At once, from what is known: with many containers a list takes longer than a stop may take to show.
                if known.noteStops(named, margin: stopMargin, now: .now) { handOver(known.look) }
                handOver(try await look(client, &known, named, isFull: reasons.contains(.resync)))
                let now = ContinuousClock.now
                var pauses = known.followed.values.compactMap { $0.stop.map { now.duration(to: $0.until) } }
                // Also after a look without an event: it takes the place of the echo that an event has asked for.
                if reasons.contains(.event) || !named.containers.isEmpty { pauses.append(EventHints.lifetime) }
                if known.followed.values.contains(where: \.isUnreadable) { pauses.append(deadline) }
                guard let pause = pauses.min() else { continue }
                echo?.cancel()
                echo = Task {
                    try await Task.sleep(for: pause)
                    bell.ring(.echo)
                }
            }
            throw CancellationError()
        }

        private static func listen(to events: HTTPStream, _ hints: EventHints, _ bell: Doorbell<Reason>) async throws {
            defer { bell.ring(.failure) }
            for try await line in events {
                // A line that cannot be read still says that something happened.
                if let wire = try? JSONDecoder().decode(WireEvent.self, from: Data(line)) { hints.add(Event(wire)) }
                bell.ring(.event)
            }
            throw HTTPError.broken("docker", reason: "the stream of events ended")
        }

        // MARK: Looking

        /// Lists, and inspects what is new, changed, or was named by an event.
        ///
        /// - Parameter isFull: whether those that do not run are listed too; an engine takes long where there are many,
        ///   and the inspections tell as well which containers have ended or were removed.
        private func look(
            _ client: Client, _ known: inout ContainerCache, _ named: EventHints.Named, isFull: Bool
        ) async throws -> ContainerList {
            var next = known
            let changed = next.take(try await client.list(all: isFull), isFull: isFull, named)
            for (id, result) in try await inspect(changed, client) {
                switch result {
                case .success(let inspected): next.take(inspected, of: id)
                case .failure(let error):
                    guard next.takeFailure(of: id) else { continue }
                    logger.warning("cannot inspect a container", ["container": id.prefix(12), "error": "\(error)"])
                }
            }
            // Once more, as what was inspected may be a new life.
            next.noteStops(named, margin: stopMargin, now: .now)
            known = next
            return known.look
        }

        /// Inspects several containers side by side.
        ///
        /// An answer that makes no sense, or does not come, concerns its container alone.
        private func inspect(
            _ ids: Set<String>, _ client: Client
        ) async throws -> [(String, Result<Inspected, any Swift.Error>)] {
            try await withThrowingTaskGroup(of: (String, Result<Inspected, any Swift.Error>).self) { group in
                var results: [(String, Result<Inspected, any Swift.Error>)] = []
                for (index, id) in ids.sorted().enumerated() {
                    if index >= Self.sideBySide, let result = try await group.next() { results.append(result) }
                    group.addTask {
                        do {
                            return (id, .success(try await client.inspect(id)))
                        } catch let error as Docker.Error {
                            return (id, .failure(error))
                        } catch HTTPError.timedOut(let server, let limit) {
                            return (id, .failure(HTTPError.timedOut(server, after: limit)))
                        }
                    }
                }
                for try await result in group { results.append(result) }
                return results
            }
        }

        /// How many containers are inspected at the same time.
        private static let sideBySide = 8
    }
}

extension Docker {
    /// What the log is told of an engine that goes and comes: each once.
    ///
    /// An engine, or a proxy before it, that ends its streams of events soon after they began would be back at each of
    /// them. After the second one in a row it counts as lost until a stream has lasted.
    struct EngineConnection: Equatable {
        /// From when on a stream has lasted.
        let shortestStream: Duration
        /// Whether the engine counts as lost, which the log was told.
        private(set) var isLost = false
        /// The streams in a row that ended soon after a look.
        private var shortStreams = 0

        /// Begins with an engine that is there.
        init(shortestStream: Duration) { self.shortestStream = shortestStream }

        /// Whether the engine ends its streams again and again.
        var isFlapping: Bool { shortStreams > 1 }

        /// Says that a look has succeeded, in a stream that has lasted for `age` so far.
        ///
        /// - Returns: whether the log is to be told that the engine is back.
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
        /// - Returns: whether the log is to be told that the engine is lost.
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
