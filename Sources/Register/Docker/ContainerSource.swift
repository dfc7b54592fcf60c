import FoundationEssentials
import Shared
import Synchronization

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
        private let logger: Logger

        /// Why to look again.
        private enum Reason: Hashable {
            case event
            case resync
            case failure
        }

        /// Prepares to follow the engine at `origin`; `deadline` is the limit of each request.
        init(_ http: HTTPClient, _ origin: HTTPOrigin, deadline: Duration, resync: Duration, logger: Logger) {
            self.http = http
            self.origin = origin
            self.deadline = deadline
            self.resync = resync
            self.logger = logger
        }

        /// Follows the engine until the task is cancelled.
        ///
        /// - Parameter handOver: takes the newest list.
        func run(handOver: @escaping @Sendable ([Container]) -> Void) async throws {
            // Short, so that everything is right again within a second of the engine's return.
            var backoff = Backoff(first: .milliseconds(50), limit: .milliseconds(400))
            var isLost = false
            while true {
                do {
                    let client = try await Client.connect(http, origin, deadline: deadline)
                    let events = try await client.events()
                    try await follow(client, events) { containers in
                        handOver(containers)
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
            _ client: Client, _ events: HTTPStream, _ handOver: ([Container]) -> Void
        ) async throws {
            defer { events.close() }
            let bell = Doorbell<Reason>()
            let stale = Stale()
            let listener = Task { try await Self.listen(to: events, stale, bell) }
            let clock = Task { try await Self.ring(bell, every: resync) }
            defer {
                listener.cancel()
                clock.cancel()
            }
            var known: [String: Known] = [:]
            bell.ring(.resync)
            while let reasons = await bell.answer() {
                if reasons.contains(.failure) { _ = try await listener.value }
                for id in stale.take() { known[id] = nil }
                handOver(try await look(client, &known))
            }
            throw CancellationError()
        }

        private static func listen(to events: HTTPStream, _ stale: Stale, _ bell: Doorbell<Reason>) async throws {
            defer { bell.ring(.failure) }
            for try await line in events {
                // A line that cannot be read still says that something happened.
                if let wire = try? JSONDecoder().decode(WireEvent.self, from: Data(line)) {
                    if let container = Event(wire).container { stale.add(container) }
                }
                bell.ring(.event)
            }
            throw HTTPError.broken("docker", reason: "the stream of events ended")
        }

        private static func ring(_ bell: Doorbell<Reason>, every interval: Duration) async throws {
            while true {
                try await Task.sleep(for: interval)
                bell.ring(.resync)
            }
        }

        // MARK: Looking

        /// A container with the line of the list that it was inspected for.
        private struct Known {
            var listed: Listed
            var container: Container?
        }

        /// Lists, and inspects what is new, changed, or was named by an event.
        private func look(_ client: Client, _ known: inout [String: Known]) async throws -> [Container] {
            let listed = try await client.list().filter(\.isRunning)
            let changed = listed.filter { known[$0.id]?.listed != $0 }
            let inspected = try await inspect(changed, client)
            let ids = Set(listed.map(\.id))
            known = known.filter { ids.contains($0.key) }
            for (entry, result) in inspected {
                switch result {
                case .success(let container): known[entry.id] = Known(listed: entry, container: container)
                case .failure(let error):
                    // What was known of it stays; the next look tries again.
                    logger.warning("cannot inspect a container", ["container": entry.id, "error": "\(error)"])
                }
            }
            return known.values.compactMap(\.container)
        }

        /// Inspects several containers side by side.
        ///
        /// An answer that makes no sense concerns its container alone.
        private func inspect(
            _ entries: [Listed], _ client: Client
        ) async throws -> [(Listed, Result<Container?, Docker.Error>)] {
            try await withThrowingTaskGroup(of: (Listed, Result<Container?, Docker.Error>).self) { group in
                var results: [(Listed, Result<Container?, Docker.Error>)] = []
                for (index, entry) in entries.enumerated() {
                    if index >= Self.sideBySide, let result = try await group.next() { results.append(result) }
                    group.addTask {
                        do {
                            return (entry, .success(try await client.inspect(entry.id)))
                        } catch let error as Docker.Error {
                            return (entry, .failure(error))
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

    /// The containers that events have named since the last look.
    private final class Stale: Sendable {
        private let ids = Mutex<Set<String>>([])

        func add(_ id: String) { ids.withLock { _ = $0.insert(id) } }

        func take() -> Set<String> {
            ids.withLock { ids in
                defer { ids = [] }
                return ids
            }
        }
    }
}
