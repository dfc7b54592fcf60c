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
