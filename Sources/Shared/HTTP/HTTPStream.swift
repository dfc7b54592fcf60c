/// An answer that comes line by line.
package struct HTTPStream: AsyncSequence, Sendable {
    /// Status and header fields.
    package let head: HTTPHead

    private let body: HTTPBody
    private let longestLine: Int

    init(head: HTTPHead, body: HTTPBody, longestLine: Int) {
        self.head = head
        self.body = body
        self.longestLine = longestLine
    }

    /// Ends the stream from outside; whoever waits for a line gets `error`.
    package func close(_ error: any Error = CancellationError()) {
        body.close(error)
    }

    /// Begins to read.
    ///
    /// A stream has one reader.
    package func makeAsyncIterator() -> Iterator {
        Iterator(body: body, splitter: LineSplitter(longest: longestLine), longestLine: longestLine)
    }

    /// The reader of a stream.
    package struct Iterator: AsyncIteratorProtocol {
        let body: HTTPBody
        var splitter: LineSplitter
        let longestLine: Int

        /// Waits for the next line, without its newline; the last one needs none.
        ///
        /// Nil at the end.
        ///
        /// - Throws: ``HTTPError``, `CancellationError`, or what the stream was closed with.
        package mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws -> [UInt8]? {
            do {
                while true {
                    if let line = try splitter.next() { return line }
                    guard let bytes = try await body.next() else { return splitter.rest() }
                    splitter.append(bytes)
                }
            } catch is LineSplitter.TooLong {
                body.close()
                throw HTTPError.lineTooLong(body.server, cap: longestLine)
            }
        }
    }
}

/// Cuts a stream of bytes into lines, however the bytes are cut into pieces.
///
/// Each byte is looked at once, so a line of many megabytes costs no more than its length.
struct LineSplitter {
    private var buffer: [UInt8] = []
    private var start = 0
    private var scanned = 0
    private let longest: Int

    /// The stream brought a line that is longer than allowed.
    struct TooLong: Error {}

    /// Allows lines of up to `longest` bytes, without the newline.
    init(longest: Int) {
        self.longest = longest
    }

    /// Takes further bytes.
    mutating func append(_ bytes: [UInt8]) {
        if start > 0 {
            buffer.removeFirst(start)
            scanned -= start
            start = 0
        }
        buffer.append(contentsOf: bytes)
    }

    /// The next whole line without its newline (and carriage return), or nil until more bytes come.
    mutating func next() throws(TooLong) -> [UInt8]? {
        guard let newline = buffer[scanned...].firstIndex(of: UInt8(ascii: "\n")) else {
            scanned = buffer.count
            guard buffer.count - start <= longest else { throw TooLong() }
            return nil
        }
        guard newline - start <= longest else { throw TooLong() }
        defer {
            start = newline + 1
            scanned = start
        }
        return line(until: newline)
    }

    /// What came after the last newline, at the end of the stream; nil where that is nothing.
    mutating func rest() -> [UInt8]? {
        defer {
            buffer = []
            start = 0
            scanned = 0
        }
        return start < buffer.count ? line(until: buffer.count) : nil
    }

    private func line(until end: Int) -> [UInt8] {
        let isCarriageReturn = end > start && buffer[end - 1] == UInt8(ascii: "\r")
        return Array(buffer[start..<(isCarriageReturn ? end - 1 : end)])
    }
}
