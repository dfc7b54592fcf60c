import Glibc

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

    /// The number for a path at which there is nothing.
    package static let noSuchFile = ENOENT
}

extension FileError: CustomStringConvertible {
    /// One sentence with the system's words.
    package var description: String { "cannot \(action) \(path): \(unsafe String(cString: strerror(code)))" }
}
