import FoundationEssentials
import Shared

extension Docker {
    /// Follows one engine and hands over the newest whole list of its running containers.
    ///
    /// It subscribes to the events first and lists then; every event only makes it look again. It lists again after
    /// each `resync` and each lost connection, and never gives up. A failed look hands nothing over.
    struct ContainerSource: Sendable {
        private let http: HTTPClient
        private let origin: HTTPOrigin
        private let deadline: Duration
        private let resync: Duration
        private let stopMargin: Duration
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
        init(
            _ http: HTTPClient, _ origin: HTTPOrigin, deadline: Duration, resync: Duration,
            stopMargin: Duration = .seconds(5), logger: Logger
        ) {
            self.stopMargin = stopMargin
            self.http = http
            self.origin = origin
            self.deadline = deadline
            self.resync = resync
            self.logger = logger
        }

        /// Follows the engine until the task is cancelled.
        ///
        /// - Parameter handOver: takes the newest list.
        func run(handOver: @escaping @Sendable (Look) -> Void) async throws {
            // Short, so that everything is right again within a second of the engine's return.
            var backoff = Backoff(first: .milliseconds(50), limit: .milliseconds(400))
            var isLost = false
            var known: [String: Known] = [:]
            while true {
                do {
                    let client = try await Client.connect(http, origin, deadline: deadline)
                    let events = try await client.events()
                    try await follow(client, events, &known) { look in
                        handOver(look)
                        if isLost { logger.info("docker engine is back", ["engine": origin.name]) }
                        isLost = false
                        backoff.reset()
                    }
                } catch {
                    try Task.checkCancellation()
                    if !isLost {
                        logger.warning(
                            "docker engine is lost; keeping what is registered and trying again",
                            ["engine": origin.name, "error": "\(error)"])
                    }
                    isLost = true
                }
                try await Task.sleep(for: backoff.next())
            }
        }

        /// Looks at once, and again after each event and resync, until the stream or a look fails.
        private func follow(
            _ client: Client, _ events: HTTPStream, _ known: inout [String: Known], _ handOver: (Look) -> Void
        ) async throws {
            defer { events.close() }
            let bell = Doorbell<Reason>()
            let hints = Hints()
            let listener = Task { try await Self.listen(to: events, hints, bell) }
            let clock = Task { try await bell.ring(.resync, every: resync) }
            var echo: Task<Void, any Swift.Error>?
            defer {
                listener.cancel()
                clock.cancel()
                echo?.cancel()
            }
            // Events have been missed: everything is inspected again.
            for id in known.keys { known[id]?.listed = nil }
            bell.ring(.resync)
            while let reasons = await bell.answer() {
                if reasons.contains(.failure) { _ = try await listener.value }
                let named = hints.take()
                // At once, from what is known: with many containers a list takes longer than a stop may take to show.
                if noteStops(named, &known) { handOver(Self.newest(known)) }
                handOver(try await look(client, &known, named))
                let now = ContinuousClock.now
                var pauses = known.values.compactMap { $0.stop.map { now.duration(to: $0.until) } }
                // Also after a look without an event: it takes the place of the echo that an event has asked for.
                if reasons.contains(.event) || !named.containers.isEmpty { pauses.append(Hints.lifetime) }
                if known.values.contains(where: \.isUnreadable) { pauses.append(deadline) }
                guard let pause = pauses.min() else { continue }
                echo?.cancel()
                echo = Task {
                    try await Task.sleep(for: pause)
                    bell.ring(.echo)
                }
            }
            throw CancellationError()
        }

        private static func listen(to events: HTTPStream, _ hints: Hints, _ bell: Doorbell<Reason>) async throws {
            defer { bell.ring(.failure) }
            for try await line in events {
                // A line that cannot be read still says that something happened.
                if let wire = try? JSONDecoder().decode(WireEvent.self, from: Data(line)) { hints.add(Event(wire)) }
                bell.ring(.event)
            }
            throw HTTPError.broken("docker", reason: "the stream of events ended")
        }

        // MARK: Looking

        /// A container with the line of the list that it was inspected for; without one it is inspected again.
        private struct Known {
            var listed: Listed?
            var container: Container?
            var isUnreadable = false
            var stop: Stop?
        }

        /// That a container was told to stop, in the life that began at `started`.
        ///
        /// One that lives on past `until` did not mean to.
        private struct Stop {
            var started: String
            var until: ContinuousClock.Instant
        }

        /// Lists, and inspects what is new, changed, or was named by an event.
        ///
        /// The list may lag behind the events by a moment: the engine publishes a pause before it stores the state. An
        /// inspection waits for the container's lock, so for what an event has just named it decides, and not the list.
        private func look(
            _ client: Client, _ known: inout [String: Known], _ named: Hints.Named
        ) async throws -> Look {
            let listed = Dictionary(try await client.list().filter(\.isRunning).map { ($0.id, $0) }) { first, _ in first
            }
            let ids = named.containers.union(listed.keys)
            let changed = ids.filter {
                named.containers.contains($0) || named.inNetworks.contains($0) || known[$0]?.listed != listed[$0]
            }
            let inspected = try await inspect(changed, client)
            known = known.filter { ids.contains($0.key) }
            for (id, result) in inspected {
                switch result {
                case .success(let container):
                    known[id] = Known(listed: listed[id], container: container, stop: known[id]?.stop)
                case .failure(let error):
                    // What was known of it stays; the next look tries again.
                    if known[id]?.isUnreadable != true {
                        logger.warning("cannot inspect a container", ["container": id.prefix(12), "error": "\(error)"])
                    }
                    known[id] = Known(container: known[id]?.container, isUnreadable: true, stop: known[id]?.stop)
                }
            }
            // Once more, as what was inspected may be a new life.
            noteStops(named, &known)
            return Self.newest(known)
        }

        /// What is known, as the agent gets it.
        private static func newest(_ known: [String: Known]) -> Look {
            let unreadable = known.filter { $0.value.isUnreadable && $0.value.container == nil }.keys
            return Look(
                containers: known.values.filter { $0.stop == nil }.compactMap(\.container),
                unreadable: Set(unreadable.compactMap { InstanceID(containerID: $0) }))
        }

        /// Notes which containers were told to stop, and forgets it of those that live on, or again.
        ///
        /// - Returns: whether there are more of them than before.
        @discardableResult
        private func noteStops(_ named: Hints.Named, _ known: inout [String: Known]) -> Bool {
            let now = ContinuousClock.now
            var isNew = false
            for (id, entry) in known {
                guard let container = entry.container else { continue }
                if let sent = named.signals[id], sent.contains(where: container.stopSignal.isMeant) {
                    let until = now + container.stopTimeout + stopMargin
                    known[id]?.stop = Stop(started: container.started, until: until)
                    isNew = isNew || entry.stop == nil
                } else if let stop = entry.stop,
                    stop.until <= now || stop.started != container.started || named.begun.contains(id)
                {
                    known[id]?.stop = nil
                }
            }
            return isNew
        }

        /// Inspects several containers side by side.
        ///
        /// An answer that makes no sense, or does not come, concerns its container alone.
        private func inspect(
            _ ids: Set<String>, _ client: Client
        ) async throws -> [(String, Result<Container?, any Swift.Error>)] {
            try await withThrowingTaskGroup(of: (String, Result<Container?, any Swift.Error>).self) { group in
                var results: [(String, Result<Container?, any Swift.Error>)] = []
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
