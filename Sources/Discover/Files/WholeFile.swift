import Glibc
import Shared

/// All that is in a file, read at once; files in /proc, which tell no size, included.
struct WholeFile {
    /// The contents; nil where there is no file.
    let bytes: [UInt8]?

    /// The contents as text, damaged where they are not UTF-8.
    var text: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

    /// Reads a file, or the beginning of one that has more bytes than `limit`; nothing waits for a writer.
    init(_ path: String, upTo limit: Int = .max) throws(FileError) {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            guard errno == ENOENT else { throw FileError("open", path) }
            bytes = nil
            return
        }
        defer { close(file) }
        var contents: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 14)
        while contents.count < limit {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw FileError("read", path) }
            if count == 0 { break }
            contents += chunk[..<count]
        }
        bytes = contents
    }
}
