import Synchronization

/// Answers commands on a unix socket, as HAProxy's command sockets do: one line, one answer, the end.
///
/// The socket is for the account of the agent (and root) alone: mode 0600. A client that is slow, silent, or sends
/// what is no line is left after a while; there are never more than a few. The thread only accepts.
package final class CommandServer: Sendable {
    /// How much clients may cost.
    package struct Limits: Sendable {
        /// Clients at the same time; further ones are closed unanswered.
        ///
        /// Somebody may wait for the drains of all containers of a host at once.
        package var clients = 64
        /// The longest line, in bytes.
        package var line = 4096
        /// For how long a client may take to send its line.
        package var reading = Duration.seconds(5)
        /// For how long it may take to read its answer.
        package var writing = Duration.seconds(10)

        /// The usual ones.
        package init() {}
    }

    private let path: String
    private let limits: Limits
    private let listener: LocalListener
    private let clients = Atomic(0)
    private let answer: @Sendable (String) async -> CommandResponse

    /// Begins to listen at `path`; what comes is answered by ``run()``.
    ///
    /// - Parameter answer: takes a line without its end. It runs for several clients at the same time.
    package init(
        path: String, limits: Limits = Limits(), answer: @escaping @Sendable (String) async -> CommandResponse
    ) throws(LocalListener.Failure) {
        listener = try LocalListener(path: path)
        self.path = path
        self.limits = limits
        self.answer = answer
    }

    /// Answers until the task is cancelled, and removes the socket then.
    package func run() async {
        let (accepted, continuation) = AsyncStream.makeStream(of: Int32.self)
        defer { listener.close() }
        guard BackgroundThread.start({ self.accept(continuation) }) else { return }
        await withDiscardingTaskGroup { group in
            for await socket in accepted {
                group.addTask {
                    await self.serve(socket)
                    // An answer about 10 000 endpoints needs 40 MB while it is made, and nothing else does later.
                    MallocTuning.trim()
                }
            }
            group.cancelAll()
        }
    }

    private func accept(_ continuation: AsyncStream<Int32>.Continuation) {
        while let socket = listener.accept() {
            guard clients.add(1, ordering: .relaxed).newValue <= limits.clients else {
                leave(socket)
                continue
            }
            if case .terminated = continuation.yield(socket) { leave(socket) }
        }
        continuation.finish()
    }

    private func leave(_ socket: Int32) {
        LocalConnection.close(socket)
        clients.subtract(1, ordering: .relaxed)
    }

    private func serve(_ socket: Int32) async {
        defer { clients.subtract(1, ordering: .relaxed) }
        var connection = LocalConnection(accepted: socket, at: path)
        do {
            guard let line = try await line(&connection) else { return }
            let answer =
                line.utf8.count < limits.line
                ? await answer(line) : CommandResponse(status: ExitStatus.failure, "the line is too long\n")
            try await send(answer.wire, &connection)
        } catch {
            // The client has gone, or the agent ends.
        }
    }

    /// The first line; nil where it does not come in time.
    private func line(_ connection: inout LocalConnection) async throws -> String? {
        var pauses = PollBackoff(within: limits.reading)
        while true {
            let isAll = try connection.readAvailable(upTo: limits.line)
            if let end = connection.received.firstIndex(of: UInt8(ascii: "\n")) {
                return Self.text(connection.received[..<end])
            }
            if isAll { return connection.received.isEmpty ? nil : Self.text(connection.received[...]) }
            guard try await pauses.wait() else { return nil }
        }
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.last == UInt8(ascii: "\r") ? bytes.dropLast() : bytes, as: UTF8.self)
    }

    private func send(_ text: String, _ connection: inout LocalConnection) async throws {
        var pauses = PollBackoff(within: limits.writing)
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = try connection.send(rest)
            rest = rest.dropFirst(count)
            if count == 0 { guard try await pauses.wait() else { return } }
        }
        // What is left unread would make the system cut the connection before the client has read its answer.
        try connection.endSending()
        _ = try connection.readAvailable(upTo: limits.line * 16)
    }
}
