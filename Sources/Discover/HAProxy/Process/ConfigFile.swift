import Shared

/// The haproxy.cfg that HAProxy reads.
///
/// A new one is checked before it takes the place of the one before, which comes back where HAProxy does not load it.
struct ConfigFile: Sendable {
    /// Whether something else starts HAProxy with it.
    ///
    /// Then it has to outlive a power failure, and may be a file that docker-discover did not write.
    let isExternal: Bool

    private let program: HAProxyProgram
    private let directory: StateDirectory
    private let file: AtomicFile

    /// The file at a path where another's HAProxy reads it, or that of our own in the state directory.
    init(program: HAProxyProgram, directory: StateDirectory, externalPath: String?) {
        self.program = program
        self.directory = directory
        file = externalPath.map { AtomicFile(path: $0) } ?? directory.configuration
        isExternal = externalPath != nil
    }

    /// Where it is.
    var path: String { file.path }

    /// What is in it; nil where it is not there or not docker-discover's.
    func read() -> HAProxyConfiguration? {
        (try? FileContents(path).text).flatMap(HAProxyConfiguration.init(text:))
    }

    /// Why HAProxy would not run a configuration; nil where it would.
    func rejection(of configuration: HAProxyConfiguration) async throws -> HAProxyProgram.Rejection? {
        try directory.restore()
        let candidate = try file.candidate(Array(configuration.text.utf8), isFlushed: false)
        defer { candidate.discard() }
        do {
            try await program.check(candidate.path)
            return nil
        } catch let rejection as HAProxyProgram.Rejection {
            return rejection
        }
    }

    /// Brings it to a configuration that HAProxy runs already.
    func write(_ configuration: HAProxyConfiguration) throws {
        try directory.restore()
        try checkOwner()
        try file.replace(isFlushed: isExternal) { write in
            try write(Array(configuration.text.utf8))
        }
    }

    /// Checks a configuration, puts it in place and acts; whatever fails, the one before it is back in its place then.
    ///
    /// - Parameter isChecked: whether it needs no check.
    func install<Result>(
        _ configuration: HAProxyConfiguration, isChecked: Bool = false, _ act: () async throws -> Result
    ) async throws -> Result {
        try directory.restore()
        try checkOwner()
        let previous = try FileContents(path).bytes
        let bytes = Array(configuration.text.utf8)
        if previous == bytes {
            // Nothing has to be written, so a full disk is no hindrance.
            if !isChecked { try await program.check(path) }
            return try await act()
        }
        let candidate = try file.candidate(bytes, isFlushed: isExternal)
        do {
            if !isChecked { try await program.check(candidate.path) }
            try candidate.commit()
        } catch {
            candidate.discard()
            throw error
        }
        do {
            return try await act()
        } catch {
            if let previous { try file.replace(with: previous, isFlushed: isExternal) }
            throw error
        }
    }
}

// Whose file it is.

extension ConfigFile {
    /// The file is somebody else's, and not to be replaced.
    struct ForeignFile: Error, Equatable {
        /// Where it is.
        let path: String
    }

    /// Whether a file with these contents may be replaced: it has nothing in it, or docker-discover's mark at its begin.
    static func isOurs(_ contents: [UInt8]) -> Bool {
        let begin = String(decoding: contents.prefix(4096), as: UTF8.self)
        if contents.count <= 4096, begin.allSatisfy(\.isWhitespace) { return true }
        return begin.split(separator: "\n").contains(where: HAProxyConfiguration.isMark)
    }

    /// Throws where it is there and somebody else's; that of our own HAProxy lies where nobody else writes.
    func checkOwner() throws {
        if isExternal, let contents = try FileContents(path).bytes, !Self.isOurs(contents) {
            throw ForeignFile(path: path)
        }
    }
}

extension ConfigFile.ForeignFile: CustomStringConvertible {
    /// One sentence for the person who runs that HAProxy.
    var description: String {
        "HAPROXY_CONFIG: \(path) was not written by docker-discover, which would replace it; move it away "
            + "(mv \(path) \(path).before), what is needed of it into GLOBAL_FILE, DEFAULTS_FILE or EXTRA_FILE"
    }
}
