/// An HTTP client over libcurl, for unix sockets, TCP and TLS.
///
/// One client has one thread, which sleeps while nothing happens. Connections are kept and used again. Every exchange
/// ends at once when its task is cancelled.
package final class HTTPClient: Sendable {
    private let loop: TransferLoop

    /// Starts the client's thread; nil where the system has no memory or threads left.
    package init?() {
        guard let loop = TransferLoop() else { return nil }
        self.loop = loop
    }

    deinit { loop.stop() }

    /// Sends a request and collects the answer.
    ///
    /// - Parameters:
    ///   - deadline: the limit for the whole exchange, with the connection.
    ///   - cap: the longest body, in bytes.
    /// - Throws: ``HTTPError``, or `CancellationError`. Any status is an answer, not an error.
    package func send(
        _ request: HTTPRequest, to origin: HTTPOrigin, deadline: Duration, cap: Int
    ) async throws -> HTTPResponse {
        let limits = Transfer.Limits(whole: deadline, connect: origin.connectLimit(within: deadline), silence: nil)
        let body = HTTPBody(Transfer(request, to: origin, limits: limits), loop)
        let head = try await body.head()
        var bytes: [UInt8] = []
        while let more = try await body.next() {
            guard bytes.count + more.count <= cap else { throw HTTPError.tooLarge(origin.name, cap: cap) }
            if bytes.isEmpty { bytes = more } else { bytes += more }
        }
        return HTTPResponse(head: head, body: bytes)
    }

    /// Sends a request whose answer is an endless stream of lines, and returns once its head has come.
    ///
    /// - Parameters:
    ///   - deadline: the limit until the head is there.
    ///   - silence: how long the stream may bring nothing, in whole seconds; nil for ever.
    ///   - longestLine: the cap of one line, in bytes.
    package func stream(
        _ request: HTTPRequest, to origin: HTTPOrigin, deadline: Duration, silence: Duration? = nil, longestLine: Int
    ) async throws -> HTTPStream {
        let limits = Transfer.Limits(
            whole: nil, connect: origin.connectLimit(within: deadline), silence: silence)
        let body = HTTPBody(Transfer(request, to: origin, limits: limits), loop)
        do {
            let head = try await withDeadline(deadline) { try await body.head() }
            return HTTPStream(head: head, body: body, longestLine: longestLine)
        } catch is DeadlineExceeded {
            throw HTTPError.timedOut(origin.name, after: deadline)
        }
    }

    /// Makes a new connection, and closes it again without having sent anything.
    ///
    /// - Throws: ``HTTPError`` where there is no connection within `deadline`, or `CancellationError`.
    package func connect(to origin: HTTPOrigin, deadline: Duration) async throws {
        let limits = Transfer.Limits(whole: deadline, connect: origin.connectLimit(within: deadline), silence: nil)
        let transfer = Transfer(HTTPRequest(.get, "/"), to: origin, limits: limits, isConnectionOnly: true)
        _ = try await HTTPBody(transfer, loop).next()
    }

    /// Sends a request on a new connection and waits for the head of the answer; the body is not read.
    ///
    /// - Throws: ``HTTPError`` where none comes within `deadline`, or `CancellationError`.
    package func head(
        of request: HTTPRequest, at origin: HTTPOrigin, deadline: Duration
    ) async throws -> HTTPHead {
        var request = request
        request.headers.append(("Connection", "close"))
        let stream = try await stream(request, to: origin, deadline: deadline, longestLine: 1)
        stream.close()
        return stream.head
    }
}

/// The answer to one request as it comes in.
///
/// Letting go of it gives the exchange up.
final class HTTPBody: Sendable {
    private let transfer: Transfer
    private let loop: TransferLoop

    /// Starts the exchange.
    init(_ transfer: Transfer, _ loop: TransferLoop) {
        self.transfer = transfer
        self.loop = loop
        loop.start(transfer)
    }

    deinit { loop.cancel(transfer) }

    /// Who answers, for messages.
    var server: String { transfer.origin.name }

    /// Waits for the head.
    func head() async throws -> HTTPHead {
        try await giveUpOnCancellation { try await transfer.head() }
    }

    /// Waits for further bytes; nil at the end.
    func next() async throws -> [UInt8]? {
        try await giveUpOnCancellation { try await transfer.take { loop.resume(transfer) } }
    }

    /// Ends the exchange; whoever waits gets `error`.
    func close(_ error: any Error = CancellationError()) {
        transfer.finish(.failure(error))
        loop.cancel(transfer)
    }

    private func giveUpOnCancellation<Value>(_ work: () async throws -> Value) async throws -> Value {
        try await withTaskCancellationHandler(operation: work, onCancel: { close() })
    }
}
