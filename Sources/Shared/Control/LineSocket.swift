/// A client of command sockets: HAProxy's (the master's and the runtime API's) and the agents' own.
///
/// One connection per line, as every version of HAProxy from 2.4 on understands it
/// (https://docs.haproxy.org/2.6/management.html#9.3).
package struct LineSocket: Sendable {
    /// The socket's path.
    package let path: String

    /// Why a command got no answer.
    package enum Failure: Error, Equatable {
        /// Nobody listens there, or the system refused.
        case unreachable(FileError)
        /// The answer did not come, or did not end, in time.
        case timedOut(path: String, after: Duration)
    }

    /// The longest path of a socket, in bytes, which is the kernel's.
    package static let longestPath = UnixAddress.longestPath

    /// The longest answer that is read unless somebody says otherwise: `show servers state` of 100 000 servers.
    package static let answerCap = 16 << 20

    /// Names the socket.
    package init(path: String) {
        self.path = path
    }

    /// Sends a line and returns the answer, which ends when the other side closes the connection.
    ///
    /// - Parameter cap: the most bytes of it that are read.
    package func send(_ line: String, deadline: Duration, upTo cap: Int = answerCap) async throws -> String {
        var pauses = PollBackoff(within: deadline)
        do {
            var connection = try await connect(&pauses)
            // Lines are far shorter than a socket's buffer.
            let bytes = Array((line + "\n").utf8)
            try connection.sendAll(bytes)
            try connection.endSending()
            while try !connection.readAvailable(upTo: cap) {
                guard try await pauses.wait() else { throw Failure.timedOut(path: path, after: deadline) }
            }
            return String(decoding: connection.received, as: UTF8.self)
        } catch let error as FileError {
            throw Failure.unreachable(error)
        }
    }

    /// Connects; where the other side's queue is full, which passes, after a while.
    private func connect(_ pauses: inout PollBackoff) async throws -> LocalConnection {
        while true {
            do {
                return try LocalConnection(to: path)
            } catch {
                guard error.kind == .busy, try await pauses.wait() else { throw error }
            }
        }
    }
}

extension LineSocket.Failure {
    /// Whether somebody listens there, who only does not answer.
    package var isOfSomebody: Bool {
        switch self {
        case .unreachable(let error): error.kind == .closed || error.kind == .busy
        case .timedOut: true
        }
    }
}

extension LineSocket.Failure: CustomStringConvertible {
    /// One sentence for the log.
    package var description: String {
        switch self {
        case .unreachable(let error): error.description
        case .timedOut(let path, let limit): "no complete answer from \(path) within \(DurationText.text(limit))"
        }
    }
}

/// Growing pauses between two looks at a connection.
///
/// They cost less than a thread: an answer mostly comes within a millisecond.
struct PollBackoff {
    private var next = Duration.microseconds(200)
    private let end: ContinuousClock.Instant

    /// Pauses until a limit has passed.
    init(within limit: Duration) {
        end = .now + limit
    }

    /// Waits for a moment; false where the limit has passed.
    mutating func wait() async throws -> Bool {
        guard ContinuousClock.now < end else { return false }
        try await Task.sleep(for: next)
        next = min(next * 2, .milliseconds(20))
        return true
    }
}
