/// Rings when an HAProxy that somebody else runs is no longer the one that was there.
struct ExistingWatch: Sendable {
    /// How it is looked at.
    let process: HAProxyProcess
    /// Between two looks.
    var interval = Duration.milliseconds(250)

    /// Looks until the task is cancelled.
    func run(_ ring: @Sendable () -> Void) async throws {
        var last: HAProxyProcess.Sight?
        while true {
            let sight = await process.sight()
            if sight != .silent, sight != last {
                last = sight
                ring()
            }
            try await Task.sleep(for: interval)
        }
    }
}
