import Shared
import Synchronization

/// Keeps an eye on the ports that containers in the host's network are expected to listen on.
///
/// It is told the ports that matter, as a state, and hands over what it knows of them whenever that changes. While no
/// port matters it does nothing at all.
final class ListenerWatch: Sendable {
    /// How it finds out.
    enum Means: Equatable, Sendable {
        /// The kernel's table, where this process is in the same network.
        case table
        /// Connections, where it is not.
        case connections
    }

    private enum Reason: Hashable {
        case wanted
        case tick
    }

    private struct Wanted: Equatable {
        var ports: Set<Port> = []
        var address: IPAddress?
    }

    /// Between two looks, so that what begins to listen is registered well within a second.
    private static let pause = Duration.milliseconds(400)
    /// Between two looks by connections, once all ports accept them.
    private static let calmPause = Duration.seconds(5)

    private let means: Means
    private let limit: Duration
    private let bell = Doorbell<Reason>()
    private let wanted = Mutex(Wanted())

    /// Prepares to look.
    ///
    /// - Parameter limit: that of one connection.
    init(_ means: Means, limit: Duration = .milliseconds(500)) {
        self.means = means
        self.limit = limit
    }

    /// Says which ports matter from now on, and at which address they would be reached.
    func want(_ ports: Set<Port>, at address: IPAddress) {
        let isNew = wanted.withLock { wanted in
            let next = Wanted(ports: ports, address: address)
            defer { wanted = next }
            return next != wanted
        }
        if isNew { bell.ring(.wanted) }
    }

    /// Looks until the task is cancelled; what is known is handed over after each change.
    func run(handOver: @escaping @Sendable (Listeners) -> Void) async throws {
        var (known, isFirst) = (Listeners(), true)
        var tick: Task<Void, any Error>?
        defer { tick?.cancel() }
        while await bell.answer() != nil {
            let (ports, address) = wanted.withLock { ($0.ports, $0.address) }
            guard let address, !ports.isEmpty else {
                // What was known would be wrong when somebody asks again.
                if !isFirst { handOver(Listeners()) }
                (known, isFirst) = (Listeners(), true)
                continue
            }
            // What cannot be found out changes nothing.
            if let found = try await look(ports, address) {
                let next = known.after(asking: ports, found: found)
                if isFirst || next.known != known.known { handOver(next) }
                (known, isFirst) = (next, false)
            }
            let isCalm = means == .connections && known.known.values.allSatisfy { !$0.isEmpty }
            tick?.cancel()
            tick = Task { [bell] in
                try await Task.sleep(for: isCalm ? Self.calmPause : Self.pause)
                bell.ring(.tick)
            }
        }
        throw CancellationError()
    }

    private func look(_ ports: Set<Port>, _ address: IPAddress) async throws -> [Docker.Binding]? {
        switch means {
        case .table: return try? ListenerTable.read()
        case .connections:
            do {
                return try await ConnectProbe.bindings(of: ports, at: address, limit: limit)
            } catch {
                try Task.checkCancellation()
                return nil
            }
        }
    }
}
