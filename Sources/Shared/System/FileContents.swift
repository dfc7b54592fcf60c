import FoundationEssentials
import Glibc

/// All that is in a file, read at once; files in /proc, which tell no size, included.
package struct FileContents {
    /// The contents; nil where there is no file.
    package let bytes: [UInt8]?

    /// The contents as text, damaged where they are not UTF-8.
    package var text: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

    /// Reads a file.
    ///
    /// A pipe without a writer counts as empty: it must not be waited for.
    ///
    /// - Parameter limit: the most bytes that it may have.
    package init(_ path: String, limit: Int = .max) throws(FileError) {
        try self.init(path, limit: limit, flags: O_NONBLOCK)
    }

    /// Reads what somebody named on a command line, standard input for `-`, and waits for whoever writes it.
    package init(named path: String, limit: Int) throws(FileError) {
        if path == "-" {
            self.init(bytes: try Self.read(STDIN_FILENO, "standard input", limit))
        } else {
            try self.init(path, limit: limit, flags: 0)
        }
    }

    private init(bytes: [UInt8]?) { self.bytes = bytes }

    private init(_ path: String, limit: Int, flags: Int32) throws(FileError) {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | flags)
        guard file >= 0 else {
            guard errno == ENOENT else { throw FileError("open", path) }
            bytes = nil
            return
        }
        defer { close(file) }
        bytes = try Self.read(file, path, limit)
    }

    private static func read(_ file: Int32, _ path: String, _ limit: Int) throws(FileError) -> [UInt8] {
        var contents: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 14)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw FileError("read", path) }
            if count == 0 { return contents }
            contents += chunk[..<count]
            guard contents.count <= limit else { throw FileError("read", path, code: EFBIG) }
        }
    }
}

/// A file operation that the system refused.
package struct FileError: Error, Equatable {
    /// What was tried, such as `create`.
    package let action: String
    /// Where.
    package let path: String
    /// The system's error number.
    package let code: Int32

    /// Takes the error of the call that has just failed.
    package init(_ action: String, _ path: String, code: Int32 = errno) {
        self.action = action
        self.path = path
        self.code = code
    }

    /// What callers tell apart.
    package enum Kind: Sendable {
        /// There is nothing.
        case missing
        /// This account may not.
        case forbidden
        /// Nobody listens on the socket.
        case refused
        /// The other side is busy: it passes.
        case busy
        /// The other side has closed the connection.
        case closed
        /// Anything else.
        case other
    }

    /// What kind of error it is.
    package var kind: Kind {
        switch code {
        case ENOENT: .missing
        case EACCES: .forbidden
        case ECONNREFUSED: .refused
        case EAGAIN: .busy
        case EPIPE, ECONNRESET: .closed
        default: .other
        }
    }

    /// An error of our own for a path at which there is nothing.
    package static func missing(_ action: String, _ path: String) -> FileError {
        FileError(action, path, code: ENOENT)
    }
}

extension FileError: CustomStringConvertible {
    /// One sentence with the system's words.
    package var description: String { "cannot \(action) \(path): \(unsafe String(cString: strerror(code)))" }
}

/// What the system refused a call with.
package struct SystemError: Error, Equatable, CustomStringConvertible {
    /// The `errno`.
    package let number: Int32

    /// Takes an `errno`.
    package init(_ number: Int32) { self.number = number }

    /// That somebody else has an address and port.
    package static let addressInUse = SystemError(EADDRINUSE)

    /// The system's words.
    package var description: String { unsafe String(cString: strerror(number)) }
}

extension SystemError {
    /// What an error number means to whoever opens, binds or connects.
    package enum Kind: Sendable {
        /// There is no such file.
        case missing
        /// This account may not.
        case forbidden
        /// Nothing listens there.
        case refused
        /// This process, or the whole system, has no file descriptor left.
        case exhausted
        /// Anything else.
        case other
    }

    /// What the number means.
    package var kind: Kind {
        switch number {
        case ENOENT: .missing
        case EACCES, EPERM: .forbidden
        case ECONNREFUSED: .refused
        case EMFILE, ENFILE: .exhausted
        default: .other
        }
    }
}

/// The lines of a file, read piece by piece, so that nobody pays for what comes after the last line of interest.
struct FileLines: ~Copyable {
    private let descriptor: Int32
    private var pending: [UInt8] = []
    private var isAtEnd = false

    /// Opens a file; nil where there is none.
    init?(_ path: String) throws(SystemError) {
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            guard errno == ENOENT else { throw SystemError(errno) }
            return nil
        }
    }

    deinit { close(descriptor) }

    /// The next line without its end; nil after the last one.
    mutating func next() throws(SystemError) -> String? {
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                defer { pending.removeFirst(end + 1) }
                return String(decoding: pending[..<end], as: UTF8.self)
            }
            guard !isAtEnd else { return nil }
            var piece = [UInt8](repeating: 0, count: 8192)
            let count = unsafe Glibc.read(descriptor, &piece, piece.count)
            guard count >= 0 else { throw SystemError(errno) }
            isAtEnd = count == 0
            pending += piece[..<count]
        }
    }
}
