import Shared
import Synchronization

/// Keeps an eye on the ports that containers in the host's network are expected to listen on.
///
/// It is given the ports that matter, as a state, and hands over what it knows of them whenever that changes. While no
/// port matters it does nothing at all.
final class ListeningPortMonitor: Sendable {
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

    private let means: Means
    private let limit: Duration
    private let pause: Duration
    private let calmPause: Duration
    private let logger: Logger
    private let bell = Doorbell<Reason>()
    private let wanted = Mutex(Wanted())

    /// Prepares to probe them.
    ///
    /// - Parameters:
    ///   - limit: that of one connection.
    ///   - pause: between two probes, so that what begins to listen is registered well within a second.
    ///   - calmPause: between two probes by connections once all ports accept them: each one reaches a service.
    init(
        _ means: Means, limit: Duration = .milliseconds(500), pause: Duration = .milliseconds(400),
        calmPause: Duration = .seconds(5), logger: Logger
    ) {
        self.means = means
        self.limit = limit
        self.pause = pause
        self.calmPause = calmPause
        self.logger = logger
    }

    /// Says which ports matter from now on, and at which address they would be reached.
    func watch(_ ports: Set<Port>, at address: IPAddress) {
        let isNew = wanted.withLock { wanted in
            let next = Wanted(ports: ports, address: address)
            defer { wanted = next }
            return next != wanted
        }
        if isNew { bell.ring(.wanted) }
    }

    /// Probes the ports once.
    func once(_ ports: Set<Port>, at address: IPAddress) async throws -> ListeningPorts {
        ListeningPorts().after(asking: ports, found: try await probe(ports, address))
    }

    /// Probes them until the task is cancelled; what is known is handed over after each change.
    func run(handOver: @escaping @Sendable (ListeningPorts) -> Void) async throws {
        var (known, isFirst, isLogged) = (ListeningPorts(), true, false)
        var tick: Task<Void, any Error>?
        defer { tick?.cancel() }
        while await bell.answer() != nil {
            let (ports, address) = wanted.withLock { ($0.ports, $0.address) }
            guard let address, !ports.isEmpty else {
                // What was known would be wrong when somebody asks again.
                if !isFirst { handOver(ListeningPorts()) }
                (known, isFirst) = (ListeningPorts(), true)
                continue
            }
            do {
                let next = known.after(asking: ports, found: try await probe(ports, address))
                if isFirst || next.known != known.known { handOver(next) }
                (known, isFirst, isLogged) = (next, false, false)
            } catch {
                // What cannot be found out changes nothing.
                try Task.checkCancellation()
                if !isLogged { logger.warning("cannot read listening sockets", ["error": "\(error)"]) }
                isLogged = true
            }
            let isCalm = means == .connections && known.known.values.allSatisfy { !$0.isEmpty }
            tick?.cancel()
            tick = Task { [bell, pause, calmPause] in
                try await Task.sleep(for: isCalm ? calmPause : pause)
                bell.ring(.tick)
            }
        }
        throw CancellationError()
    }

    private func probe(_ ports: Set<Port>, _ address: IPAddress) async throws -> [ListeningSocket] {
        switch means {
        case .table: try ListeningSockets.read()
        case .connections:
            try await ConnectProbe.openPorts(of: ports, at: address, limit: limit).map {
                ListeningSocket(address: address, port: $0)
            }
        }
    }
}

/// Where programs listen on this host, of the ports that were asked about.
struct ListeningPorts: Equatable, Sendable {
    /// On which addresses something listens, by port.
    ///
    /// Nothing is known of a port that is missing here; one with an empty set was probed, and nothing listens.
    private(set) var known: [Port: Set<ListeningSocket>] = [:]
    /// Ports that nothing listened on at the last look, although something did before.
    private var missedOnce: Set<Port> = []

    /// Knows nothing yet.
    init() {}

    /// Knows this.
    init(_ bindings: [Port: Set<ListeningSocket>]) { known = bindings }

    /// What is known after a look that asked about these ports and has found these bindings.
    ///
    /// A port on which something listened is given up at the second look that finds nothing: a program that opens its
    /// listener anew is not away.
    func after(asking ports: Set<Port>, found: some Sequence<ListeningSocket>) -> ListeningPorts {
        let byPort = Dictionary(grouping: found, by: \.port)
        var next = ListeningPorts()
        for port in ports {
            let bindings = Set(byPort[port] ?? [])
            if bindings.isEmpty, let before = known[port], !before.isEmpty, !missedOnce.contains(port) {
                next.known[port] = before
                next.missedOnce.insert(port)
            } else {
                next.known[port] = bindings
            }
        }
        return next
    }
}
