import Shared

/// HAProxy's runtime API at the worker's own socket.
///
/// Every line has a connection of its own and a deadline; every answer is judged.
struct RuntimeAPI: Sendable {
    /// The socket.
    let socket: CommandSocket
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
            if let failure = line.failure(in: try await send(line.text)) { throw failure }
        }
    }

    /// Has the worker's `/healthz` answer what a command of ``HealthSign`` says; returns whether it will.
    func tellHealth(_ command: String) async -> Bool {
        // Unlike any refusal, the answer is empty.
        (try? await send(command))?.allSatisfy(\.isWhitespace) ?? false
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
    func remove(_ names: [ServerName]) async throws -> Set<ServerName> {
        for line in RuntimeLine.packing(names.map { .maintenance($0) }) { _ = try await send(line.text) }
        var gone: Set<ServerName> = []
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

    private func send(_ line: String) async throws -> String {
        do {
            return try await socket.send(line, deadline: deadline)
        } catch let failure as CommandSocket.Failure {
            throw RuntimeFailure.silent(failure.description)
        }
    }
}
