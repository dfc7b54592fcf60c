import Glibc

/// A file that is replaced as a whole or not at all, and readable by its owner only unless told otherwise.
///
/// Whoever reads it sees the old contents or the new ones: the new ones are written beside it and renamed over it. Unless
/// somebody does without, they are flushed before, so that this is so also after a power failure.
package struct AtomicFile: Sendable {
    /// Where it is.
    package let path: String

    /// Its permissions.
    package let mode: UInt32

    /// The file at a path.
    package init(path: String, mode: UInt32 = 0o600) { (self.path, self.mode) = (path, mode) }

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
            for file: AtomicFile, isFlushed: Bool = true, _ fill: (_ write: ([UInt8]) throws -> Void) throws -> Void
        ) throws {
            (path, target) = (file.path + ".new", file.path)
            let mode = file.mode
            // What an earlier, killed run left there may belong to somebody else or be a link: never write through it.
            unsafe unlink(path)
            let file = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard file >= 0 else { throw FileError("create", path) }
            defer { close(file) }
            let path = path
            // What the process's mask takes away at the creation was asked for.
            guard mode == 0o600 || fchmod(file, mode) == 0 else { throw FileError("change the permissions of", path) }
            self.isFlushed = isFlushed
            do {
                try fill { try Self.write($0, to: file, path) }
                guard !isFlushed || fsync(file) == 0 else { throw FileError("flush", path) }
            } catch {
                // On a full disk half a file would only take the room that others need.
                unsafe unlink(path)
                throw error
            }
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
        try Candidate(for: self, isFlushed: isFlushed) { write in try write(bytes) }
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
        try Candidate(for: self, isFlushed: isFlushed, fill).commit()
    }
}

/// What belongs to one process at a time: a lock on a file, which ends with the process at the latest.
package struct FileLock: Sendable {
    private let file: Int32

    /// Why the lock is not to be had.
    package enum Failure: Error, Equatable {
        /// Another process has it; its words are in the file.
        case held(by: String)
        /// The system refused.
        case system(FileError)
    }

    /// Takes the lock, and writes into the file who has it.
    ///
    /// The lock is on an open file, so a child that inherited it would hold it on: hence close-on-exec.
    package init(_ path: String) throws(Failure) {
        file = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw .system(FileError("open", path)) }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let failure: Failure =
                errno == EWOULDBLOCK ? .held(by: Self.holder(file)) : .system(FileError("lock", path))
            close(file)
            throw failure
        }
        ftruncate(file, 0)
        let name = "process \(getpid())"
        _ = unsafe name.withCString { unsafe pwrite(file, $0, name.utf8.count, 0) }
    }

    /// Gives the lock back; to be called once.
    package func release() {
        close(file)
    }

    private static func holder(_ file: Int32) -> String {
        var name = [UInt8](repeating: 0, count: 64)
        let count = unsafe name.withUnsafeMutableBytes { unsafe pread(file, $0.baseAddress, $0.count, 0) }
        return count > 0 ? String(decoding: name[..<count], as: UTF8.self) : "another process"
    }
}

/// Folders of the file system.
package enum Folder {
    /// Whether a text is an absolute path that a command line and a message can carry.
    package static func isPath(_ text: String) -> Bool {
        text.hasPrefix("/") && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
    }

    /// Makes a folder for its owner only, and those above it, where they are missing; it must then be usable.
    package static func create(_ path: String) throws(FileError) {
        var ends = path.indices.filter { path[$0] == "/" }.dropFirst().map { String(path[..<$0]) }
        ends.append(path)
        for folder in ends where unsafe mkdir(folder, folder == path ? 0o700 : 0o755) != 0 && errno != EEXIST {
            throw FileError("create", folder)
        }
        guard unsafe access(path, R_OK | W_OK | X_OK) == 0 else { throw FileError("use", path) }
    }

    /// Who besides this account and root may change a file, or what is in a folder.
    package enum Exposure: Equatable, Sendable {
        /// It is another account's, with that number.
        case owner(UInt32)
        /// Its mode lets others write.
        case mode(UInt32)
    }

    /// Who else may change what is at a path; nil for nobody, and where there is nothing.
    package static func exposure(of path: String) -> Exposure? {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        if status.st_uid != geteuid(), status.st_uid != 0 { return .owner(status.st_uid) }
        return status.st_mode & (S_IWGRP | S_IWOTH) == 0 ? nil : .mode(status.st_mode & 0o7777)
    }

    /// The number of the account of this process.
    package static var ownAccount: UInt32 { geteuid() }

    /// Whether a process finds at a path the folder that this process finds there, which in another mount namespace it
    /// need not; nil where the system does not tell.
    package static func isSame(_ path: String, for pid: Int32) -> Bool? {
        var (own, other) = (stat(), stat())
        guard unsafe stat(path, &own) == 0 else { return nil }
        guard unsafe stat("/proc/\(pid)/root\(path)", &other) == 0 else {
            return errno == EACCES || errno == EPERM ? nil : false
        }
        return own.st_dev == other.st_dev && own.st_ino == other.st_ino
    }

    /// Whether there is nothing at a path.
    package static func isMissing(_ path: String) -> Bool {
        unsafe access(path, F_OK) != 0 && errno == ENOENT
    }
}
