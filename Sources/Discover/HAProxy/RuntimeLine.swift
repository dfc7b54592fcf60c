/// Commands that are sent together in one line, so that each has its own part of the answer.
struct RuntimeLine: Equatable, Sendable {
    /// The longest line in bytes; HAProxy refuses or cuts those longer than its buffer of 16 384.
    static let longest = 8_000

    /// The commands in order; not empty.
    private(set) var commands: [RuntimeCommand]

    /// As it is sent.
    var text: String { commands.map(\.text).joined(separator: ";") }

    /// Packs commands into as few lines as may be, in their order.
    static func packing(_ commands: [RuntimeCommand]) -> [RuntimeLine] {
        var lines: [RuntimeLine] = []
        var room = 0
        for command in commands {
            let length = command.text.utf8.count + 1
            let isAlike = lines.last?.commands.first?.endsWithEmptyLine == command.endsWithEmptyLine
            if isAlike, length <= room {
                lines[lines.count - 1].commands.append(command)
                room -= length
            } else {
                lines.append(RuntimeLine(commands: [command]))
                room = longest - length
            }
        }
        return lines
    }

    /// Judges the answer to the line; nil where each command was done.
    func failure(in answer: String) -> RuntimeFailure? {
        let parts = commands[0].endsWithEmptyLine ? Self.blocks(of: answer) : Self.lines(of: answer)
        for (number, command) in commands.enumerated() {
            let part = number < parts.count ? parts[number] : nil
            guard let part, command.isDone(by: part) else {
                return .unexpected(answer: Self.shown(part ?? ""), to: command.summary)
            }
        }
        guard let extra = parts.dropFirst(commands.count).first else { return nil }
        return .unexpected(answer: Self.shown(extra), to: commands[commands.count - 1].summary)
    }

    /// The parts of an answer that empty lines end.
    static func blocks(of answer: String) -> [String] {
        var blocks: [String] = []
        var block: [Substring] = []
        for line in answer.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            if line.isEmpty {
                blocks.append(block.joined(separator: "\n"))
                block = []
            } else {
                block.append(line)
            }
        }
        return block.isEmpty ? blocks : blocks + [block.joined(separator: "\n")]
    }

    /// The lines of an answer that are not empty.
    static func lines(of answer: String) -> [String] {
        answer.split(separator: "\n").map(String.init)
    }

    /// One line that fits into a message.
    private static func shown(_ text: String) -> String {
        Problem.excerpt(text.split(separator: "\n").first.map(String.init)?.utf8 ?? "".utf8, longest: 200)
    }
}
