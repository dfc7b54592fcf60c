import Shared

/// Which addresses HAProxy could not listen on, because another process does or the system does not allow it.
enum PortCheck {
    /// Tries the addresses and says what is in the way of those that are not free, such as `in use by process 7 (nginx)`.
    ///
    /// - Parameters:
    ///   - own: where our HAProxy listens.
    ///   - patience: how long they may take to become free: an HAProxy that has just died lets go of its ports a moment
    ///     later.
    static func obstacles(
        to binds: Set<BindAddress>, beside own: Set<BindAddress> = [], patience: Duration
    ) async -> [BindAddress: String] {
        let ownPorts = Set(own.map(\.port))
        var obstacles = Self.obstacles(to: binds.subtracting(own), ownPorts)
        let end = ContinuousClock.now + patience
        while !obstacles.isEmpty, ContinuousClock.now < end {
            guard (try? await Task.sleep(for: .milliseconds(10))) != nil else { break }
            obstacles = Self.obstacles(to: Set(obstacles.keys), ownPorts)
        }
        return Dictionary(uniqueKeysWithValues: obstacles.map { ($0, text(of: $1, at: $0)) })
    }

    private static func obstacles(to binds: Set<BindAddress>, _ own: Set<Port>) -> [BindAddress: SystemError] {
        let tried = binds.map { ($0, $0.socketAddress.bindFailure(isShared: own.contains($0.port))) }
        return Dictionary(uniqueKeysWithValues: tried.compactMap { bind, error in error.map { (bind, $0) } })
    }

    private static func text(of error: SystemError, at bind: BindAddress) -> String {
        error == .addressInUse ? "in use by \(PortOwner.name(of: bind.port))" : "not to be had: \(error)"
    }
}
