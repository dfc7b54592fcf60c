import Shared

/// Which addresses that HAProxy is to listen on are held by other processes.
enum PortOccupancy {
    /// Tries the addresses and names the holders of those that are not free.
    ///
    /// - Parameter patience: how long they may take to become free: an HAProxy that has just died lets go of its ports
    ///   a moment later.
    static func holders(of binds: Set<BindAddress>, patience: Duration) async -> [BindAddress: String] {
        var busy = binds.filter { !PortProbe.isFree($0) }
        let end = ContinuousClock.now + patience
        while !busy.isEmpty, ContinuousClock.now < end {
            guard (try? await Task.sleep(for: .milliseconds(10))) != nil else { break }
            busy = busy.filter { !PortProbe.isFree($0) }
        }
        return Dictionary(uniqueKeysWithValues: busy.map { ($0, PortHolder.name(of: $0.port)) })
    }
}
