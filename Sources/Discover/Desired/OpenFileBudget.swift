/// How the files that HAProxy may have open are shared out: one for each listener, two for each connection, and
/// a quarter for checks and for HAProxy itself.
///
/// HAProxy's own reckoning counts one for the check of each server and does not start where that is too much, although
/// checks are over in a moment.
struct OpenFileBudget: Equatable, Sendable {
    /// How many files it may have open.
    let limit: Int

    /// The most listeners; the connections then have an eighth of the limit.
    var maxListeners: Int { limit * 5 / 8 }

    /// The limit with which there could be so many listeners.
    static func needed(for listeners: Int) -> Int { (listeners * 8 + 4) / 5 }

    /// How many connections HAProxy may have beside so many listeners, in steps, so that few of these change it.
    func connections(beside listeners: Int) -> Int {
        let step = max(limit / 16, 1)
        let reserved = (listeners + step - 1) / step * step
        return max((limit * 3 / 4 - reserved) / 2, step)
    }
}
