/// How the files that HAProxy may have open are shared out: one for each service's listener, two for each connection, and
/// a quarter for checks and for HAProxy itself.
///
/// HAProxy's own reckoning counts one for the check of each server and does not start where that is too much, although
/// checks are over in a moment.
struct OpenFileBudget: Equatable, Sendable {
    /// How many files it may have open.
    let limit: Int

    /// The most services that can listen; the connections then have an eighth of the limit.
    var maxServices: Int { limit * 5 / 8 }

    /// The limit with which so many services could listen.
    static func needed(for services: Int) -> Int { (services * 8 + 4) / 5 }

    /// How many connections HAProxy may have beside so many services, in steps, so that few services change it.
    func connections(beside services: Int) -> Int {
        let step = max(limit / 16, 1)
        let listeners = (services + step - 1) / step * step
        return max((limit * 3 / 4 - listeners) / 2, step)
    }
}
