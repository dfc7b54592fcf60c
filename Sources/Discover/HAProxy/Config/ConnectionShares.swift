/// How HAProxy's connections are shared out among services, so that those of one that pile up leave room for the others.
///
/// One service may have half of them, and what is above that waits. While most are in use, a service that has more than
/// its share of what is left gets no new ones: a quarter at three quarters, and so on. Some are always left for the
/// stats page.
struct ConnectionShares: Equatable, Sendable {
    /// How many HAProxy takes.
    let all: Int

    /// How many are the stats page's.
    var ofStats: Int { max(all / 32, min(8, all / 2)) }

    /// How many one service may have.
    var ofOne: Int { max(1, all / 2) }

    /// The row in the table of the stats page's section that counts the connections of all services.
    private static let row = "connections"

    /// The lines of a service's section.
    var lines: [String] {
        let table = HealthPage.section
        let used = "sc0_conn_cur(\(table))"
        let shares = [4, 8, 16].map { part in "{ \(used) gt \(all - all / part) } { fe_conn gt \(all / part) }" }
        let full = "{ \(used) gt \(all - ofStats) }"
        return [
            "tcp-request connection track-sc0 str(\(Self.row)) table \(table)",
            "tcp-request connection reject if " + (shares + [full]).joined(separator: " || "),
        ]
    }
}
