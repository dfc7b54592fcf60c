import Shared
import TestSupport

/// `/healthz` and its neighbors, as a client sees them.
enum HealthPage {
    /// The status of a page; nil where nobody answers.
    static func status(_ lab: DiscoverLab, _ path: String = "/healthz", user: String? = nil) async -> Int? {
        let address = "http://127.0.0.1:\(lab.statsPort)\(path)"
        let arguments = ["-s", "-g", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}"]
        let program = Program("curl", arguments + (user.map { ["-u", $0] } ?? []) + [address])
        let lines = try? await program.run(deadline: .seconds(10)).lines
        return lines?.first.flatMap { Int($0) }.flatMap { $0 == 0 ? nil : $0 }
    }

    /// Whether it answers with a status before long.
    static func turns(_ expected: Int, _ lab: DiscoverLab, within limit: Duration = .seconds(20)) async -> Bool {
        await eventually(within: limit) { await status(lab) == expected }
    }
}
