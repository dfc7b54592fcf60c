import Shared

/// `release`: takes out of service what is held.
enum Release {
    /// Answers the command with the words after its name.
    static func answer(_ words: [String], _ requests: LoopRequests) async -> CommandAnswer {
        let service = words.first.flatMap { ServiceName($0) }
        if let word = words.first, service == nil {
            return CommandAnswer(status: ExitStatus.wrongUsage, "\(word) is no service: \(ServiceName.expected)\n")
        }
        return await requests.ask { keeper in told(keeper.release(service), of: service) }
    }

    /// What is said of holds that were ended.
    static func told(_ released: [Hold], of service: ServiceName?) -> CommandAnswer {
        guard !released.isEmpty else {
            return CommandAnswer("nothing is held\(service.map { " of \($0)" } ?? "")\n")
        }
        let lines = released.sorted { $0.name < $1.name }.map { "released \($0.name) \($0.endpoint)\n" }
        return CommandAnswer(lines.joined())
    }
}
