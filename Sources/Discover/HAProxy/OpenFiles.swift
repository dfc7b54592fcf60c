import Glibc

/// The limit of open files that HAProxy inherits.
///
/// HAProxy makes room for as many connections as the limit allows before it serves the first one. In containers the
/// limit may be a thousand million, for which it would take gigabytes.
enum OpenFiles {
    /// The most that HAProxy is given; half as many connections are possible.
    static let most: UInt = 1 << 20

    /// Lowers the limit of this process, and so of what it starts, to ``most``; a lower one stays.
    static func bound() {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard unsafe getrlimit(resource, &limit) == 0, var bounded = bounded(limit) else { return }
        // Where the system refuses, HAProxy gets what there is.
        _ = unsafe setrlimit(resource, &bounded)
    }

    /// How many files HAProxy may have open, which raises its own limit to the hard one; nil where the system does not say.
    static var limit: Int? {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return Int(min(limit.rlim_max, most))
    }

    /// What becomes of a limit; nil where it stays.
    static func bounded(_ limit: rlimit) -> rlimit? {
        guard limit.rlim_max > most else { return nil }
        return rlimit(rlim_cur: min(limit.rlim_cur, most), rlim_max: most)
    }
}
