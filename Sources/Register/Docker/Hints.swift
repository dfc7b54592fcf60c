import Shared
import Synchronization

extension Docker {
    /// What the events of the last moment have named, kept for the next look.
    final class Hints: Sendable {
        /// What they have named, for one look.
        struct Named: Sendable {
            /// Containers that changed themselves.
            var containers: Set<String>
            /// Containers whose networks changed since the last look.
            var inNetworks: Set<String>
            /// The signals that containers were sent since the last look, in the life that they have now.
            var signals: [String: Set<Int32>]
            /// Containers that began a life since the last look; an earlier signal was not meant for it.
            var begun: Set<String>
        }

        /// How long a named container is looked at again, each time: until the engine's list has surely caught up.
        static let lifetime = Duration.seconds(1)

        private struct State {
            var containers: [String: ContinuousClock.Instant] = [:]
            var inNetworks: Set<String> = []
            var signals: [String: Set<Int32>] = [:]
            var begun: Set<String> = []
        }
        private let state = Mutex(State())

        /// Notes an event.
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

        /// Takes what there is; containers are named again by the looks of their ``lifetime``.
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
