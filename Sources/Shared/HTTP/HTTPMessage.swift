/// What is asked of a server.
package struct HTTPRequest: Sendable {
    /// The methods that the agents need.
    package enum Method: Sendable {
        case get
        case head
        case options
        /// With a whole body; nothing is sent in pieces.
        case post([UInt8])
    }

    /// The method, with its body.
    package var method: Method
    /// The path with the query, already percent-encoded.
    package var path: String
    /// Further header fields.
    package var headers: [(name: String, value: String)]

    /// Makes a request.
    package init(_ method: Method, _ path: String, headers: [(name: String, value: String)] = []) {
        self.method = method
        self.path = path
        self.headers = headers
    }
}

/// The first part of an answer.
package struct HTTPHead: Equatable, Sendable {
    /// The status code.
    package var status: Int
    /// The header fields by lower-case name; the last one wins.
    package var headers: [String: String]

    /// Whether the status is in 200 to 299.
    package var isSuccess: Bool { (200...299).contains(status) }
}

/// A collected answer.
package struct HTTPAnswer: Equatable, Sendable {
    /// Status and header fields.
    package var head: HTTPHead
    /// The whole body.
    package var body: [UInt8]
}
