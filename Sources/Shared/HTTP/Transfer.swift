import Synchronization

/// One exchange between the thread that drives libcurl and the task that waits for the answer.
///
/// The thread delivers; the task takes everything that has come at once. When the task is slow the thread is told to
/// pause, so a fast server cannot fill the memory.
final class Transfer: Sendable {
    /// Bytes that may wait for the task before the connection is paused.
    static let roomForWaiting = 1 << 20

    /// How long things may take.
    struct Limits: Sendable {
        /// The limit for the whole exchange; nil for a stream.
        var whole: Duration?
        /// The limit for making the connection.
        var connect: Duration
        /// How long a stream may bring nothing; nil for ever.
        var silence: Duration?
    }

    let request: HTTPRequest
    let origin: HTTPOrigin
    let limits: Limits
    /// Whether it ends as soon as the connection stands, and sends nothing.
    let isConnectionOnly: Bool

    private struct State {
        var partialHead = HTTPHead(status: 0, headers: [:])
        var head: HTTPHead?
        var waiting: [UInt8] = []
        var isPaused = false
        var end: Result<Void, any Error>?
        var waiter: CheckedContinuation<Void, Never>?
    }
    private let state = Mutex(State())

    init(_ request: HTTPRequest, to origin: HTTPOrigin, limits: Limits, isConnectionOnly: Bool = false) {
        self.isConnectionOnly = isConnectionOnly
        self.request = request
        self.origin = origin
        self.limits = limits
    }

    // MARK: The thread's side

    /// Takes one line of the head, in the form in which libcurl hands it over.
    func receive(headLine line: String) {
        change { state in
            let line = line.trimmingASCIISpace()
            if line.isEmpty {
                // 1xx heads are followed by the real one.
                if !(100...199).contains(state.partialHead.status) { state.head = state.partialHead }
            } else if line.hasPrefix("HTTP/") {
                let status = line.split(separator: " ").dropFirst().first.flatMap { Int($0) }
                state.partialHead = HTTPHead(status: status ?? 0, headers: [:])
            } else if let colon = line.firstIndex(of: ":") {
                let value = line[line.index(after: colon)...].trimmingASCIISpace()
                state.partialHead.headers[line[..<colon].lowercased()] = String(value)
            }
        }
    }

    /// Takes a piece of the body; false when the connection has to pause, and the same bytes come again later.
    func receive(body: some Collection<UInt8>) -> Bool {
        change { state in
            guard state.waiting.count < Self.roomForWaiting else {
                state.isPaused = true
                return false
            }
            state.waiting.append(contentsOf: body)
            return true
        }
    }

    /// Ends the exchange.
    ///
    /// What has come before can still be taken; only the first call counts.
    func finish(_ result: Result<Void, any Error>) {
        change { state in
            if state.end == nil { state.end = result }
        }
    }

    /// Whether the head has come.
    var hasHead: Bool { state.withLock { $0.head != nil } }

    // MARK: The task's side

    /// Waits for the head.
    func head() async throws -> HTTPHead {
        while true {
            let known = try state.withLock { state throws -> HTTPHead? in
                if let head = state.head { return head }
                try state.end?.get()
                guard state.end == nil else {
                    throw HTTPError.broken(origin.name, reason: "it ended without an answer")
                }
                return nil
            }
            if let known { return known }
            await change { $0.head != nil || $0.end != nil }
        }
    }

    /// Waits for bytes and takes all that there are; nil at the end.
    ///
    /// `resume` is called when the thread paused.
    func take(resume: () -> Void) async throws -> [UInt8]? {
        while true {
            let (bytes, wasPaused, ended) = try state.withLock { state throws -> ([UInt8], Bool, Bool) in
                if state.waiting.isEmpty { try state.end?.get() }
                defer {
                    state.waiting = []
                    state.isPaused = false
                }
                return (state.waiting, state.isPaused, state.end != nil)
            }
            if wasPaused { resume() }
            if !bytes.isEmpty { return bytes }
            if ended { return nil }
            await change { !$0.waiting.isEmpty || $0.end != nil }
        }
    }

    /// Waits until `isReady`, which is asked again after each delivery.
    private func change(until isReady: @Sendable (borrowing State) -> Bool) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let goesOn = state.withLock { state in
                if isReady(state) { return true }
                state.waiter = continuation
                return false
            }
            if goesOn { continuation.resume() }
        }
    }

    /// Changes the state and wakes the task.
    private func change<Value: Sendable>(_ body: (inout State) -> Value) -> Value {
        let (value, waiter) = state.withLock { state in
            let value = body(&state)
            defer { state.waiter = nil }
            return (value, state.waiter)
        }
        waiter?.resume()
        return value
    }
}

extension StringProtocol {
    /// The text without spaces, tabs and line ends around it.
    func trimmingASCIISpace() -> SubSequence {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\r" || $0 == "\n" || $0 == "\r\n" }
        guard let first = firstIndex(where: { !isSpace($0) }), let last = lastIndex(where: { !isSpace($0) }) else {
            return self[endIndex...]
        }
        return self[first...last]
    }
}
