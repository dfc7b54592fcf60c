import Shared

/// HAProxy's runtime API at the worker's own socket.
///
/// Every line has a connection of its own and a deadline; every answer is judged.
struct RuntimeAPI: Sendable {
    /// The socket.
    let socket: LineSocket
    /// For one answer.
    let deadline: Duration

    /// Beyond this many sections all are asked for at once.
    private static let mostSections = 50

    /// What a worker tells of itself and its servers.
    struct Report: Equatable, Sendable {
        /// The worker that answered.
        let worker: HAProxyWorker
        /// The servers that were asked for.
        let states: [ServerState]
    }

    /// Sends the commands; throws ``RuntimeFailure`` at the first that was not done, and leaves out the lines after it.
    func run(_ commands: [RuntimeCommand]) async throws {
        for line in RuntimeLine.packing(commands) {
            if case .certificate(let change) = line.commands[0] {
                try await apply(change)
            } else if let failure = line.failure(in: try await send(line.text)) {
                throw failure
            }
        }
    }

    /// What came of telling the worker what `/healthz` answers.
    enum HealthAnswer: Equatable, Sendable {
        /// It will.
        case accepted
        /// It will not, or nobody is there.
        case refused
        /// It has taken the question and does not answer.
        case silent
    }

    /// Has the worker's `/healthz` answer what a command of ``HealthPage`` says.
    func setHealth(_ command: String) async -> HealthAnswer {
        do {
            // Unlike any refusal, the answer is empty.
            let answer = try await socket.send(command, deadline: deadline)
            return answer.allSatisfy(\.isWhitespace) ? .accepted : .refused
        } catch LineSocket.Failure.timedOut {
            return .silent
        } catch {
            return .refused
        }
    }

    /// What the worker says of itself and of all servers of these sections, or of all sections there are.
    func report(on sections: [ServiceName]? = nil) async throws -> Report {
        let some = sections.flatMap { $0.count <= Self.mostSections ? $0 : nil }
        let tables = some.map { $0.map { "show servers state \($0)" } } ?? ["show servers state"]
        let line = (["show info"] + tables).joined(separator: ";")
        let blocks = RuntimeLine.blocks(of: try await send(line))
        guard let worker = blocks.first.flatMap({ HAProxyWorker($0) }), blocks.count == tables.count + 1 else {
            throw RuntimeFailure.unexpected(answer: blocks.first ?? "", to: "show info")
        }
        let states = blocks.dropFirst().map { ServerState.table($0) }
        guard !states.contains(where: { $0 == nil }) else {
            throw RuntimeFailure.unexpected(answer: "something else", to: "show servers state")
        }
        return Report(worker: worker, states: states.compactMap(\.self).flatMap(\.self))
    }

    /// How many connections each server of these sections has, or waits for, by the name that HAProxy gives it.
    func connections(of sections: [ServiceName]) async throws -> [String: Int] {
        var counts: [String: Int] = [:]
        for part in stride(from: 0, to: sections.count, by: Self.mostSections) {
            let some = sections[part..<min(part + Self.mostSections, sections.count)]
            // Type 4 is servers; -1 any of them.
            let line = some.map { "show stat \($0) 4 -1" }.joined(separator: ";")
            for row in try await send(line).split(separator: "\n") where row.first != "#" {
                // pxname, svname, qcur, qmax, scur: the first columns since 1.4, before any free text.
                let columns = row.split(separator: ",", maxSplits: 5, omittingEmptySubsequences: false)
                guard columns.count > 5, let open = Int(columns[4]) else { continue }
                counts["\(columns[0])/\(columns[1])"] = open + (Int(columns[2]) ?? 0)
            }
        }
        return counts
    }

    /// Removes servers that have no connection; returns those that are gone.
    ///
    /// Maintenance comes first, as HAProxy closes the connections that it keeps for later when a server gets there.
    func remove(_ names: [EntryID]) async throws -> Set<EntryID> {
        for line in RuntimeLine.packing(names.map { .maintenance($0) }) { _ = try await send(line.text) }
        var gone: Set<EntryID> = []
        for line in RuntimeLine.packing(names.map { .delete($0) }) {
            let answers = RuntimeLine.lines(of: try await send(line.text))
            guard answers.count == line.commands.count else { continue }
            for (command, answer) in zip(line.commands, answers) {
                guard case .delete(let name) = command else { continue }
                if command.isDone(by: answer) || answer.hasPrefix("No such") { gone.insert(name) }
            }
        }
        return gone
    }

