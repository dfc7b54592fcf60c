import Glibc

/// All that is in a file, read at once; files in /proc, which tell no size, included.
package struct WholeFile {
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
