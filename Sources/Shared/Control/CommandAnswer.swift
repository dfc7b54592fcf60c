/// What an agent answers to a command: the command's exit status, and what it prints.
///
/// On the wire, the first line is the status in decimal and the rest is the text as it is.
package struct CommandAnswer: Equatable, Sendable {
    /// The exit status of the command.
    package var status: Int32
    /// What it prints: on standard output where the status is 0, on standard error otherwise.
    package var text: String

    /// Makes an answer.
    package init(status: Int32 = ExitStatus.success, _ text: String) {
        self.status = status
        self.text = text
    }

    /// The answer as it is sent.
    var wire: String { "\(status)\n\(text)" }

    /// Parses what was sent; nil where no status stands in front.
    package init?(wire: String) {
        let parts = wire.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let status = Int32(parts[0]) else { return nil }
        self.init(status: status, String(parts[1]))
    }
}