    func send(_ line: String) async throws -> String {
        do {
            return try await socket.send(line, deadline: deadline)
        } catch let failure as LineSocket.Failure {
            throw RuntimeFailure.silent(failure.description)
        }
    }
}

/// Commands that are sent together in one line, so that each has its own part of the answer.
struct RuntimeLine: Equatable, Sendable {
    /// The longest line in bytes; HAProxy refuses or cuts those longer than its buffer of 16 384.
    static let longest = 8_000

    /// The commands in order; not empty.
    private(set) var commands: [RuntimeCommand]

    /// As it is sent.
    var text: String { commands.map(\.text).joined(separator: ";") }

    /// Packs commands into as few lines as may be, in their order; each that deletes a server has one of its own.
    ///
    /// HAProxy of 2.6 to 3.0 frees a checked server on the thread of its check, without a lock: where several are deleted at
    /// once, two threads may do so together, and the worker ends soon after (haproxy#2733; 2.6.12 with eight threads
    /// within 50,000 deletions, and never in 90,000 that came one by one).
    static func packing(_ commands: [RuntimeCommand]) -> [RuntimeLine] {
        var lines: [RuntimeLine] = []
        var room = 0
        for command in commands {
            let length = command.text.utf8.count + 1
            let isAlike = lines.last?.commands.first?.endsWithEmptyLine == true && command.endsWithEmptyLine
            if isAlike, !command.isAlone, lines.last?.commands.first?.isAlone == false, length <= room {
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
    static func shown(_ text: String) -> String {
        Diagnostic.excerpt(text.split(separator: "\n").first.map(String.init)?.utf8 ?? "".utf8, longest: 200)
    }
}

/// Why what HAProxy runs is not known to be what it was told through the runtime API.
enum RuntimeFailure: Error, Equatable, Sendable {
    /// An answer that does not mean success.
    case unexpected(answer: String, to: String)
    /// It was done, but what runs differs from what should.
    case differs(String)
    /// No answer, or none in time.
    case silent(String)

    /// Whether the answer means that this HAProxy cannot add servers with cookies while it runs, as before 3.0.
    var isForWantOfCookies: Bool {
        guard case .unexpected(let answer, _) = self else { return false }
        return answer.contains("'cookie' option is not accepted for dynamic")
    }

    /// Whether the answer means that this HAProxy cannot add or remove servers while it runs.
    ///
    /// 2.4 and 2.5 keep these commands for experiments, and 2.4 knows no checks there.
    var isForWantOfAbility: Bool {
        guard case .unexpected(let answer, let command) = self, !isForWantOfCookies else { return false }
        guard command.hasPrefix("add server") || command.hasPrefix("del server") else { return false }
        return ["Unknown command", "experimental", "not accepted for dynamic"].contains { answer.contains($0) }
    }
}

extension RuntimeFailure: CustomStringConvertible {
    /// A few words for the log.
    var description: String {
        switch self {
        case .unexpected(let answer, let command):
            answer.isEmpty ? "no answer to '\(command)'" : "HAProxy answered '\(answer)' to '\(command)'"
        case .differs(let what): what
        case .silent(let why): why
        }
    }
}

/// The worker that answers: what it tells of itself by `show info`.
struct HAProxyWorker: Equatable, Sendable {
    /// Its process id.
    let pid: Int32

    /// Which configuration it has loaded, ``HAProxyConfiguration/mark``; nil where it does not say.
    let mark: String?

    /// When it started, in seconds; nil where it does not say.
    ///
    /// In a container that is started anew, process ids begin anew as well.
    let start: Int64?

    /// Makes one.
    init(pid: Int32, mark: String?, start: Int64? = nil) {
        self.pid = pid
        self.mark = mark
        self.start = start
    }

    /// Parses an answer; nil where it is none.
    init?(_ answer: String) {
        func value(_ key: String) -> Substring? {
            answer.split(separator: "\n").first { $0.hasPrefix(key) }.map { Substring($0.dropFirst(key.count)) }
        }
        guard let pid = value("Pid: ").flatMap({ Int32($0) }) else { return nil }
        self.init(
            pid: pid, mark: value("description: ").map(String.init),
            start: value("Start_time_sec: ").flatMap { Int64($0) })
    }

    /// Whether a worker says that it was told to stop, and only finishes its connections.
    static func isStopping(_ answer: String) -> Bool {
        answer.split(separator: "\n").contains("Stopping: 1")
    }
}
