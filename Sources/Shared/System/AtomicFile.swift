import Glibc

/// A file that is replaced as a whole or not at all, and readable by its owner only.
///
/// Whoever reads it sees the old contents or the new ones: the new ones are written beside it and renamed over it. Unless
/// somebody does without, they are flushed before, so that this is so also after a power failure.
package struct AtomicFile: Sendable {
    /// Where it is.
    package let path: String

    /// The file at a path.
    package init(path: String) { self.path = path }

    /// Contents that are on the disk beside the file and can take its place.
    package struct Candidate {
        /// Where they are until then.
        package let path: String
        private let target: String
        private let isFlushed: Bool

        /// Puts the candidate in the file's place.
        package func commit() throws(FileError) {
            guard unsafe rename(path, target) == 0 else { throw FileError("replace", target) }
            if isFlushed { try Self.flushFolder(of: target) }
        }

        /// Removes the candidate.
        package func discard() {
            unsafe unlink(path)
        }

        /// Writes beside `target` what `fill` gives.
        fileprivate init(
            for target: String, isFlushed: Bool = true, _ fill: (_ write: ([UInt8]) throws -> Void) throws -> Void
        ) throws {
            path = target + ".new"
            self.target = target
            // What an earlier, killed run left there may belong to somebody else or be a link: never write through it.
            unsafe unlink(path)
            let file = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard file >= 0 else { throw FileError("create", path) }
            defer { close(file) }
            let path = path
            try fill { try Self.write($0, to: file, path) }
            guard !isFlushed || fsync(file) == 0 else { throw FileError("flush", path) }
            self.isFlushed = isFlushed
        }

        private static func write(_ bytes: [UInt8], to file: Int32, _ path: String) throws(FileError) {
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(file, $0.baseAddress, $0.count) }
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { throw FileError("write", path) }
                rest = rest.dropFirst(count)
            }
        }

        private static func flushFolder(of path: String) throws(FileError) {
            let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
            let directory = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard directory >= 0 else { throw FileError("open", folder) }
            defer { close(directory) }
            guard fsync(directory) == 0 else { throw FileError("flush", folder) }
        }
    }

    /// Writes new contents beside the file.
    ///
    /// - Parameter isFlushed: whether they have to outlive a power failure, which takes the disk's time.
    package func candidate(_ bytes: [UInt8], isFlushed: Bool = true) throws -> Candidate {
        try Candidate(for: path, isFlushed: isFlushed) { write in try write(bytes) }
    }

    /// Removes the file, if it is there.
    package func remove() {
        unsafe unlink(path)
    }

    /// Replaces the contents; equal ones are not written again.
    ///
    /// - Returns: whether anything was written.
    @discardableResult
    package func replace(with bytes: [UInt8], isFlushed: Bool = true) throws -> Bool {
        if let current = try? FileContents(path).bytes, current == bytes { return false }
        try candidate(bytes, isFlushed: isFlushed).commit()
        return true
    }

    /// Replaces the contents by what `fill` writes, piece by piece.
    ///
    /// - Parameter isFlushed: whether they have to outlive a power failure, which takes the disk's time.
    package func replace(isFlushed: Bool = true, _ fill: (_ write: ([UInt8]) throws -> Void) throws -> Void) throws {
        try Candidate(for: path, isFlushed: isFlushed, fill).commit()
    }
}
