import Shared

/// What the running docker-discover does for each command, by the command's name.
struct ControlAnswers: Sendable {
    /// Does what a command asks for; takes the words after its name.
    typealias Handler = @Sendable (_ words: [String]) async -> CommandAnswer

    /// The handlers.
    let handlers: [String: Handler]

    /// Answers one line.
    func answer(_ line: String) async -> CommandAnswer {
        let words = line.split(separator: " ").map(String.init)
        guard let name = words.first, let handler = handlers[name] else {
            let known = handlers.keys.sorted().joined(separator: ", ")
            return CommandAnswer(
                status: ExitStatus.wrongUsage, "this docker-discover (\(Version.current)) knows only: \(known)\n")
        }
        return await handler(Array(words.dropFirst()))
    }

    /// Where lines are answered; nil where that cannot be, which harms nothing else.
    func server(at path: String, _ logger: Logger) -> CommandServer? {
        do {
            return try CommandServer(path: path) { await answer($0) }
        } catch {
            logger.warning("commands are not answered", ["socket": path, "error": "\(error)"])
            return nil
        }
    }
}
