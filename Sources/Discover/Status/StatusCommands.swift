import Shared

/// The commands that ask what is routed: what they are called, and what they answer from what is known.
enum StatusCommands {
    private static let json = Setting(flag: "--json", help: "print one JSON object, for programs")

    /// Shows everything.
    static let status = Command(
        "status", flags: [json],
        help: """
            Shows each service with its listener and its endpoints: what HAProxy says of them, what is wrong, and how \
            far HAProxy is behind etcd.
            """)
    /// Shows one service or endpoint.
    static let why = Command(
        "why", operands: ["WHAT"], flags: [json],
        help: """
            Tells why a service (by name, or by a port such as 8200 or localhost:8200), or an endpoint (by its id, \
            container, SERVICE/ID or ADDRESS:PORT), is routed or is not, and \
            which route a URL or a host takes. Exit status 0: it gets connections; 1: it does not; 2: nothing is known of it.
            """)

    /// For HAProxy's answer; whoever asks waits longer.
    private static let deadline = Duration.seconds(5)

    /// The line that asks a running agent.
    static func line(_ call: Command.Call, _ reading: inout ParsedSettings) -> String {
        let flags = call.command.flags.filter { reading.isOn($0) }.map(\.flag)
        return ([call.command.name] + flags + call.operands).joined(separator: " ")
    }

    /// Answers the words of a line; HAProxy is asked on the way.
    static func answer(_ words: [String], _ snapshot: Snapshot) async -> CommandResponse {
        let isJSON = words.contains(json.flag)
        let words = words.filter { $0 != json.flag }
        guard words.count == (words.first == why.name ? 2 : 1) else {
            let usages = [status, why].map(\.usage).joined(separator: "; ")
            return CommandResponse(status: ExitStatus.wrongUsage, "there are: \(usages)\n")
        }
        let expiries = await snapshot.process?.expiries(of: snapshot.settings) ?? [:]
        let sight = await snapshot.process?.statsOrSilence(deadline: deadline)
        let report = StatusReport(
            snapshot, sight ?? .failure(.silent("HAPROXY is none; only outputs are written")), expiries: expiries)
        do {
            guard words.count == 2 else {
                return CommandResponse(isJSON ? try ReportJSON.text(report) : report.text)
            }
            let answer = WhyReport(words[1], in: report, routes: snapshot.desired?.routes)
            return CommandResponse(status: answer.status, isJSON ? try ReportJSON.text(answer) : answer.text)
        } catch {
            return CommandResponse(status: ExitStatus.failure, "\(error)\n")
        }
    }
}

extension HAProxyAccess {
    /// What HAProxy says now, or why it says nothing.
    func statsOrSilence(deadline: Duration) async -> Result<ProxyStats, RuntimeFailure> {
        do {
            return .success(try await stats(deadline: deadline))
        } catch let failure as RuntimeFailure {
            return .failure(failure)
        } catch {
            return .failure(.silent("\(error)"))
        }
    }
}
