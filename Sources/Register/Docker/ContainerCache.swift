import Shared
import Synchronization

extension Docker {
    /// What is known of an engine's containers, by full id, from lists, inspections and signals.
    struct ContainerCache {
        /// A container that runs as far as the list and the events say.
        struct Followed {
            /// The line of the list that it was inspected for; without one it is inspected again.
            var listed: Listed?
            /// How it was when it could be inspected last; nil where it did not run then.
            var container: Container?
            /// Whether the last inspection has failed.
            var isUnreadable = false
            /// Whether the first inspection has not ended.
            var isPending = false
            /// That it was sent its stop signal.
            var stop: Stop?
        }

        /// That a container was sent its stop signal, in the life that began at `started`.
        ///
        /// One that lives on past `until` did not mean to.
        struct Stop {
            var started: String
            var until: ContinuousClock.Instant
        }

        /// Those that run.
        private(set) var followed: [String: Followed] = [:]
        /// Those that do not, are paused or restart.
        private var idle: [String: ContainerRef] = [:]
        /// Those that the newest list has.
        private var listed: [String: Listed] = [:]

        /// Has everything inspected again: events have been missed.
        mutating func distrust() {
            for id in followed.keys { followed[id]?.listed = nil }
        }

        /// Updates it with a list, and what the events have named; returns what has to be inspected.
        ///
        /// The list may lag behind the events by a moment: the engine publishes a pause before it stores the state. An
        /// inspection waits for the container's lock, so for what an event has just named it decides, and not the list.
        ///
        /// - Parameter isFull: whether the list has also what does not run.
        mutating func update(with list: [Listed], isFull: Bool, _ named: EventHints.Named) -> Set<String> {
            let all = Dictionary(list.map { ($0.id, $0) }) { first, _ in first }
            listed = all.filter(\.value.isRunning)
            if isFull { idle = [:] }
            idle.merge(all.compactMapValues { $0.isRunning ? nil : $0.subject }) { $1 }
            let ids = named.containers.union(listed.keys)
            followed = followed.filter { ids.contains($0.key) }
            let changed = ids.filter {
                named.containers.contains($0) || named.inNetworks.contains($0) || followed[$0]?.listed == nil
                    || followed[$0]?.listed != listed[$0]
            }
            for id in changed where followed[id] == nil { followed[id] = Followed(isPending: true) }
            return changed
        }

        /// Updates it with what an inspection has found, unless the container has gone meanwhile.
        mutating func update(with inspected: Inspected, of id: String) {
            guard followed[id] != nil else { return }
            idle[id] = nil
            followed[id] = Followed(listed: listed[id], stop: followed[id]?.stop)
            switch inspected {
            case .running(let container): followed[id]?.container = container
            case .idle(let subject): idle[id] = subject
            case .gone: break
            }
        }

        /// Records that a container could not be inspected; what was known of it stays.
        ///
        /// - Returns: whether that is new.
        mutating func recordFailure(of id: String) -> Bool {
            guard let before = followed[id] else { return false }
            idle[id] = nil
            followed[id] = Followed(container: before.container, isUnreadable: true, stop: before.stop)
            return !before.isUnreadable
        }

        /// Records which containers were sent their stop signal, and removes those that live on, or again.
        ///
        /// - Returns: whether there are more of them than before.
        @discardableResult
        mutating func recordStops(_ named: EventHints.Named, margin: Duration, now: ContinuousClock.Instant) -> Bool {
            var isNew = false
            for (id, entry) in followed {
                guard let container = entry.container else { continue }
                if let sent = named.signals[id], sent.contains(where: container.stopSignal.isMeant) {
                    followed[id]?.stop = Stop(started: container.started, until: now + container.stopTimeout + margin)
                    isNew = isNew || entry.stop == nil
                } else if let stop = entry.stop,
                    stop.until <= now || stop.started != container.started || named.begun.contains(id)
                {
                    followed[id]?.stop = nil
                }
            }
            return isNew
        }

        /// All of it, for the agent.
        var list: ContainerList {
            // Until it has been inspected, nothing is known of a container that is not idle.
            let unknown = followed.filter { id, entry in
                entry.container == nil && (entry.isUnreadable || entry.isPending && self.idle[id] == nil)
            }
            let unreadable = unknown.keys.compactMap { id in listed[id]?.subject ?? ContainerRef(fullID: id) }
            let idle = idle.filter { followed[$0.key]?.container == nil }
            let stopping = followed.values.filter { $0.stop != nil }.compactMap { $0.container?.subject }
            let others =
                unreadable.map { StoppedContainer(subject: $0, reason: .unreadable) }
                + stopping.map { StoppedContainer(subject: $0, reason: .stopping) }
                + idle.values.map { StoppedContainer(subject: $0, reason: .notRunning(state: $0.state)) }
            return ContainerList(
                containers: followed.values.filter { $0.stop == nil }.compactMap(\.container),
                unreadable: Set(unreadable.map(\.id)), idle: others)
        }
    }
}

extension Docker {
    /// What the events of the last moment have named, kept for the next list.
    final class EventHints: Sendable {
        /// What they have named, for one list.
        struct Named: Sendable {
            /// Containers that changed themselves.
            var containers: Set<String>
            /// Containers whose networks changed since the last list.
            var inNetworks: Set<String>
            /// The signals that containers were sent since the last list, in the life that they have now.
            var signals: [String: Set<Int32>]
            /// Containers that began a life since the last list; an earlier signal was not meant for it.
            var begun: Set<String>

            /// Nothing.
            static let nothing = Named(containers: [], inNetworks: [], signals: [:], begun: [])

            /// Adds what came later, and keeps of the earlier what is about containers that are still inspected.
            func followed(by later: Named, keeping ids: Set<String>) -> Named {
                var all = later
                all.signals.merge(signals.filter { ids.contains($0.key) && !later.begun.contains($0.key) }) {
                    $0.union($1)
                }
                all.begun.formUnion(begun.intersection(ids).filter { later.signals[$0] == nil })
                return all
            }
        }

        /// How long a named container is inspected again with each list: until the engine's list has surely caught up.
        static let lifetime = Duration.seconds(1)

        private struct State {
            var containers: [String: ContinuousClock.Instant] = [:]
            var inNetworks: Set<String> = []
            var signals: [String: Set<Int32>] = [:]
            var begun: Set<String> = []
        }
        private let state = Mutex(State())

        /// Adds an event.
        func add(_ event: Event) {
            guard let container = event.container else { return }
            state.withLock { state in
                guard event.isOfContainer else {
                    state.inNetworks.insert(container)
                    return
                }
                state.containers[container] = .now
                if event.isStart {
                    state.begun.insert(container)
                    state.signals[container] = nil
                }
                if let signal = event.signal { state.signals[container, default: []].insert(signal) }
            }
        }

        /// What the events have named since the last list; containers are named again while their ``lifetime`` lasts.
        func take() -> Named {
            let now = ContinuousClock.now
            return state.withLock { state in
                defer {
                    state.inNetworks = []
                    state.signals = [:]
                    state.begun = []
                    state.containers = state.containers.filter { now - $0.value < Self.lifetime }
                }
                return Named(
                    containers: Set(state.containers.keys), inNetworks: state.inNetworks, signals: state.signals,
                    begun: state.begun)
            }
        }
    }
}
