import Glibc

/// A file operation that the system refused.
struct FileError: Error, Equatable {
    /// What was tried, such as `create`.
    let action: String
    /// Where.
    let path: String
    /// The system's error number.
    let code: Int32

    /// Takes the error of the call that has just failed.
    init(_ action: String, _ path: String, code: Int32 = errno) {
        self.action = action
        self.path = path
        self.code = code
    }
}

extension FileError: CustomStringConvertible {
    /// One sentence with the system's words.
    var description: String { "cannot \(action) \(path): \(unsafe String(cString: strerror(code)))" }
}
