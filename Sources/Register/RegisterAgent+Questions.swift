import Shared

// What the agent answers to commands.

extension RegisterAgent {
    /// Where commands are answered; nil where that cannot be, which harms nothing else.
    func commandServer() -> CommandServer? {
        do {
            let drains = DrainCommands(registry, requests) { [bell] in bell.ring(.request) }
            return try CommandServer(path: configuration.controlSocket) { [board] line in
                await drains.answer(line, board.read()) ?? Questions.answer(line, board.read())
            }
        } catch {
            logger.warning(
                "commands are not answered; CONTROL_SOCKET names another socket",
                ["socket": configuration.controlSocket, "error": "\(error)"])
            return nil
        }
    }

    /// Keeps in mind what is wrong with etcd.
    mutating func note(_ error: any Error) {
        let trouble = Trouble(error)
        if snapshot.store.trouble == nil { snapshot.store.trouble = trouble }
        snapshot.store.lastTrouble = trouble
    }

    /// Puts up what is known now: no question waits for the loop.
    mutating func tellQuestions() {
        snapshot.store.lease = publisher.lease
        snapshot.published = publisher.published
        snapshot.yielded = publisher.yielded
        snapshot.keeper = publisher.keeper
        board.put(snapshot)
    }
}
